"""Users of whom no negative item is left to draw, found before the first epoch.

RecBole refuses a user with all items whether anything is drawn or not, without its id, and draws forever where a user
has all those that popularity would draw. Line numbers are RecBole 1.2.1's.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from recbole.config import Config
from recbole.sampler import Sampler

from recbole_mm.host.cold_items import negative_items
from recbole_mm.host.mend import mend

_SPLITS = ("training", "validation", "test")


@cache
def apply() -> None:
    """sampler/sampler.py:255: leave it to :func:`check_negative_items`. Called once, at import."""
    mend(Sampler.get_used_ids, "if len(used_item_set) + 1 == self.item_num:", "if False:")


def check_negative_items(config: Config, splits: list[Any]) -> None:
    """Raise ValueError, one line, for a user of whom a split draws negative items and none is left.

    Where all items are ranked and a user has them all, the log says what its lists are worth.

    Args:
        config: of the run.
        splits: RecBole's data sets of training, validation and test; None or empty where there is none.
    """
    if config["repeatable"]:
        return  # nothing that a user has is left out
    items = [split.inter_feat[split.iid_field].numpy() if split else np.empty(0, np.int64) for split in splits]
    drawing = [config[f"{name}_neg_sample_args"] for name in ("train", "valid", "test")]
    for position, (split, sampling) in enumerate(zip(splits, drawing, strict=True)):
        if not split or sampling["distribution"] == "none":
            continue
        popular = sampling["distribution"] == "popularity"
        drawable = np.unique(np.concatenate(items)) if popular else np.arange(1, split.item_num)
        warm = negative_items(config, split) if position == 0 else None
        drawable = drawable if warm is None else np.intersect1d(drawable, warm)
        history = splits[: position + 1]
        if config["eval_history"] == "train" and position == 2:
            history = [splits[0], split]
        found = _users_with_all(split, [earlier for earlier in history if earlier], drawable)
        if len(found) and sampling["sample_num"] == "none":  # ranked against all items
            _tell(config, split, found, position)
        elif len(found):
            raise ValueError(_none_left(config, split, found, position, len(drawable)))


def _users_with_all(split: Any, history: list[Any], drawable: np.ndarray) -> np.ndarray:
    """Users of a split whose items so far are all that can be drawn."""
    users = np.concatenate([earlier.inter_feat[earlier.uid_field].numpy() for earlier in history])
    likely = np.flatnonzero(np.bincount(users, minlength=split.user_num) >= len(drawable))  # repeated ones count too
    likely = np.intersect1d(likely, split.inter_feat[split.uid_field].numpy())
    if not len(likely):
        return likely
    items = np.concatenate([earlier.inter_feat[earlier.iid_field].numpy() for earlier in history])
    return np.array([user for user in likely if np.isin(drawable, items[users == user]).all()], np.int64)


def _none_left(config: Config, split: Any, users: np.ndarray, position: int, n_drawable: int) -> str:
    names = config["benchmark_filename"]
    file = Path(config["data_path"]) / f"{config['dataset']}{f'.{names[position]}' if names else ''}.inter"
    filters = "" if names else f", or set user_inter_num_interval: [0,{n_drawable})"
    kind = " that have interactions" if n_drawable < split.item_num - 1 else ""
    return (
        f"{file}: {_named(split, users)} has all {n_drawable} items{kind}, and no negative item is left to draw in "
        f"{_SPLITS[position]}; leave it out of the file{filters}"
    )


def _tell(config: Config, split: Any, users: np.ndarray, position: int) -> None:
    logging.getLogger(__name__).warning(
        "%s: %s has all %d items by then: nothing stands against its own in the %s lists, which are right whatever the "
        "model", config["dataset"], _named(split, users), split.item_num - 1, _SPLITS[position],
    )  # fmt: skip


def _named(split: Any, users: np.ndarray) -> str:
    others = f" (and {len(users) - 1} more)" if len(users) > 1 else ""
    return f"user '{split.field2id_token[split.uid_field][users[0]]}'{others}"
