"""What a converter is: a layout that can be recognised, and the interactions, items and features read from it.

A converter only reads. Filtering, splitting and writing are the same for all: `recbole_mm.data.conversion.convert`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

SPLITS = ("train", "valid", "test")
Part = TypeVar("Part")


@dataclass(frozen=True)
class Interactions:
    """Some interactions of a source, in its order.

    Attributes:
        users, items: ids, `[n]`: texts or integers, in a list, an array of NumPy's or of Arrow's.
        source: the file they were read from, for messages.
        ratings, timestamps: `[n]`, texts or numbers as the file has them; timestamps may be dates.
        split: `train`, `valid` or `test`, where the source is split.
        lines: of the file, `[n]`, for messages; a range, of its rows, where it has no lines.
    """

    users: Any
    items: Any
    source: Path
    ratings: Any = None
    timestamps: Any = None
    split: str | None = None
    lines: Sequence[int] | None = None

    def __post_init__(self) -> None:
        columns = {name: getattr(self, name) for name in ("items", "ratings", "timestamps", "lines")}
        _check_lengths(self.source, "users", self.users, columns)
        if self.split not in (None, *SPLITS):
            raise ValueError(f"{self.source}: the split {self.split!r} is not among {', '.join(SPLITS)}; give one")

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return _place(self.source, self.lines, row)


@dataclass(frozen=True)
class Items:
    """Texts of some items.

    Attributes:
        ids: `[n]`, as those of `Interactions`.
        fields: texts `[n]` by field; None is no text. The field's RecBole type is `token_seq`, unless its name gives
            another (`images:token_seq`, `brand:token`).
        source: the file they were read from.
        lines: as those of `Interactions`.
    """

    ids: Any
    fields: Mapping[str, Sequence[str | None]]
    source: Path
    lines: Sequence[int] | None = None

    def __post_init__(self) -> None:
        _check_lengths(self.source, "ids", self.ids, {**self.fields, "lines": self.lines})

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return _place(self.source, self.lines, row)


def _check_lengths(source: Path, name: str, column: Any, others: Mapping[str, Any]) -> None:
    """Raise ValueError where a converter's columns, those that are given, have not one length."""
    for other, values in others.items():
        if values is not None and len(values) != len(column):
            raise ValueError(f"{source}: {len(values)} {other} for {len(column)} {name}; there must be one each")


def _place(source: Path, lines: Sequence[int] | None, row: int) -> str:
    if lines is None:
        return f"{source}, row {row + 1}"
    return f"{source}, {'row' if isinstance(lines, range) else 'line'} {lines[row]}"


@dataclass(frozen=True)
class Features:
    """The features of one modality.

    Attributes:
        modality: its name.
        source: the file or folder they are read from.
        blocks: gives (item ids `[n]`, values `[n, width]`) again and again, so that no more than a block is in memory.
    """

    modality: str
    source: Path
    blocks: Callable[[], Iterator[tuple[Sequence[str], np.ndarray]]]


COLUMNS = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class SourceOptions:
    """What a user may say about a source. A column that is not named is guessed; `none` leaves it out.

    Attributes:
        user, item, rating, time: columns of the interactions.
        interactions, items: files of interactions and of items' texts, where they are not found by name.
        name: of the data set.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    interactions: Path | None = None
    items: Path | None = None
    name: str | None = None


class Converter:
    """A layout. Derive from it, and register the class with `recbole_mm.registry.register_converter`.

    Attributes:
        generic: other layouts that recognise the same source go before this one.
        keeps_unused_items: features of items without interactions are kept, as their rows are the layout's item ids.
        also_reads: patterns of names of files that ids alone are read from.
        reads: options that it heeds, of those of `SourceOptions`; another one is refused. `name` may always be given.

    Raises:
        ValueError: an option is given that the layout does not read.
    """

    generic = False
    keeps_unused_items = False
    also_reads: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def __init__(self, source: Path, options: SourceOptions | None = None):
        self.source = source
        self.options = options or SourceOptions()
        for option, value in vars(self.options).items():
            if value is not None and option != "name" and option not in self.reads:
                raise ValueError(
                    f"--{option}: {value} is not read from {source}, whose layout gives what it has; leave it out, or "
                    "read a table with convert table"
                )

    @classmethod
    @abstractmethod
    def recognise(cls, source: Path) -> str | None:
        """What of this layout there is, such as ``train.json, val.json, test.json``; None where it is another layout.

        Looks at names and first lines alone, and raises nothing about their content; ValueError where a name of the
        layout is there and is no file (:func:`recbole_mm.io.reading.has_file`).
        """
        raise NotImplementedError

    @property
    def interaction_source(self) -> Path:
        """What messages about all interactions name: the source, or its file that holds them."""
        return self.source

    def plan(self) -> list[str]:
        """Lines that say what is read as what, before anything is."""
        return []

    @abstractmethod
    def interactions(self) -> Iterator[Interactions]:
        """The interactions, some at a time; raises ValueError naming file and line where one is bad."""
        raise NotImplementedError

    def items(self) -> Iterator[Items]:
        """Texts of the items, some at a time."""
        return iter(())

    def features(self) -> Iterable[Features]:
        """The modalities."""
        return ()

    def next_steps(self, dataset_dir: Path) -> list[str]:
        """Commands that bring in what the conversion leaves in the source, such as pictures."""
        return []


def each(converter: Converter, method: str, kind: type[Part]) -> Iterator[Part]:
    """What a method of a converter gives, one after another; raises ValueError where that is none of `kind`."""
    found = getattr(converter, method)()
    parts = found if isinstance(found, Iterable) else [found]
    for part in parts:
        if not isinstance(part, kind):
            raise ValueError(
                f"layout {type(converter).__name__}: {method} gave {type(part).__name__}; it is to yield "
                f"{kind.__name__} of recbole_mm, one or more"
            )
        yield part
