"""A folder of tables: which of them hold interactions, which items, and of which split they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from recbole_mm.data.conversion.layout import COLUMNS, SPLITS, Converter, Features, Interactions, Items
from recbole_mm.data.conversion.npy_features import array_features, find_arrays
from recbole_mm.data.conversion.tables import (
    is_of_interactions,
    is_of_items,
    item_plan,
    open_table,
    read_interactions,
    read_items,
    table_plan,
    vector_features,
)
from recbole_mm.data.npy import read_ids
from recbole_mm.io.reading import has_file

# as the Hugging Face hub finds splits: the word in the file's name, between characters that are no letters
_WORDS = {"train": "train|training", "valid": "validation|valid|val|dev", "test": "test|testing|eval|evaluation"}
ITEM_IDS = "item_ids.txt"


def split_of(name: str) -> str | None:
    """The split that a file's name says."""
    for split in SPLITS:
        if re.search(rf"(?<![a-z])({_WORDS[split]})(?![a-z])", name.lower()):
            return split
    return None


class TableFolder(Converter):
    """Tables of interactions and of items, in a folder or as one file. Derive from it, and say which files are tables.

    Feature arrays are read too where `item_ids.txt` gives the ids of their rows.
    """

    generic = True
    reads = (*COLUMNS, "interactions", "items")

    @classmethod
    def tables(cls, source: Path) -> list[Path]:
        """The tables of a source."""
        raise NotImplementedError

    @classmethod
    def is_own(cls, path: Path) -> bool:
        """Whether a table is of the kind by which the layout is recognised; items may be in others."""
        raise NotImplementedError

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """Tables of the layout's own kind with columns that look like user and item."""
        own = (path for path in cls.tables(source) if path == source or cls.is_own(path))
        there = [path for path in own if is_of_interactions(path)]
        return ", ".join(path.name for path in there[:4]) + (", ..." if there[4:] else "") if there else None

    def interaction_files(self) -> list[tuple[Path, str | None]]:
        """The tables of interactions, with their splits where there is one for each of several."""
        if self.options.interactions is not None:
            return [(self.options.interactions, None)]
        tables = [path for path in self.tables(self.source) if path != self.options.items]
        there = tables if len(tables) == 1 else [path for path in tables if is_of_interactions(path)]
        if not there:
            raise FileNotFoundError(
                f"{self.source} holds no table with columns that look like user and item; give the file itself, and "
                "say which columns they are with --user COLUMN --item COLUMN"
            )
        splits = [split_of(path.name) or split_of(path.parent.name) for path in there]
        if None in splits or len(set(splits)) == 1:
            splits = [None] * len(there)
        for split in dict.fromkeys(splits):
            self._check_parts([path for path, path_split in zip(there, splits, strict=True) if path_split == split])
        order = [*SPLITS, None]
        return sorted(zip(there, splits, strict=True), key=lambda named: (order.index(named[1]), named[0]))

    def _check_parts(self, there: list[Path]) -> None:
        """Several tables are one in parts where their columns are the same and their names differ in numbers alone.

        Others, such as `ratings_old.csv` beside `ratings.csv`, may hold the same interactions.
        """
        columns = {tuple(open_table(path, self.options).columns) for path in there}
        names = {re.sub(r"\d+", "0", str(path.relative_to(self.source))) for path in there if path != self.source}
        if len(columns) > 1 or len(names) > 1 or any(re.search(r"\(\d+\)", path.stem) for path in there[1:]):
            shown = ", ".join(path.name for path in there[:4]) + (", ..." if there[4:] else "")
            what = "with different columns" if len(columns) > 1 else "which may be copies of one another"
            raise ValueError(
                f"{self.source} holds several tables of interactions {what}: {shown}; give the one that is meant with "
                "--interactions FILE" + ("" if len(columns) > 1 else ", or name parts of one with a number each")
            )

    def item_files(self) -> list[Path]:
        """The tables of items."""
        if self.options.items is not None:
            return [self.options.items]
        taken = {path for path, _ in self.interaction_files()}
        return [path for path in self.tables(self.source) if path not in taken and is_of_items(path)]

    def plan(self) -> list[str]:
        """Which columns stand for what."""
        lines = []
        for path, split in self.interaction_files()[:8]:
            shown = table_plan(open_table(path, self.options), self.options)
            lines.append(shown + (f"; split {split}" if split else ""))
        return lines + [item_plan(open_table(path, self.options), self.options) for path in self.item_files()]

    def interactions(self) -> Iterator[Interactions]:
        """Those of each table, a chunk at a time."""
        for path, split in self.interaction_files():
            yield from read_interactions(open_table(path, self.options), self.options, split)

    def items(self) -> Iterator[Items]:
        """The texts of the tables of items."""
        for path in self.item_files():
            yield from read_items(open_table(path, self.options), self.options)

    def features(self) -> Iterator[Features]:
        """Columns of vectors in the tables of items, and arrays beside item_ids.txt."""
        for path in self.item_files():
            yield from vector_features(open_table(path, self.options), self.options)
        folder = self.source if self.source.is_dir() else self.source.parent
        if has_file(folder / ITEM_IDS):
            for modality, path in find_arrays(folder).items():
                yield array_features(modality, path, read_ids(folder / ITEM_IDS))
