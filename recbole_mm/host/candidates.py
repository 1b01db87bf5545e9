"""Candidate sets: with cold items, test metrics among all items, and among warm and cold ones alone."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.trainer.trainer import Trainer
from torch import Tensor

from recbole_mm.host.cold_items import cold_items

CANDIDATES = ("warm", "cold")


@cache
def apply() -> None:
    """Let every trainer test on all candidate sets, trainer/trainer.py:557. Called once, at import."""

    evaluate = Trainer.evaluate

    @wraps(evaluate)
    def evaluate_sets(trainer: Any, eval_data: Any, *arguments: Any, **options: Any) -> Any:
        result = evaluate(trainer, eval_data, *arguments, **options)
        for name, loader in candidate_loaders(eval_data).items():
            found = evaluate(trainer, loader, load_best_model=False)
            result |= {f"{name}_{metric}": value for metric, value in found.items()}
        return result

    Trainer.evaluate = evaluate_sets


class CandidateLoader(FullSortEvalDataLoader):
    """Full-sort evaluation among some items: held-out items are theirs alone, and all others are masked.

    Args:
        loader: of all items.
        candidates: bool ``[n_items]``, row 0 ([PAD]) included.
    """

    def __init__(self, loader: FullSortEvalDataLoader, candidates: np.ndarray):
        dataset = loader._dataset
        kept = torch.from_numpy(candidates)[dataset.inter_feat[dataset.iid_field]]
        super().__init__(loader.config, dataset.copy(dataset.inter_feat[kept]), loader._sampler)
        self.masked = torch.from_numpy(np.flatnonzero(~candidates))

    def collate_fn(self, index: Any) -> tuple[Interaction, tuple[Tensor, Tensor], Tensor, Tensor]:
        """A batch as RecBole's, with the masked items of every user beside the user's own."""
        users, (rows, items), positive_u, positive_i = super().collate_fn(index)
        masked_rows = torch.arange(len(users)).repeat_interleave(len(self.masked))
        masked = torch.cat([rows, masked_rows]), torch.cat([items, self.masked.repeat(len(users))])
        return users, masked, positive_u, positive_i


def candidate_loaders(loader: Any) -> dict[str, CandidateLoader]:
    """Loaders of each candidate set of test data with cold items, by name; none of other data."""
    is_test = isinstance(loader, FullSortEvalDataLoader) and getattr(loader._sampler, "phase", "") == "test"
    if not is_test or isinstance(loader, CandidateLoader) or cold_items(loader._dataset) is None:
        return {}
    if not hasattr(loader, "by_candidates"):
        is_cold = np.zeros(loader._dataset.item_num, dtype=bool)
        is_cold[cold_items(loader._dataset)] = True
        loader.by_candidates = {
            name: CandidateLoader(loader, kept) for name, kept in zip(CANDIDATES, (~is_cold, is_cold), strict=True)
        }
    return loader.by_candidates
