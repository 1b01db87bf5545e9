"""Keys of a run and of a search, and the protocols by which training stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool

from recbole_mm.settings import Count, CountOrZero, Names, Place, Positive, Settings, Weight, Whole

# One way of stopping for all models of a comparison: RecBole's own stop on MRR@10, papers on a metric each.
SHARED_PROTOCOL: dict[str, Any] = {
    "metrics": ["Recall", "NDCG", "Precision"],
    "topk": [10, 20],
    "valid_metric": "Recall@20",
    "stopping_step": 20,
    "eval_step": 1,
}


def evaluation_modes(settings: Any) -> list[str]:
    """The modes of ``eval_args``, such as full: one, or those of validation and test.

    Args:
        settings: by key, or a Config.
    """
    mode = settings["eval_args"].get("mode", "full")
    modes = mode.values() if isinstance(mode, Mapping) else [mode]
    return [phase_mode for phase_mode in modes if phase_mode is not None]


class RunSettings(Settings):
    """Keys of every run."""

    protocol: Literal["shared", "published", "recbole"] | None = None
    """What stops training and is measured: shared (Recall@20, patience 20, the same for all models; the default of our
    commands and models), published (a model's own paper or code), recbole (RecBole's defaults)."""
    plugins: Names = []
    """Modules of your own to import, which register models or feature adapters."""
    trust_plugins: StrictBool = False
    """Whether modules may be imported that a file names. Not from a file."""
    trust_pickle: StrictBool = False
    """Whether files may be unpickled, which runs the code in them. Not from a file."""
    eval_history: Literal["train_valid", "train"] = "train_valid"
    """Items masked at test: train_valid (RecBole's) or train (most published tables of this field)."""
    eval_batch_users: Count | None = 500
    """Users a batch in full-sort evaluation, where eval_batch_size is not set."""
    tail_ratio: Positive = 0.1
    """TailPercentage: the rarest share of the training items; above 1, items of as many interactions."""
    log_dir: Place = "log"
    """Folder of the log files, one a run."""
    tensorboard_dir: Place = "log_tensorboard"
    """Folder of the TensorBoard files."""


class SearchSettings(Settings):
    """Keys of run_hyper_mm.py --tool=Ray."""

    concurrent_trials: Count | None = None
    """Most trials at a time; as many as there are resources for if not set."""
    cpus_per_trial: Positive = 1
    """CPUs of each trial."""
    gpus_per_trial: Weight = 0
    """GPUs of each trial; a fraction where several share one."""
    asha_grace: CountOrZero = 5
    """Evaluations that ASHA lets every trial have; 0: no trial is stopped early."""
    asha_reduction: Annotated[Whole, Field(ge=2, le=1000)] = 3
    """One of this many trials goes on at each of ASHA's rungs."""
