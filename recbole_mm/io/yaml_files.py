"""YAML as settings are written in it: plain values only, numbers as RecBole reads them, each key once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from recbole_mm.io.errors import one_line
from recbole_mm.io.numbers import NumberError, check_number
from recbole_mm.io.reading import regular_file

# RecBole's own rule (configurator.py:107), under which 1e-3 is a number; YAML 1.1 wants 1.0e-3
_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
    |\.[0-9_]+(?:[eE][-+][0-9]+)?
    |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.X,
)
_NO_SETTINGS = [f"tag:yaml.org,2002:{kind}" for kind in ("binary", "set", "omap", "pairs")]
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_DEEPEST = 50  # levels of nesting, far more than settings have
_LARGEST = 1_000_000  # values, references counted as often as they stand there: a few lines can mean billions


class SettingsLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which makes no objects, with RecBole's numbers, refusing a key that stands twice."""

    yaml_constructors: ClassVar = {
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag not in _NO_SETTINGS
    }

    def __init__(self, stream: Any):
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As in yaml, but no deeper than :data:`_DEEPEST`: Python's own limit would end in a RecursionError."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, "too deeply nested", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """As in yaml, whose constructors end in errors of any kind on `!!int abc`, `!!bool abc` and the like."""
        if node.tag in _NUMBERS and re.match(r"[-+]?0[0-9_]|.*:", node.value):  # octal, or to the base of 60
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value:.40} means another number in YAML; write it plainly, or in quotes",
                node.start_mark,
            )  # fmt: skip
        try:
            value = super().construct_object(node, deep)
            if node.tag == _NUMBERS[1] and isinstance(value, float):
                check_number(node.value, value)
            return value
        except NumberError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            text = f"{node.value:.40}..." if len(node.value) > 40 else node.value
            raise yaml.constructor.ConstructorError(None, None, f"'{text}' is no {kind}", node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As in yaml; raises ConstructorError naming line and key where a key stands twice."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise yaml.constructor.ConstructorError(None, None, f"{key} cannot be a key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands there twice; keep one of them", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


SettingsLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def parse_yaml(text: str) -> Any:
    """The value of a YAML text; raises yaml.YAMLError."""
    return yaml.load(text, Loader=SettingsLoader)


def read_settings_file(file: str | Path) -> dict[str, Any]:
    """The settings of a YAML file, ``key: value`` lines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, holds anything but settings or a key twice; the message names file and line.
    """
    path = Path(file)
    if not path.exists():
        raise FileNotFoundError(f"configuration file {file} does not exist")
    try:
        content = parse_yaml(regular_file(path).read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        raise ValueError(f"configuration file {file} is no yaml: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"configuration file {file} holds no settings; it needs lines such as 'epochs: 10'")
    if _size(content) > _LARGEST:
        raise ValueError(f"configuration file {file} means more than {_LARGEST} values; write less, or without anchors")
    for key in content:
        if not isinstance(key, str):
            raise ValueError(f"configuration file {file}: {key!r} is no name of a setting; write 'name: value'")
    return content


def _size(value: Any) -> int:
    """How many values there are, up to a little over the largest number allowed."""
    count, waiting = 0, [value]
    while waiting and count <= _LARGEST:
        count += 1
        found = waiting.pop()
        if isinstance(found, (list, tuple, set)):
            waiting += found
        elif isinstance(found, dict):
            waiting += found.values()
    return count


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or problem is None:
        return one_line(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
