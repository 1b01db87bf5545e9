"""What a reader knows items by: their original ids, titles and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from recbole_mm.extraction.item_files import item_files
from recbole_mm.io.tables import read_table

TITLE_FIELDS = ("title", "movie_title", "name")
TITLE_TYPES = ("token_seq", "token")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


def item_ids(dataset) -> np.ndarray:
    """Original ids of all items but [PAD], in the order of the internal ids; strings ``[n_items - 1]``."""
    return np.asarray(dataset.field2id_token[dataset.iid_field][1:], dtype=str)


def item_titles(dataset) -> dict[str, str]:
    """Titles by original item id, from the `.item` file beside the `.inter`.

    The title is the first of the columns `title`, `movie_title` and `name` that has the type `token_seq` or
    `token`; the answer is empty where there is no such file or column.

    Raises:
        ValueError: the file cannot be read as a table of RecBole.
    """
    file = Path(dataset.dataset_path) / f"{dataset.dataset_name}.item"
    if not file.exists():
        return {}
    form = {"separator": dataset.config["field_separator"], "encoding": dataset.config["encoding"] or "utf-8"}
    table = read_table(file, **form)
    titles = (f"{field}:{kind}" for field in TITLE_FIELDS for kind in TITLE_TYPES)
    title, item = next((name for name in titles if name in table), None), f"{dataset.iid_field}:token"
    return {} if title is None or item not in table else dict(zip(table[item], table[title], strict=True))


def item_pictures(dataset, ids: Iterable[str], folder: Path | None) -> dict[str, Path]:
    """Picture files by original item id, `.jpg`, `.jpeg` or `.png`; the first of several.

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
