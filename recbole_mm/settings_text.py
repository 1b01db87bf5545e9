"""Declared settings in words: what a key may be, for messages, tables and the generated yaml files."""

from __future__ import annotations

import ast
import inspect
import math
import sys
import types
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, runtime_checkable

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", dict: "a dict"}
_LONGEST = 80
UNLIMITED = 2**31 - 1  # a bound that stands for none


@runtime_checkable
class Named(Protocol):
    """Metadata of a field that takes names which are known when it is read."""

    def names(self) -> Iterable[str]:
        """All that may be given."""


def allowed_values(field: FieldInfo, beyond: bool = False) -> str:
    """What a field takes, such as ``a whole number of at least 1``.

    Args:
        field: a declared setting.
        beyond: the bound that stands for none is said too, to whom has gone beyond it.
    """
    return _in_words(field.annotation, field.metadata, math.inf if beyond else UNLIMITED - 1)


def is_beyond(value: Any) -> bool:
    """Whether a value, or one of a list, is a whole number of a size above the bound that stands for none."""
    if isinstance(value, (list, tuple)):
        return any(map(is_beyond, value))
    if isinstance(value, str):
        return value.isdecimal() and len(value) > len(str(UNLIMITED))
    return isinstance(value, int) and abs(value) > UNLIMITED


@cache
def described_fields(kind: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The fields of settings with their descriptions: the docstring under each, read from the source.

    When somebody asks: pydantic's ``use_attribute_docstrings`` reads those of all parts while they are imported, which
    is a tenth of a start's time.
    """
    texts: dict[str, str] = {}
    for declaring in reversed(kind.__mro__):
        texts |= _docstrings(declaring)
    for name, field in kind.model_fields.items():
        field.description = field.description or texts.get(name)
    return kind.model_fields


def _docstrings(kind: type) -> dict[str, str]:
    """What stands under the fields that a class declares itself; nothing where its source cannot be read."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return {}
    tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    body = next(statement.body for statement in ast.walk(tree) if isinstance(statement, ast.ClassDef))
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }  # fmt: skip


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python's own limit, as such texts take long
        return f"a number of more than {sys.get_int_max_str_digits()} digits"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def type_name(field: FieldInfo) -> str:
    """The type of a field as RecBole's yaml files name it in comments: int, float, bool, str, list or dict."""
    names = [_short_name(part) for part in _alternatives(field.annotation)]
    return " or ".join(dict.fromkeys(name for name in names if name != "None"))


def _in_words(annotation: Any, metadata: list[Any], largest: float) -> str:
    kinds = [_of_alternative(part, metadata, largest) for part in _alternatives(annotation)]
    words = [word for word in dict.fromkeys(kinds) if word != "nothing (~)"]
    return " or ".join([*words, *(["nothing (~)"] if "nothing (~)" in kinds else [])])


def _alternatives(annotation: Any) -> list[Any]:
    return list(get_args(annotation)) if get_origin(annotation) in (Union, types.UnionType) else [annotation]


def _of_alternative(annotation: Any, metadata: list[Any], largest: float) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *own = get_args(annotation)
        return _in_words(annotation, [*own, *metadata], largest)
    if annotation is type(None):
        return "nothing (~)"
    names = next((item.names() for item in metadata if isinstance(item, Named)), None)
    if names is not None:
        return f"one of {', '.join(names)}"
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    if get_origin(annotation) in (list, tuple):
        return f"a list, each {_in_words(get_args(annotation)[0], [], largest)}"
    kind = get_origin(annotation) or annotation
    if hasattr(kind, "model_fields"):
        return f"a dict of {', '.join(kind.model_fields)}"
    name = _NAMES.get(kind, getattr(kind, "__name__", str(kind)))
    return name + (_bounds(metadata, largest, kind) if kind in (int, float) else "")


def _bounds(metadata: list[Any], largest: float, kind: type) -> str:
    """The bounds among a field's metadata in words, an upper one up to `largest`; without that, a float's own too."""
    found: dict[str, Any] = {}
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            found |= {name: getattr(part, name) for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}
    if kind is float and largest == math.inf:
        found |= {"ge": -sys.float_info.max} if not {"ge", "gt"} & found.keys() else {}
        found |= {"le": sys.float_info.max} if not {"le", "lt"} & found.keys() else {}
    lower = f"of at least {_number(found['ge'])}" if "ge" in found else ""
    lower = f"above {_number(found['gt'])}" if "gt" in found else lower
    upper = f"at most {_number(found['le'])}" if found.get("le", math.inf) <= largest and "le" in found else ""
    upper = f"below {_number(found['lt'])}" if "lt" in found else upper
    words = " and ".join(filter(None, (lower, upper)))
    return f" {words}" if words else ""


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _short_name(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _short_name(get_args(annotation)[0])
    if annotation is type(None):
        return "None"
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0]).__name__
    kind = get_origin(annotation) or annotation
    return "dict" if hasattr(kind, "model_fields") else kind.__name__
