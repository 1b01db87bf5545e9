"""Data sets out of data frames: pandas, polars, pyarrow, and whatever gives Arrow streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from recbole_mm.data.conversion.arrow_tables import FrameTable
from recbole_mm.data.conversion.cells import id_texts
from recbole_mm.data.conversion.convert import Selection, convert_dataset
from recbole_mm.data.conversion.layout import COLUMNS, Converter, Features, Interactions, Items, SourceOptions
from recbole_mm.data.conversion.report import Report
from recbole_mm.data.conversion.tables import (
    item_column,
    read_interactions,
    read_items,
    text_columns,
    vector_features,
)
from recbole_mm.data.feature_table import check_shape
from recbole_mm.io.counting import counted
from recbole_mm.io.errors import one_line


def from_frames(
    interactions: Any,
    items: Any = None,
    features: Mapping[str, Any] | None = None,
    *,
    name: str,
    out: str | Path,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    min_rating: float | None = None,
    duplicates: Literal["keep", "first", "last"] = "keep",
    k_core: int = 0,
    split: Literal["none", "random", "leave-one-out", "time"] = "none",
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 2020,
    overwrite: bool = False,
) -> Report:
    """Make the data set `out/name` of data frames; as `python -m recbole_mm convert` makes it of files.

    Args:
        interactions: a row for each, with columns of users and items, and maybe ratings and times.
        items: a row for each item; its columns of texts become fields of the `.item` file, its columns of vectors
            modalities.
        features: by modality, an array `[n_items, width]` in the order of `items`, (ids, array), or vectors by id.
        user, item, rating, time: the columns; guessed by their names where not given, `none` leaves one out.
        min_rating, duplicates, k_core, split, ratios, seed: see `Selection`.
        overwrite: replace the folder `out/name`.

    Returns:
        What was read, left out and written; `report.folder` is the data set.

    Raises:
        OSError, ValueError: see `convert_dataset`; no data frames; a column is not there.
    """
    columns = (user, item, rating, time)
    converter = _FrameConverter(interactions, items, features or {}, columns)
    selection = Selection(min_rating, duplicates, k_core, split, ratios, seed)
    return convert_dataset(converter, name, Path(out), selection, overwrite=overwrite)


class _FrameConverter(Converter):
    """Reads frames in memory."""

    reads = COLUMNS

    def __init__(self, interactions: Any, items: Any, features: Mapping[str, Any], columns: Sequence[str | None]):
        user, item, rating, time = (None if name is None else str(name) for name in columns)  # pandas has numbers too
        super().__init__(Path("interactions"), SourceOptions(user, item, rating, time))
        self._interactions = FrameTable(interactions, "interactions")
        self._items = None if items is None else FrameTable(items, "items")
        self._features = features

    @classmethod
    def recognise(cls, source: Path) -> None:
        """Frames lie in no folder."""

    def interactions(self) -> Iterator[Interactions]:
        yield from read_interactions(self._interactions, self.options)

    def items(self) -> Iterator[Items]:
        if self._items is None:
            return
        texts = text_columns(self._items, item_column(self._items, self.options))
        if texts or not self._features:  # ids alone say which the rows of the features are
            yield from read_items(self._items, self.options)

    def features(self) -> Iterator[Features]:
        if self._items is not None:
            yield from vector_features(self._items, self.options)
        for modality, given in self._features.items():
            if isinstance(given, Mapping):
                given = list(given), list(given.values())
            ids, values = given if isinstance(given, tuple) else (self._item_ids(modality), given)
            yield _array(modality, ids, values)

    def _item_ids(self, modality: str) -> Any:
        if self._items is None:
            raise ValueError(f"features[{modality!r}]: give (ids, array), or a frame of items in the array's order")
        return self._items.column(item_column(self._items, self.options))


def _array(modality: str, ids: Any, given: Any) -> Features:
    source = Path(f"features[{modality!r}]")
    values = _values(given, source)
    check_shape(values, source)
    texts: Sequence[str] = id_texts(ids, "item id", lambda row: f"{source}, row {row + 1}").to_pylist()
    if len(texts) != len(values):
        rows, id_count = counted(len(values), "row"), counted(len(texts), "item id")
        raise ValueError(f"{source}: {rows} of features for {id_count}; there must be one each")
    return Features(modality, source, lambda: iter([(texts, values)]))


def _values(given: Any, source: Path) -> np.ndarray:
    """A table of numbers of arrays, tensors, and lists or columns of vectors."""
    index = getattr(given, "index", None)  # of pandas; a list's is a function
    if index is not None and not callable(index) and list(index) != list(range(len(index))):
        raise ValueError(f"{source}: its index may not be in the order of the items; give (ids, FRAME.to_numpy())")
    if hasattr(given, "toarray"):  # a matrix of scipy.sparse
        raise ValueError(f"{source}: a sparse matrix; give MATRIX.toarray(), or fewer columns of it")
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
        given = given.float() if given.dtype == torch.bfloat16 else given
    try:
        values = np.asarray(given)
        return np.stack([np.asarray(row) for row in values]) if values.dtype == object and values.ndim == 1 else values
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{source}: no table of numbers [items, width] ({one_line(error)}); give an array, or a pair (ids, array)"
        ) from error
