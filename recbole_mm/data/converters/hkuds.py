"""HKUDS's layout (DiffMM and later): a pickled sparse matrix of users x items for each split, and `*_feat.npy`.

`trnMat.pkl`, `valMat.pkl` and `tstMat.pkl` are pickles of scipy.sparse matrices whose entries are the interactions;
`image_feat.npy`, `text_feat.npy` and `audio_feat.npy` have a row for each column. MMSSL's and LLMRec's folders have
`train_mat`, `val_mat` and `test_mat` (pickles too) beside the same interactions as json: where the json is there, the
layout `mmssl` reads it instead.

Source: the data of github.com/HKUDS/DiffMM (Datasets/tiktok) and the README of github.com/HKUDS/MMSSL.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recbole_mm.data.conversion.layout import Converter, Features, Interactions
from recbole_mm.data.conversion.npy_features import array_features, check_rows, find_arrays
from recbole_mm.data.conversion.safe_pickle import read_sparse_pickle
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter

NAMES = {
    "train": ("trnMat.pkl", "train_mat", "train_mat.pkl"),
    "valid": ("valMat.pkl", "val_mat", "val_mat.pkl"),
    "test": ("tstMat.pkl", "test_mat", "test_mat.pkl"),
}


@register_converter("hkuds", help="HKUDS's pickles (trnMat.pkl, valMat.pkl, tstMat.pkl) and *_feat.npy")
class HkudsConverter(Converter):
    """See the module."""

    keeps_unused_items = True

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """The training matrix, where there is no json beside it."""
        files = _files(source)
        if "train" not in files or has_file(source / "train.json"):
            return None
        return ", ".join(path.name for path in files.values())

    def interactions(self) -> Iterator[Interactions]:
        """The entries of each matrix."""
        files = _files(self.source)
        if "train" not in files:
            raise FileNotFoundError(f"there is no trnMat.pkl in {self.source}")
        shapes = {}
        for split, path in files.items():
            users, items, values, shape = read_sparse_pickle(path)
            shapes[path.name] = shape
            if len(set(shapes.values())) > 1:
                raise ValueError(f"{self.source}: the matrices differ in shape: {shapes}; they are of different data")
            check_rows(find_arrays(self.source), shape[1], path)
            yield Interactions(users, items, path, values.astype(np.float64), None, split)

    def features(self) -> Iterator[Features]:
        """A row for each column of the matrices."""
        for modality, path in find_arrays(self.source).items():
            yield array_features(modality, path)


def _files(source: Path) -> dict[str, Path]:
    there = {split: [source / name for name in names if has_file(source / name)] for split, names in NAMES.items()}
    return {split: paths[0] for split, paths in there.items() if paths}
