"""The raw contents of a data set's items: pictures of a folder, or texts of the `.item` file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_mm.data.describe import read_interactions
from recbole_mm.data.feature_file import dataset_name
from recbole_mm.data.file_form import FileForm, check_id_columns
from recbole_mm.io.files import is_folder
from recbole_mm.io.pictures import PictureError, open_picture, open_picture_file
from recbole_mm.io.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image as Picture

PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
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
    def read(self, item: str) -> Any:
        """An item's content as the encoder takes it; raises MissingContent."""

    @abstractmethod
    def digest(self, item: str) -> str:
        """A hash of the content as it is stored; raises MissingContent where there is none."""


class Pictures(Contents):
    """Pictures by item id, ``<folder>/<item_id>.jpg`` and the other suffixes of PICTURE_SUFFIXES.

    Raises:
        FileNotFoundError: there is no such folder or `.inter`, or the folder has a picture of none of the items.
    """

    def __init__(self, dataset_dir: Path, folder: Path):
        if not folder.is_dir():
            raise FileNotFoundError(f"--images: there is no folder {folder}")
        super().__init__(dataset_dir)
        self.facts, self.source = {}, folder.name
        # matched by the folder's listing, so that no item id, such as "../x", leads out of it
        files = sorted(folder.iterdir(), reverse=True)  # of two files for an item, the first by name
        by_id = {file.stem: file for file in files if file.suffix.lower() in PICTURE_SUFFIXES}
        # absolute, for the processes of a Ray job, whose working folder is another
        self.files = {item: by_id[item].absolute() for item in self.items if item in by_id}
        if not self.files:
            raise FileNotFoundError(
                f"--images: {folder} has a picture of no item of {dataset_dir}; they are looked for by item id, "
                f"such as {self.items[0]}.jpg"
            )

    def read(self, item: str) -> Picture:
        try:
            return open_picture(self._file(item))
        except PictureError as error:
            raise MissingContent(str(error)) from error

    def digest(self, item: str) -> str:
        try:
            with open_picture_file(self._file(item)) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (PictureError, OSError) as error:
            raise MissingContent(str(error)) from error

    def _file(self, item: str) -> Path:
        if item not in self.files:
            raise MissingContent("no picture")
        return self.files[item]


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

    def read(self, item: str) -> str:
        text = self.texts.get(item)
        if not text:
            raise MissingContent("no text")
        return text

    def digest(self, item: str) -> str:
        return hashlib.sha256(self.read(item).encode()).hexdigest()


def _read_texts(file: Path, fields: list[str], form: FileForm) -> dict[str, str]:
    if not file.exists():
        raise FileNotFoundError(f"there is no {file} to read {', '.join(fields)} from")
    table = _read(file, form)
    columns = {name.rpartition(":")[0]: name for name in table.columns if name.rpartition(":")[2] in TEXT_TYPES}
    for field in fields:
        if field not in columns:
            there = ", ".join(name for name in columns if name != form.item_field)
            raise ValueError(f"{file.name} has no text field '{field}'; it has {there or 'none'}")
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
    check_id_columns(file, list(table.columns), [column])
    return table[column]
