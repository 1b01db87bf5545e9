"""MMRec's layout: one `.inter` with x_label, one array per modality, and maybe the mapping of its numbers to ids.

`NAME.inter` is separated by tabs with the columns userID, itemID and x_label (0, 1, 2 = train, valid, test), in any
order, and often rating and timestamp. `image_feat.npy`, `text_feat.npy` and `audio_feat.npy` have a row for each
itemID. `i_id_mapping.csv` (asin, itemID) and `u_id_mapping.csv` (user_id, userID), separated by tabs, lead from the
numbers to the ids of the raw data: where they are there, those ids are used, so that titles and pictures can be joined.
`NAME.item`, if there, gives texts as RecBole's atomic files do. `item_ids.txt`, which is ours, gives the id of each
feature row where the `.inter` has ids instead of numbers.

Source: data/README.md and preprocessing/ of github.com/enoche/MMRec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from recbole_mm.data.conversion.convert import convert_dataset
from recbole_mm.data.conversion.delimited import DelimitedFile, header_of
from recbole_mm.data.conversion.layout import SPLITS, Converter, Features, Interactions, Items, SourceOptions
from recbole_mm.data.conversion.npy_features import ARRAY_NAMES, array_features, find_arrays
from recbole_mm.data.conversion.tables import read_items, renamed, vector_features
from recbole_mm.data.modality_name import names_modality
from recbole_mm.data.npy import load_npy, read_ids
from recbole_mm.io.reading import files_in, has_file
from recbole_mm.registry import register_converter

ITEM_IDS = "item_ids.txt"
FIELDS = {"userID": "user_id", "itemID": "item_id"}
REQUIRED = ("user_id", "item_id", "x_label")
MAPPINGS = {"user_id": "u_id_mapping.csv", "item_id": "i_id_mapping.csv"}


@register_converter("mmrec", help="MMRec's folder: NAME.inter with x_label, *_feat.npy, i_id_mapping.csv")
class MMRecConverter(Converter):
    """See the module."""

    keeps_unused_items = True
    also_reads = tuple(MAPPINGS.values())

    def __init__(self, source: Path, options: SourceOptions | None = None):
        super().__init__(source, options)
        self._ids: list[str] | None = None
        self._mapping: dict[str, dict[str, str]] = {}
        self._n_rows: dict[Path, int] = {}

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """An `.inter` with an x_label."""
        for path in files_in(source, "*.inter") if source.is_dir() else ():
            if "x_label" in (column.partition(":")[0] for column in header_of(path)):
                return ", ".join([path.name, *(file.name for file in _side_files(source))])
        return None

    @property
    def interaction_source(self) -> Path:
        """The `.inter`."""
        return self._inter_file()

    def plan(self) -> list[str]:
        """Where the ids come from."""
        there = [name for name in MAPPINGS.values() if has_file(self.source / name)]
        names = ", ".join(name for names in ARRAY_NAMES.values() for name in names)
        absent = [] if find_arrays(self.source) else [f"interactions alone, as there is none of {names}"]
        return [f"ids of the raw data from {', '.join(there)}"] * bool(there) + absent

    def interactions(self) -> Iterator[Interactions]:
        """Those of each label, a chunk of the file at a time."""
        path = self._inter_file()
        file, columns = _open(path)
        arrays = self._arrays()
        for cells, lines in file.batches(list(columns.values())):
            labels = [_label(path, line, text) for text, line in zip(cells[columns["x_label"]], lines, strict=True)]
            items = [
                self._item(path, line, text, arrays)
                for text, line in zip(cells[columns["item_id"]], lines, strict=True)
            ]
            users = self._users(path, cells[columns["user_id"]], lines)
            numbers = {name: cells[column] for name, column in columns.items() if name not in REQUIRED}
            yield from _by_label(path, labels, lines, users, items, numbers)

    def items(self) -> Iterator[Items]:
        """Texts of the `.item` file beside the `.inter`, where there is one."""
        for file in self._item_tables():
            for chunk in read_items(file, SourceOptions()):
                yield replace(chunk, ids=self._named(chunk.ids))

    def features(self) -> Iterator[Features]:
        """The arrays, their rows by number or by item_ids.txt, and columns of vectors of the `.item`."""
        for modality, path in self._arrays().items():
            ids = self._ids
            if ids is None and "item_id" in self._mapping:
                ids = [self._mapped("item_id", str(row), path, row) for row in range(len(load_npy(path)))]
            yield array_features(modality, path, ids)

        for file in self._item_tables():
            for vector_feature in vector_features(file, SourceOptions()):
                yield renamed(vector_feature, self._named)

    def _item_tables(self) -> list[DelimitedFile]:
        """The `.item` beside the `.inter`, where there is one."""
        path = self._inter_file().with_suffix(".item")
        return [DelimitedFile(path, header=True, separator="\t")] if has_file(path) else []

    def _named(self, numbers: Sequence[str]) -> list[str]:
        """Ids of items; one that the mapping has not is none of the data."""
        names = self._mapping.get("item_id", {})
        return [names.get(number, number) for number in numbers]

    def _inter_file(self) -> Path:
        if not self.source.is_dir():
            raise FileNotFoundError(f"there is no folder {self.source}; give the folder that holds the .inter file")
        there = [file.name for file in files_in(self.source, "*.inter")]
        name = there[0] if len(there) == 1 else f"{self.options.name or 'NAME'}.inter"
        if name not in there:
            shown = ", ".join(there) or "no .inter file"
            remedy = f": --name {Path(there[0]).stem}" if there else ""
            raise FileNotFoundError(f"there is no file {self.source / name}; the folder holds {shown}{remedy}")
        return self.source / name

    def _arrays(self) -> dict[str, Path]:
        """The arrays by modality; reads the ids of their rows."""
        arrays = find_arrays(self.source)
        if has_file(self.source / ITEM_IDS):
            self._ids = read_ids(self.source / ITEM_IDS)
        for field, name in MAPPINGS.items():
            if has_file(self.source / name) and (field == "user_id" or self._ids is None):
                self._mapping[field] = _read_mapping(self.source / name, field)
        self._n_rows = {path: len(load_npy(path)) for path in arrays.values()}
        return arrays

    def _item(self, path: Path, line: int, text: str, arrays: dict[str, Path]) -> str:
        """An itemID, which is a row of every array if there is any, as the id that it stands for."""
        if self._ids is not None or not (arrays or "item_id" in self._mapping):
            return text
        if not re.fullmatch("[0-9]{1,18}", text):
            said = f"{text!r} is no row number" if text else "is empty"
            raise ValueError(
                f"{path}, line {line}: the item id {said}; give the id of each feature row in "
                f"{path.parent / ITEM_IDS}, one a line"
            )
        number = int(text)
        for array in arrays.values():
            if number >= self._n_rows[array]:
                raise ValueError(
                    f"{path}, line {line}: item {number} has no row in {array}, which holds {self._n_rows[array]} rows "
                    "(the first is item 0); add the rows, or drop the interactions"
                )
        return self._mapped("item_id", str(number), path, line) if "item_id" in self._mapping else str(number)

    def _users(self, path: Path, users: list[str], lines: list[int]) -> list[str]:
        if "user_id" not in self._mapping:
            return users
        return [self._mapped("user_id", user, path, line) for user, line in zip(users, lines, strict=True)]

    def _mapped(self, field: str, number: str, path: Path, line: int) -> str:
        try:
            return self._mapping[field][number]
        except KeyError:
            raise ValueError(
                f"{path}, line {line}: {field} {number!r} is not in {self.source / MAPPINGS[field]}; is it of other "
                "data? Remove the mapping to keep the numbers"
            ) from None


def convert_mmrec(source: Path, name: str, out: Path, *, overwrite: bool = False) -> Path:
    """Make a RecBole data set of `source/name.inter` and its arrays, its split kept; returns the folder `out/name`.

    See `convert_dataset` for what is written and raised.
    """
    return convert_dataset(MMRecConverter(source, SourceOptions(name=name)), name, out, overwrite=overwrite).folder


def _side_files(source: Path) -> list[Path]:
    arrays = [path for path in sorted(source.glob("*.npy")) if names_modality(path.stem)]
    return arrays + [source / name for name in MAPPINGS.values() if has_file(source / name)]


def _open(path: Path) -> tuple[DelimitedFile, dict[str, str]]:
    """The file, and its columns by our names."""
    file = DelimitedFile(path, header=True, separator="\t")
    columns: dict[str, str] = {}
    for column in file.columns:
        name = column.partition(":")[0]
        name = FIELDS.get(name, name)
        if name in columns:
            raise ValueError(f"{path}, line 1: a column is named twice: {columns[name]} and {column}; keep one")
        columns[name] = column
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ValueError(
            f"{path}, line 1: there is no column {', '.join(missing)}; found {', '.join(file.columns)}. "
            "Expected are userID (or user_id), itemID (or item_id) and x_label, separated by tabs"
        )
    known = (*REQUIRED, "rating", "timestamp")
    return file, {name: column for name, column in columns.items() if name in known}


def _label(path: Path, line: int, text: str) -> int:
    try:
        return {0.0: 0, 1.0: 1, 2.0: 2}[float(text)]
    except (KeyError, ValueError):
        raise ValueError(
            f"{path}, line {line}: x_label is {text!r}; it must be 0 (train), 1 (valid) or 2 (test)"
        ) from None


def _by_label(
    path: Path, labels: list[int], lines: list[int], users: list[str], items: list[str], numbers: dict[str, list[str]]
) -> Iterator[Interactions]:
    for label, split in enumerate(SPLITS):
        rows = [row for row, row_label in enumerate(labels) if row_label == label]
        if not rows:
            continue
        ratings, timestamps = (
            [numbers[name][row] for row in rows] if name in numbers else None for name in ("rating", "timestamp")
        )
        yield Interactions(
            [users[row] for row in rows], [items[row] for row in rows], path, ratings, timestamps, split,
            [lines[row] for row in rows],
        )  # fmt: skip


def _read_mapping(path: Path, field: str) -> dict[str, str]:
    """Ids of the raw data by number."""
    file = DelimitedFile(path, header=True)
    number = next((name for name, target in FIELDS.items() if target == field and name in file.columns), None)
    if len(file.columns) != 2 or number is None:
        raise ValueError(f"{path}, line 1: expected the ids of the raw data and {_number_column(field)}")
    (raw,) = (column for column in file.columns if column != number)
    mapping: dict[str, str] = {}
    owners: dict[str, str] = {}
    for cells, lines in file.batches([raw, number]):
        for index, text, line in zip(cells[number], cells[raw], lines, strict=True):
            if mapping.setdefault(index, text) != text:
                raise ValueError(f"{path}, line {line}: {number} {index} has two ids, {mapping[index]!r} and {text!r}")
            if owners.setdefault(text, index) != index:
                raise ValueError(f"{path}, line {line}: the id {text!r} is that of {number} {owners[text]} and {index}")
    return mapping


def _number_column(field: str) -> str:
    return next(name for name, target in FIELDS.items() if target == field)
