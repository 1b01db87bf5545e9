"""Full-sort evaluation data: what each user is tested on, and what is masked, made for all users at once.

RecBole makes two tensors a user, one by one, while a run starts: half a processor second at the size of Amazon Baby.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import ModelType


@cache
def apply() -> None:
    """Make the tables of data/dataloader/general_dataloader.py:196-231 as they are. Called once, at import."""

    def make_loader(loader: Any, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        if config["MODEL_TYPE"] == ModelType.SEQUENTIAL or shuffle or not len(dataset):
            make(loader, config, dataset, sampler, shuffle=shuffle)
            return
        loader.uid_field, loader.iid_field, loader.is_sequential = dataset.uid_field, dataset.iid_field, False
        _set_users(loader, dataset, sampler)
        loader.sample_size = len(loader.user_df)
        AbstractDataLoader.__init__(loader, config, dataset, sampler, shuffle=False)

    make, FullSortEvalDataLoader.__init__ = FullSortEvalDataLoader.__init__, make_loader


def _set_users(loader: Any, dataset: Any, sampler: Any) -> None:
    dataset.sort(by=dataset.uid_field, ascending=True)
    n_users, n_items = dataset.user_num, dataset.item_num
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    tested = np.unique(users)
    positives = np.unique(users * n_items + items)  # of a pair, and each once
    used = [sampler.used_ids[user] for user in tested]
    n_used = [len(ids) for ids in used]
    pairs = np.repeat(tested, n_used) * n_items + np.fromiter(chain.from_iterable(used), np.int64, sum(n_used))
    history = np.setdiff1d(pairs, positives, assume_unique=True)
    loader.uid_list = torch.from_numpy(tested)
    loader.uid2items_num = np.bincount(positives // n_items, minlength=n_users)
    loader.uid2positive_item = _by_user(positives, tested, n_users, n_items)
    loader.uid2history_item = _by_user(history, tested, n_users, n_items)
    loader.user_df = dataset.join(Interaction({dataset.uid_field: loader.uid_list}))


def _by_user(pairs: np.ndarray, tested: np.ndarray, n_users: int, n_items: int) -> np.ndarray:
    """Item ids of each user that is tested, ``[n_users]`` of tensors, and None for all others."""
    users, items = np.divmod(np.sort(pairs), n_items)
    counts = np.bincount(users, minlength=n_users)[tested]
    found = np.full(n_users, None)
    for user, ids in zip(tested, torch.from_numpy(items).split(counts.tolist()), strict=True):
        found[user] = ids
    return found
