"""The raw contents of a data set's items: files of a folder, or texts of the `.item` file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_mm.data.describe import read_interactions
from recbole_mm.data.feature_file import dataset_name
from recbole_mm.data.file_form import FileForm, check_id_columns
from recbole_mm.extraction.item_files import item_files, mapped_files, other_files
from recbole_mm.io.files import is_folder
from recbole_mm.io.pictures import PICTURE_SUFFIXES, PictureError, open_picture, open_picture_file
from recbole_mm.io.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image as Picture

TEXT_SEPARATOR = " "
TEXT_TYPES = ("token", "token_seq", "float")


class MissingContent(Exception):
    """An item has no content that can be used; says why."""


class Contents(ABC):
    """What the items have to encode.

    Attributes:
        items: ids of all items with an interaction, in the order of their first, and then of all others of the
            `.item` file, where there is one.
        n_with_interactions: how many of them have an interaction.
        form: how its files are written.
        facts: what the features depend on beside the encoder, for the feature file's metadata.
        source: where the contents are from, for the same place.
    """

    items: list[str]
    n_with_interactions: int
    form: FileForm
    facts: dict[str, Any]
    source: str

    def __init__(self, dataset_dir: Path):
        if not is_folder(dataset_dir):
            raise FileNotFoundError(f"there is no folder {dataset_dir}; give the folder that holds the .inter file")
        name = dataset_name(dataset_dir)
        form = self.form = FileForm.of_folder(dataset_dir)
        interactions, _ = read_interactions(dataset_dir, name, [form.item_field], form)
        with_interactions = dict.fromkeys(interactions[form.item_field])
        file = dataset_dir / f"{name}.item"
        described = dict.fromkeys(_item_column(file, _read(file, form), form)) if file.exists() else {}
        self.items = list(with_interactions | described)
        self.n_with_interactions = len(with_interactions)

    @abstractmethod
    def read(self, item: str) -> list[Any]:
        """An item's contents as the encoder takes them, whose features are averaged; raises MissingContent."""

    @abstractmethod
    def digest(self, item: str) -> str:
        """A hash of the contents as they are stored; raises MissingContent where there are none."""

    def partly(self, item: str) -> str | None:
        """Why some of the contents of an item that was read are left out; None where none are."""
        return None


class FileContents(Contents):
    """Contents in files of a folder, one or more for an item (:func:`~recbole_mm.extraction.item_files.item_files`).

    Args:
        folder: of the files.
        column: field of the `.item` file that names an item's files, instead of its id.

    Attributes:
        others: names of further files in the folder.
        files: by item, absolute, for the processes of a Ray job, whose working folder is another.
        suffixes: of the files that are looked for.
        noun: what a file is.
        option: of `extract`, that names the folder.

    Raises:
        FileNotFoundError: there is no such folder or `.inter`, or the folder has a file of none of the items.
        ValueError: there is no such column, or it names files outside the folder.
    """

    suffixes: ClassVar[tuple[str, ...]]
    noun: ClassVar[str]
    option: ClassVar[str]

    def __init__(self, dataset_dir: Path, folder: Path, column: str | None = None):
        if not folder.is_dir():
            raise FileNotFoundError(f"{self.option}: there is no folder {folder}")
        super().__init__(dataset_dir)
        self.facts, self.source = {}, folder.name
        where = f"by item id, such as {self.items[0]}{self.suffixes[0]}"
        if column is None:
            self.files = item_files(folder, self.items, self.suffixes)
        else:
            texts = _read_texts(dataset_dir / f"{dataset_name(dataset_dir)}.item", [column], self.form)
            self.files = mapped_files(folder, texts, self.option)
            where = f"by the names in field '{column}' of {dataset_name(dataset_dir)}.item"
        self.others = other_files(folder, self.files)
        if not self.files:
            said = f"{folder} has a {self.noun} of no item of {dataset_dir}; they are looked for {where}"
            raise FileNotFoundError(f"{self.option}: {said}, and it has {', '.join(self.others[:3]) or 'no files'}")
        self._by_item = {name.rpartition(".")[0] or name: name for name in self.others}
        self._reasons: dict[str, list[str]] = {}

    @abstractmethod
    def open(self, file: Path) -> list[Any]:
        """What the encoder takes of one file, one thing or more; raises MissingContent."""

    @abstractmethod
    def open_bytes(self, file: Path) -> BufferedReader:
        """A file's bytes; raises MissingContent or OSError."""

    def read(self, item: str) -> list[Any]:
        """Of all files that can be read."""
        parts, reasons = [], []
        for file in self.files_of(item):
            try:
                parts += self.open(file)
            except MissingContent as reason:
                reasons.append(str(reason))
        return self._readable(item, parts, reasons)

    def digest(self, item: str) -> str:
        digests, reasons = [], []
        for file in self.files_of(item):
            try:
                digests.append(self.file_digest(file))
            except MissingContent as reason:
                reasons.append(str(reason))
        return joined(self._readable(item, digests, reasons))

    def file_digest(self, file: Path) -> str:
        """The SHA-256 of one file; raises MissingContent."""
        try:
            with self.open_bytes(file) as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise MissingContent(str(error)) from error

    def files_of(self, item: str) -> list[Path]:
        """An item's files; raises MissingContent where it has none."""
        if item not in self.files:
            other = f", but {self._by_item[item]}, whose suffix is none of " if item in self._by_item else ""
            raise MissingContent(f"no {self.noun}{other}{', '.join(self.suffixes) if other else ''}")
        return self.files[item]

    def partly(self, item: str) -> str | None:
        reasons = self._reasons.get(item)
        return f"{len(reasons)} of {len(self.files[item])} files left out: {'; '.join(reasons)}" if reasons else None

    def _readable(self, item: str, parts: list[Any], reasons: list[str]) -> list[Any]:
        if not parts:
            raise MissingContent("; ".join(reasons))
        if reasons:
            self._reasons[item] = reasons
        return parts


