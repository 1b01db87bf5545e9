"""Items that a data set leaves out before they get internal ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.data.feature_file import read_features
from recbole_mm.data.file_form import FileForm
from recbole_mm.data.hidden_features import hidden_by


def drop_items_without_interactions(dataset: Any) -> None:
    """Without this every row of the `.item` file would become a candidate (dataset.py:1139 of RecBole)."""
    if dataset.item_feat is not None:
        kept = dataset.item_feat[dataset.iid_field].isin(dataset.inter_feat[dataset.iid_field])
        dataset.item_feat = dataset.item_feat[kept].reset_index(drop=True)


def drop_incomplete_items(dataset: Any) -> None:
    """Leave out the interactions of items that lack a modality, or lose it to ``missing_share``.

    Raises:
        ValueError: no item has all modalities.
    """
    tokens = np.unique(dataset.inter_feat[dataset.iid_field].to_numpy(dtype=str))
    is_complete = np.ones(len(tokens), dtype=bool)
    for name in dataset.modalities:
        form = FileForm.of_settings(dataset.config)
        table = read_features(Path(dataset.dataset_path), dataset.dataset_name, name, form)
        is_complete &= np.isin(tokens, np.asarray(table.ids, dtype=str))
        is_complete &= ~hidden_by(dataset.config, name, ["[PAD]", *tokens])[1:]
    if not is_complete.any():
        names = ", ".join(dataset.modalities)
        raise ValueError(
            f"missing_modality: drop leaves no item, as none has all of {names}; set another, or modalities"
        )
    kept = dataset.inter_feat[dataset.iid_field].isin(tokens[is_complete]).to_numpy()
    if dataset.benchmark_filename_list is not None:
        parts = np.split(kept, np.cumsum(dataset.file_size_list)[:-1])
        dataset.file_size_list = [int(part.sum()) for part in parts]
    dataset.inter_feat = dataset.inter_feat[kept].reset_index(drop=True)
    dataset.logger.info(
        f"missing_modality: drop: {(~is_complete).sum()} of {len(tokens)} items lack a modality and are left out, with "
        f"{(~kept).sum()} interactions"
    )
