"""Strict cold start by items: those of which no interaction is in training, by a share of all items or as split.

The share is split as the ColdRec toolkit does it: by item, half of the cold ones in validation, half in test.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from recbole.config import Config
from recbole.data.interaction import cat_interactions
from recbole.sampler import RepeatableSampler, Sampler

from recbole_mm.host.mend import patch_in_place

AS_SPLIT: Literal["natural"] = "natural"
_SPLITS = ("training", "validation", "test")
_TRAINING, _VALIDATION, _TEST = range(3)
_LEFT_OUT = -1


@cache
def apply() -> None:
    """Let samplers draw of :func:`draw_warm_items` alone, sampler/sampler.py:194, 396. Called once, at import."""
    for kind in (Sampler, RepeatableSampler):
        _draw_of_given(kind)


def _draw_of_given(kind: Any) -> None:
    def draw_given(sampler: Any, sample_num: int) -> np.ndarray:
        given = getattr(sampler, "drawn_items", None)
        return draw(sampler, sample_num) if given is None else given[np.random.randint(0, len(given), sample_num)]

    draw = patch_in_place(kind._uni_sampling, draw_given)


def cold_items(dataset: Any) -> np.ndarray | None:
    """Internal ids of the cold items of a split's data set; None where the run has no ``cold_items``."""
    return getattr(dataset, "cold_items", None)


def negative_items(config: Config, dataset: Any) -> np.ndarray | None:
    """Ids of the warm items, where negative items of training are drawn from these alone; None where from all.

    Args:
        config: of the run, whose ``cold_negatives`` lets cold ones be drawn.
        dataset: the training split.
    """
    cold = cold_items(dataset)
    return None if cold is None or config["cold_negatives"] else np.setdiff1d(np.arange(1, dataset.item_num), cold)


def draw_warm_items(config: Config, sampler: Any, training: Any) -> None:
    """Have the sampler of training draw of :func:`negative_items` alone."""
    warm = negative_items(config, training)
    if sampler is None or warm is None:
        return
    sampler.drawn_items = warm
    if sampler.distribution == "popularity":  # which RecBole takes of all splits
        sampler.datasets = [training]
        sampler.set_distribution("popularity")


# ---------------------------------------------------------------- the split


def with_cold_items(splits: list[Any]) -> list[Any]:
    """The splits of a run with ``cold_items``, each of which knows them (:func:`cold_items`).

    Held-out rows of users without a training row are left out.

    Raises:
        ValueError: a split is missing, or lacks rows of cold or of warm items.
    """
    training = splits[_TRAINING]
    share, name = training.config["cold_items"], training.dataset_name
    if not all(map(len, splits)):
        raise ValueError(f"cold_items: {share} needs validation and test data, and '{name}' is split into rows "
                         f"{list(map(len, splits))} of training, validation and test")  # fmt: skip
    rows = cat_interactions([split.inter_feat for split in splits])
    users, items = (rows[field].numpy() for field in (training.uid_field, training.iid_field))
    numbers = np.repeat(range(len(splits)), list(map(len, splits)))
    if share == AS_SPLIT:
        cold = np.setdiff1d(items, items[numbers == _TRAINING])
        if not len(cold):
            raise ValueError(f"cold_items: natural: every item of '{name}' is in training; give a share of the items")
    else:
        seed = training.config["cold_seed"]
        cold = _hold_out(users, items, numbers, share, training.config["seed"] if seed is None else seed)
    known = np.isin(users, users[numbers == _TRAINING])
    _tell(users, items, numbers, known, cold)
    numbers[~known] = _LEFT_OUT
    _check_kinds(share, np.isin(items, cold), numbers)
    found = [split.copy(rows[torch.from_numpy(numbers == number)]) for number, split in enumerate(splits)]
    for split in found:
        split.cold_items = cold
    return found


def _hold_out(users: np.ndarray, items: np.ndarray, numbers: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Ids of a uniform sample of the items, whose rows get the number of validation or test in `numbers`.

    Other held-out rows whose user or item has no row in training go there.
    """
    every = np.unique(items)
    cold = np.random.default_rng(seed).permutation(every)[: round(share * len(every))]
    half = len(cold) // 2
    if half == 0 or len(cold) == len(every):
        raise ValueError(
            f"cold_items: {share} of {len(every)} items are {len(cold)}; validation and test need one each, and "
            "training at least one that is left"
        )
    for number, own in ((_VALIDATION, cold[:half]), (_TEST, cold[half:])):
        numbers[np.isin(items, own)] = number
    is_warm, in_training = ~np.isin(items, cold), numbers == _TRAINING
    known = np.isin(users, users[in_training]) & np.isin(items, items[in_training])
    numbers[is_warm & ~known] = _TRAINING
    return np.sort(cold)


def _tell(users: np.ndarray, items: np.ndarray, numbers: np.ndarray, known: np.ndarray, cold: np.ndarray) -> None:
    counts = [len(np.intersect1d(items[numbers == number], cold)) for number in (_VALIDATION, _TEST)]
    logging.getLogger(__name__).info(
        "Cold items: %d of %d have no training interaction, %d of validation and %d of test; %d users without one are "
        "left out, with %d interactions",
        len(cold), len(np.unique(items)), *counts, len(np.unique(users[~known])), int((~known).sum()),
    )  # fmt: skip


def _check_kinds(share: Any, is_cold: np.ndarray, numbers: np.ndarray) -> None:
    for number in (_VALIDATION, _TEST):
        for kind, own in (("cold", is_cold), ("warm", ~is_cold)):
            if not (own & (numbers == number)).any():
                raise ValueError(
                    f"cold_items: {share} leaves no interaction with a {kind} item in {_SPLITS[number]}; give another "
                    "share or seed"
                )
    if (is_cold & (numbers == _TRAINING)).any():
        raise AssertionError("a cold item is in training")
