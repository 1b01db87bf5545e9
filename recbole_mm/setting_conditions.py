"""What a setting needs to act, declared beside its field: ``k: Annotated[Count, acts_where("keep", "row")] = 10``.

A key that a user sets where nothing reads it changes nothing, and a run says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class ActsWhere:
    """Metadata of a field that is read only with certain values of another key.

    Attributes:
        key: the other.
        holds: whether the field is read with a value of that.
        words: which values these are, such as ``sum or hybrid``.
    """

    key: str
    holds: Callable[[Any], bool]
    words: str


def acts_where(key: str, *values: Any) -> ActsWhere:
    """The field is read only where `key` is one of `values`, or above 0 where none is given."""
    if not values:
        return ActsWhere(key, bool, "a number above 0")
    return ActsWhere(key, lambda value: value in values, " or ".join(map(str, values)))


def conditions(kind: type[BaseModel], key: str) -> list[ActsWhere]:
    """All that a key of some settings needs to act: what its class declares of it, and those that it derives from."""
    kinds = [base for base in kind.__mro__ if issubclass(base, BaseModel) and key in base.model_fields]
    declared = [item for owner in kinds for item in owner.model_fields[key].metadata if isinstance(item, ActsWhere)]
    return list({(condition.key, condition.words): condition for condition in declared}.values())


def why_without_effect(
    kinds: Sequence[type[BaseModel]], key: str, values: Mapping[str, Sequence[Any]]
) -> tuple[ActsWhere, Any] | None:
    """What a key would need to act, and the value that is there instead; None where something reads it.

    Args:
        kinds: the settings of a run; a key that several have is read where it is read in one.
        key: one of theirs, or another, of which nothing is known.
        values: of the run by key, all that each may have: several in a search.
    """
    missing: list[tuple[ActsWhere, Any] | None] = []
    for kind in (owner for owner in kinds if key in owner.model_fields):
        needed = (
            condition
            for condition in conditions(kind, key)
            if not any(map(condition.holds, values.get(condition.key, ())))
        )
        missing.append(
            next(((condition, values[condition.key][0]) for condition in needed if values.get(condition.key)), None)
        )
    return missing[0] if missing and all(missing) else None