def joined(digests: list[str]) -> str:
    """One digest of several contents; that of one is its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


class Pictures(FileContents):
    """Pictures by item; see :class:`FileContents`."""

    suffixes = PICTURE_SUFFIXES
    noun, option = "picture", "--images"

    def open(self, file: Path) -> list[Picture]:
        try:
            return [open_picture(file)]
        except PictureError as error:
            raise MissingContent(str(error)) from error

    def open_bytes(self, file: Path) -> BufferedReader:
        try:
            return open_picture_file(file)
        except PictureError as error:
            raise MissingContent(str(error)) from error


class Texts(Contents):
    """Texts of the `.item` file: the values of some fields, joined by a space.

    Raises:
        FileNotFoundError: there is no `.inter` or no `.item` file.
        ValueError: a field is not in the `.item` file, or is no text; an item has two different rows.
    """

    def __init__(self, dataset_dir: Path, fields: list[str]):
        super().__init__(dataset_dir)
        file = dataset_dir / f"{dataset_name(dataset_dir)}.item"
        self.facts, self.source = {"fields": fields, "separator": TEXT_SEPARATOR}, file.name
        self.texts = _read_texts(file, fields, self.form)

    def read(self, item: str) -> list[str]:
        return [self.text(item)]

    def digest(self, item: str) -> str:
        return hashlib.sha256(self.text(item).encode()).hexdigest()

    def text(self, item: str) -> str:
        """An item's text; raises MissingContent."""
        text = self.texts.get(item)
        if not text:
            raise MissingContent("no text")
        return text


def _read_texts(file: Path, fields: list[str], form: FileForm) -> dict[str, str]:
    if not file.exists():
        raise FileNotFoundError(f"there is no {file} to read {', '.join(fields)} from")
    table = _read(file, form)
    columns = {name.rpartition(":")[0]: name for name in table.columns if name.rpartition(":")[2] in TEXT_TYPES}
    for field in fields:
        if field not in columns:
            there = ", ".join(name for name in columns if name != form.item_field) or "none"
            raise ValueError(f"{file.name} has no text field '{field}'; it has {there} (--fields, text_fields)")
    rows = table[[columns[field] for field in fields]].itertuples(index=False)
    texts: dict[str, str] = {}
    for item, row in zip(_item_column(file, table, form), rows, strict=True):
        text = TEXT_SEPARATOR.join(value.strip() for value in row if value.strip())
        if texts.setdefault(item, text) != text:
            raise ValueError(f"{file}: item {item!r} has two rows with different texts; keep one of them")
    return texts


def _read(file: Path, form: FileForm) -> pd.DataFrame:
    return read_table(file, separator=form.separator, encoding=form.encoding)


def _item_column(file: Path, table: pd.DataFrame, form: FileForm) -> pd.Series:
    column = f"{form.item_field}:token"
    check_id_columns(file, list(table.columns), [column], form)
    if (empty := table[column].str.strip() == "").any():
        raise ValueError(f"{file}, line {empty.idxmax()}: there is no {form.item_field}; correct or delete the line")
    return table[column]
