"""What a reader knows items by: their original ids, titles and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_mm.io.reading import open_regular

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
    try:
        return _read_titles(file, dataset)
    except ValueError as error:  # as are pandas' ParserError and UnicodeDecodeError
        raise ValueError(f"{file}: the items' titles cannot be read ({error}); mend or remove it") from error


def _read_titles(file: Path, dataset) -> dict[str, str]:
    def read(**options) -> pd.DataFrame:
        with open_regular(file) as opened:
            return pd.read_csv(
                opened,
                sep=dataset.config["field_separator"],
                encoding=dataset.config["encoding"] or "utf-8",
                dtype=str,
                keep_default_na=False,
                index_col=False,
                **options,
            )

    columns = set(read(nrows=0).columns)
    titles = (f"{field}:{kind}" for field in TITLE_FIELDS for kind in TITLE_TYPES)
    title, item = next((one for one in titles if one in columns), None), f"{dataset.iid_field}:token"
    if title is None or item not in columns:
        return {}
    table = read(usecols=[item, title])
    return dict(zip(table[item], table[title], strict=True))


def item_pictures(dataset, ids: Iterable[str], folder: Path | None) -> dict[str, Path]:
    """Picture files by original item id: ``<folder>/<item_id>.jpg``, `.jpeg` or `.png`.

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
    # matched by the folder's listing, so that no item id, such as "../x", leads out of it
    listed = sorted(place.iterdir(), reverse=True) if place.is_dir() else []
    by_id = {path.stem: path for path in listed if path.suffix.lower() in PICTURE_SUFFIXES}
    found = {item: by_id[item] for item in ids if item in by_id}
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
