"""Training and evaluation in several processes: what must be the same in all, and what is counted once."""

from __future__ import annotations

import torch
import torch.distributed as dist
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data.distributed import DistributedSampler

from recbole_mm.model.recommender import Recommender

_PER_USER = ("rec.items", "rec.topk", "rec.meanrank", "rec.score", "data.label")


def keep_constants_local(model: nn.Module) -> None:
    """Leave buffers outside the state_dict, such as features, out of what processes send each other every step."""
    saved = model.state_dict()
    constants = [name for name, _ in model.named_buffers() if name not in saved]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, constants)


def loss_factor(model: Recommender) -> int:
    """What a process's loss is multiplied by: gradients are averaged, and a sum over the batch must stay a sum."""
    return model.n_processes if model.loss_reduction == "sum" else 1


def count_each_user_once(eval_data: AbstractDataLoader) -> None:
    """Share the users of an evaluation out without the repetitions that fill processes up to the same number."""
    sampler = eval_data.sampler
    if isinstance(sampler, DistributedSampler):
        sampler.total_size = len(eval_data.sampler.dataset)
        sampler.num_samples = len(range(sampler.rank, sampler.total_size, sampler.num_replicas))


class GlobalEvaluator:
    """RecBole's evaluator over what all processes collected: each gets the metrics of all users, as one process does.

    RecBole averages the processes' rounded metrics instead, weighted by their numbers of batches (trainer.py:615).
    """

    def __init__(self, evaluator: Evaluator):
        self._evaluator = evaluator

    def evaluate(self, collected: DataStruct) -> dict[str, float]:
        """Metrics of the users of all processes, from the `DataStruct` of this one."""
        own = {name: collected.get(name) for name in _PER_USER if name in collected}
        parts: list[dict[str, Tensor]] = [{} for _ in range(dist.get_world_size())]
        dist.all_gather_object(parts, own)
        for name in _PER_USER:
            tensors = [part[name] for part in parts if name in part]
            if tensors:
                collected.set(name, torch.cat(tensors))
        return self._evaluator.evaluate(collected)
