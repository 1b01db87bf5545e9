"""Keys of training, and of training in stages."""

from __future__ import annotations

from typing import Any, Literal

from recbole_mm.host.recbole_types import Strict
from recbole_mm.settings import CountOrZero, Place, Positive, Settings, Weight


class LearningRateDecay(Strict):
    """``lr_decay``."""

    factor: Positive
    epochs: Positive


class TrainerSettings(Settings):
    """Keys of the trainer of every multimodal model."""

    lr_decay: LearningRateDecay | None = None
    """Multiplies the learning rate by factor^(epoch / epochs), such as {factor: 0.96, epochs: 50}."""
    adapter_learning_rate: Weight | None = None
    """Learning rate of the feature adapter alone; that of the rest if not set."""
    matmul_precision: Literal["float32", "bf16"] = "float32"
    """Precision of a step's dense products: bf16 is quicker on processors with units for it, and rounds to 8 bits."""
    resume_from: Place | None = None
    """Any file of an interrupted run of ours, which goes on from its last epoch."""
    last_state_minutes: Weight = 0
    """Least minutes between the states written to go on from; 0: after every epoch."""


def stage_key(config: Any, stage: str, key: str) -> str:
    """The key whose value a stage has: its own, or the one without the prefix where that is not set."""
    own = f"stage_{stage}_{key}"
    return key if config[own] is None else own


class StageSettings(Settings):
    """Keys of a model that trains in stages; where one is not set, the key without the prefix holds."""

    stage_one_checkpoint: Place | None = None
    """Checkpoint whose first stage, or whose backbone, is taken instead of stage one."""
    stage_one_epochs: CountOrZero | None = None
    """Most epochs of stage one. Where it still gets better at MARGO's 100, try 1000, which DRAGON itself trains."""
    stage_one_stopping_step: CountOrZero | None = None
    """Patience of stage one."""
    stage_one_learning_rate: Weight | None = None
    """Learning rate of stage one."""
    stage_two_epochs: CountOrZero | None = None
    """Most epochs of stage two."""
    stage_two_stopping_step: CountOrZero | None = None
    """Patience of stage two."""
    stage_two_learning_rate: Weight | None = None
    """Learning rate of stage two."""
