"""`.hyper` files: which parameters a search varies, and over which values. RecBole's own form, read strictly."""

from __future__ import annotations

import difflib
import math
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_mm.data.field_checks import FILTERS
from recbole_mm.host.saved_data import PICKLE_KEYS
from recbole_mm.io.numbers import NumberError, literal
from recbole_mm.io.reading import read_lines
from recbole_mm.setting_rules import OF_THE_COMMAND, PATH_KEYS, TRUST_KEYS, properties_dir

# Kind of range -> names of the numbers it takes; `choice` takes a list. As in RecBole's HyperTuning, loguniform's
# bounds are natural logarithms of the parameter.
_LARGEST_LOGARITHM = math.log(sys.float_info.max)
KINDS = {"choice": (), "uniform": ("low", "high"), "loguniform": ("low", "high"), "quniform": ("low", "high", "q")}
_OPENING = {"plugins", "stage_one_checkpoint", "resume_from", *TRUST_KEYS, *PICKLE_KEYS}
_MEASURING = {  # with another of these, a trial's score is of other data or of another kind
    *("metrics", "topk", "valid_metric", "valid_metric_bigger", "protocol", "eval_args", "eval_step", "repeatable"),
    *("benchmark_filename", "load_col", "threshold", "filter_inter_by_user_or_item", *FILTERS),
}


@dataclass(frozen=True)
class SearchRange:
    """One line of a `.hyper` file: ``name kind values``."""

    name: str
    kind: str
    values: tuple[Any, ...]

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that a trial may get: all choices, or the bounds and, but for steps, a number between them."""
        if self.kind == "choice":
            return self.values
        low, high, *step = self.values
        numbers = (low, high) if step else (low, low + 0.618 * (high - low), high)
        return tuple(map(math.exp, numbers)) if self.kind == "loguniform" else numbers


def find_hyper_file(name: str) -> Path:
    """The `.hyper` file of that path, or the one of that name that we ship, such as ``POWERec``.

    Raises FileNotFoundError naming the closest one we ship.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = {file.stem: file for file in (properties_dir() / "hyper").glob("*.hyper")}
    asked = Path(name).name.removesuffix(".hyper")
    if asked in shipped and name in (asked, f"{asked}.hyper", f"properties/hyper/{asked}.hyper"):
        return shipped[asked]
    close = difflib.get_close_matches(asked, shipped, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise FileNotFoundError(
        f"params_file: {name} is no file, and there is no properties/hyper/{asked}.hyper{hint}; write one line "
        f"'parameter choice [value,value]' for each parameter"
    )


def read_hyper_file(file: Path) -> list[SearchRange]:
    """The ranges of a `.hyper` file in its order; blank lines and those that start with # are left out.

    Raises ValueError with file and line for an unreadable line, an unknown kind, an empty range or a parameter that
    stands there twice, and for a file without ranges.
    """
    ranges: dict[str, SearchRange] = {}
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{file}, line {number}"
        found = _read_line(line, where)
        if found.name in ranges:
            raise ValueError(f"{where}: parameter '{found.name}' stands there twice; keep one of the lines")
        ranges[found.name] = found
    if not ranges:
        raise ValueError(f"{file} names no parameter; write lines such as 'learning_rate choice [0.01,0.001]'")
    return list(ranges.values())


def read_searchable(file: Path) -> list[SearchRange]:
    """:func:`read_hyper_file`; raises ValueError for a key that trials cannot differ in, too."""
    ranges = read_hyper_file(file)
    check_searchable((parameter.name for parameter in ranges), str(file))
    return ranges


def _read_line(line: str, where: str) -> SearchRange:
    name, kind, text = [*line.split(maxsplit=2), "", ""][:3]
    if kind not in KINDS:
        raise ValueError(f"{where}: '{kind}' is no kind of range; write 'parameter KIND values' with one of {_kinds()}")
    try:
        values = literal(text)
    except NumberError as error:
        raise ValueError(f"{where}: {error}") from error
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:  # the last two of deep nesting
        raise ValueError(f"{where}: '{text[:200]}' is not understood; {_form(kind)}") from error
    return SearchRange(name, kind, _choices(values, where) if kind == "choice" else _bounds(kind, values, where))


def _choices(values: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError(f"{where}: the range {values} is empty or no list; {_form('choice')}")
    if any(values.count(value) > 1 for value in values):
        raise ValueError(f"{where}: a value stands twice in {values}; keep one")
    return tuple(values)


def _bounds(kind: str, values: Any, where: str) -> tuple[float, ...]:
    numbers = isinstance(values, (list, tuple)) and all(isinstance(value, (int, float)) for value in values)
    if not numbers or len(values) != len(KINDS[kind]) or not all(map(math.isfinite, values)):
        raise ValueError(f"{where}: '{values}' is not understood; {_form(kind)}")
    low, high, *step = map(float, values)
    if low >= high or (step and not 0 < step[0] <= high - low):
        rule = "low < high" + (" and 0 < q <= high - low" if step else "")
        raise ValueError(f"{where}: the range {kind} {values} is empty; {_form(kind)} with {rule}")
    if kind == "loguniform" and high > _LARGEST_LOGARITHM:
        raise ValueError(
            f"{where}: the bounds of loguniform are logarithms, and exp({high:g}) is no number; for 1e-4 to 1e-2 write "
            f"-9.2,-4.6"
        )
    return (low, high, *step)


def check_searchable(names: Iterable[str], where: str) -> None:
    """Raise ValueError for a key that trials cannot differ in.

    Args:
        names: of the keys that a search varies.
        where: they stand, for the message.
    """
    for name in names:
        if name in _OPENING:
            raise ValueError(f"{where}: {name} is nothing to search, as it opens files or trusts them; leave it out")
        if name in PATH_KEYS:
            raise ValueError(f"{where}: {name} is nothing to search, as it says where files lie; set one value")
        if name in _MEASURING:
            raise ValueError(
                f"{where}: {name} is nothing to search, as trials are compared by what it decides; set one value"
            )
        if name in OF_THE_COMMAND:
            raise ValueError(f"{where}: {name} is the command's; leave it out")


def _kinds() -> str:
    return ", ".join(KINDS)


def _form(kind: str) -> str:
    if not KINDS[kind]:
        return "write 'choice [value,value]', words in quotes"
    return f"write '{kind} {','.join(KINDS[kind])}'"


def recbole_form(ranges: list[SearchRange]) -> dict[str, dict[str, list[Any]]]:
    """The ranges as the `params_dict` of RecBole's HyperTuning: kind -> parameter -> values."""
    by_kind: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for parameter in ranges:
        by_kind[parameter.kind][parameter.name] = list(parameter.values)
    return dict(by_kind)


def number_of_settings(ranges: list[SearchRange]) -> int:
    """How many settings an exhaustive search tries; raises ValueError where a range is not a list of choices."""
    for parameter in ranges:
        if parameter.kind != "choice":
            raise ValueError(
                f"{parameter.name}: exhaustive search cannot try all of {parameter.kind}; use --algo=random or bayes"
            )
    return math.prod(len(parameter.values) for parameter in ranges)
