"""What a reader knows items by: their original ids, titles and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from recbole.data.dataset import Dataset

from recbole_mm.extraction.item_files import item_files
from recbole_mm.io.pictures import PICTURE_SUFFIXES
from recbole_mm.io.tables import read_table

TITLE_FIELDS = ("title", "movie_title", "name")
TITLE_TYPES = ("token_seq", "token")
TEXT_FIELDS = ("description", "plot", "overview", "categories", "genres")


def item_ids(dataset: Dataset) -> np.ndarray:
    """Original ids of all items but [PAD], in the order of the internal ids; strings ``[n_items - 1]``."""
    return np.asarray(dataset.field2id_token[dataset.iid_field][1:], dtype=str)


def item_titles(dataset: Dataset) -> dict[str, str]:
    """Titles by original item id, from the `.item` file beside the `.inter`.

    The title is the first of the columns `title`, `movie_title` and `name`, in small letters or not, that has the type
    `token_seq` or `token`; the answer is empty where there is no such file or column.

    Raises:
        ValueError: the file cannot be read as a table of RecBole.
    """
    table = _item_table(dataset)
    by_name = {name.lower(): name for name in sorted(table)}  # capitals come first: of two the small letters' is left
    titles = (f"{field}:{kind}" for field in TITLE_FIELDS for kind in TITLE_TYPES)
    title = next((by_name[name] for name in titles if name in by_name), None)
    item = f"{dataset.iid_field}:token"
    return {} if title is None or item not in table else dict(zip(table[item], table[title], strict=True))


def item_texts(dataset: Dataset, fields: list[str] | None) -> dict[str, str]:
    """Texts by original item id, from the `.item` file beside the `.inter`.

    Args:
        dataset: whose items these are.
        fields: of which a text is put together; None takes those of TEXT_FIELDS that there are.

    Raises:
        ValueError: the file has no such field, or cannot be read as a table of RecBole.
    """
    table = _item_table(dataset)
    by_field = {name.partition(":")[0]: name for name in table if name.endswith(TITLE_TYPES)}
    chosen = [name for name in TEXT_FIELDS if name in by_field] if fields is None else fields
    missing = next((name for name in chosen if name not in by_field), None)
    if missing is not None:
        raise ValueError(
            f"--text-fields: the .item file of '{dataset.dataset_name}' has no text '{missing}'; those it has: "
            f"{', '.join(name for name in by_field if name != dataset.iid_field) or 'none'}"
        )
    if not chosen:
        return {}
    rows = _texts_by_item(dataset, table, [by_field[name] for name in chosen])
    return {item: ". ".join(filter(None, texts)) for item, texts in rows.items()}


def item_fields(dataset: Dataset, fields: list[str]) -> dict[str, list[str]]:
    """Texts by original item id, one for each of some fields of the `.item` file beside the `.inter`.

    Raises:
        ValueError: there is no such file or field, or it cannot be read as a table of RecBole.
    """
    table = _item_table(dataset)
    columns = {name.partition(":")[0]: name for name in table}
    for field in fields:
        if field not in columns:
            there = ", ".join(name for name in columns if name != dataset.iid_field) or "none"
            raise ValueError(f"--fields: the .item file of '{dataset.dataset_name}' has no field '{field}'; {there}")
    return _texts_by_item(dataset, table, [columns[field] for field in fields])


def _texts_by_item(dataset: Any, table: Mapping[str, Any], columns: list[str]) -> dict[str, list[str]]:
    ids = next(table[name] for name in table if name.partition(":")[0] == dataset.iid_field)
    rows = zip(*(table[column] for column in columns), strict=True)
    return {item: list(row) for item, row in zip(ids, rows, strict=True)}


def _item_table(dataset: Dataset) -> Mapping[str, Any]:
    """Columns of the `.item` file by name; none where there is no file."""
    file = Path(dataset.dataset_path) / f"{dataset.dataset_name}.item"
    if not file.exists():
        return {}
    form = {"separator": dataset.config["field_separator"], "encoding": dataset.config["encoding"] or "utf-8"}
    return read_table(file, **form)


def item_pictures(dataset: Dataset, ids: Iterable[str], folder: Path | None) -> dict[str, Path]:
    """Picture files by original item id, of every suffix that extraction takes; the first of several.

    They are found as extraction finds them (:func:`~recbole_mm.extraction.item_files.item_files`).

    Args:
        dataset: its folder `images` beside the `.inter` is taken where `folder` is None; it need not exist.
        ids: the items to look for.
        folder: where to look.

    Raises:
        FileNotFoundError: `folder` does not exist, or has a picture of none of the items.
        ValueError: there are pictures, and Pillow, which reads them, is not installed.
    """
    place = folder or Path(dataset.dataset_path) / "images"
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"--images: there is no folder {folder}")
    found = {item: files[0] for item, files in item_files(place, ids, PICTURE_SUFFIXES).items()}
    if folder is not None and not found:
        raise FileNotFoundError(
            f"--images: {folder} has no picture of an item of '{dataset.dataset_name}'; "
            f"they are looked for by item id, such as {next(iter(ids))}.jpg"
        )
    if found:
        _require_pillow(place)
    return found


def _require_pillow(place: Path) -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ValueError(f"the pictures in {place} need Pillow; type: pip install pillow") from error
