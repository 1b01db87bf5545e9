"""Training PTMRec: steps of several micro-batches of fresh features; and what each stage cost."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import cat_interactions
from recbole.utils import set_color

from recbole_mm.host.evaluations import EpochCallback
from recbole_mm.io.errors import memory_errors
from recbole_mm.io.files import atomic_file
from recbole_mm.io.run_files import RunFiles
from recbole_mm.model.ptmrec import PTMRec
from recbole_mm.registry import register_trainer
from recbole_mm.trainer.staged import StagedTrainer
from recbole_mm.trainer.trainer import LossFunction


@register_trainer("PTMRec")
class TuningTrainer(StagedTrainer):
    """Stage one as any model's; a step of stage two is of ``accumulation_steps`` micro-batches.

    Each is of ``micro_batch_size`` pairs: what the encoder sees at once. The backbone sees the step's pairs together.
    The report of the run, ``<checkpoint>.report.json``, has the parameters, seconds per epoch and peak memory of each
    stage.
    """

    model: PTMRec

    def __init__(self, config: Config, model: PTMRec):
        super().__init__(config, model)
        if model.settings.encoder_warmup_steps and config["learner"].lower() == "sgd":
            raise ValueError("encoder_warmup_steps: learner sgd counts no steps; set learner: adam, or leave it out")
        self._measures_stage = False
        self._costs: dict[str, dict[str, Any]] = defaultdict(lambda: {"seconds_per_epoch": []})

    def fit(
        self,
        train_data: AbstractDataLoader,
        valid_data: AbstractDataLoader | None = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: EpochCallback | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """As :meth:`StagedTrainer.fit`; then logs what each stage cost, and writes it where checkpoints are saved."""
        if "two" in self.model.stages:
            if self.model.contents is not None:
                self.model.contents.find()  # raises where there are none, before hours are trained
        result = super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        for stage, cost in self._costs.items():
            seconds = cost["seconds_per_epoch"]
            self.logger.info(
                set_color(f"Stage {stage}", "blue") + f": {cost['trainable_parameters']:,} of "
                f"{cost['total_parameters']:,} parameters trained, {sum(seconds) / len(seconds):.2f} s an epoch, peak "
                f"memory of the {cost['memory_of']} {cost['peak_memory_mb']:,.0f} MB"
            )
        if saved:
            text = json.dumps({"peft": self.model.settings.peft, "stages": self._costs}, indent=2)
            with atomic_file(RunFiles.of(self.run_file).report) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return result

    def _train_epoch(
        self,
        train_data: AbstractDataLoader,
        epoch_idx: int,
        loss_func: LossFunction | None = None,
        show_progress: bool = False,
    ) -> float | tuple[float, ...]:
        contents = self.model.contents  # none where the encoder stays as it is
        if self.stage == "two" and contents is not None and contents.needs_scaler(self.device):
            self.enable_scaler = True
        started = time.perf_counter()
        with memory_errors(
            f"lower kept_items or micro_batch_size ({self.model.settings.micro_batch_size}; raise accumulation_steps "
            "for it), or set gradient_checkpointing: True or mixed_precision: True; resume_from goes on from the last "
            "checkpoint"
        ):
            loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        self._note_cost(time.perf_counter() - started)
        return loss

    def _steps(self, batches: Iterable[Any]) -> Iterable[Any]:
        """In stage two, micro-batches side by side."""
        if self.stage == "one":
            yield from super()._steps(batches)
            return
        micro_batches = self._micro_batches(batches)
        while group := list(islice(micro_batches, self.model.settings.accumulation_steps)):
            yield cat_interactions(group)

    def _micro_batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        size = self.model.settings.micro_batch_size
        for interaction in batches:
            for start in range(0, len(interaction), size):
                yield interaction[start : start + size]

    def _train_batch(self, step: Any, loss_func: LossFunction, scaler: torch.amp.GradScaler) -> torch.Tensor:
        """One step, in which the encoder's learning rate may still be rising."""
        factor = self._warmth()
        groups = [group for group in self.optimizer.param_groups if factor < 1 and self._is_encoders(group)]
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * factor
        try:
            return super()._train_batch(step, loss_func, scaler)
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    def _warmth(self) -> float:
        """The share of its learning rate that the encoder's next step has.

        The optimizer's own count of steps goes on where a killed run was.
        """
        warmup = self.model.settings.encoder_warmup_steps
        if self.stage == "one" or not warmup or not self.model.tuned:
            return 1.0
        states = (self.optimizer.state.get(parameter, {}) for parameter in self.model.tuned.values())
        return min(1.0, (1 + max(float(state.get("step", 0)) for state in states)) / warmup)

    def _is_encoders(self, group: dict[str, Any]) -> bool:
        tuned = set(map(id, self.model.tuned.values()))
        return all(id(parameter) in tuned for parameter in group["params"])

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """As of any model; what is tuned of the encoder is a group of its own where its rate rises."""
        groups = super()._parameter_groups()
        settings = self.model.settings
        if not settings.encoder_warmup_steps or settings.encoder_learning_rate is not None:
            return groups
        tuned = {id(parameter) for parameter in self.model.tuned.values()}
        own = [parameter for parameter in groups[0]["params"] if id(parameter) in tuned]
        rest = [parameter for parameter in groups[0]["params"] if id(parameter) not in tuned]
        return [{**groups[0], "params": part} for part in (rest, own) if part] + groups[1:]

    def _begin(self, stage: str) -> None:
        super()._begin(stage)
        self._measures_stage = reset_peak_memory(self.device)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        self.model.refresh()  # a checkpoint holds the features of its own encoder
        super()._save_checkpoint(epoch, verbose, **kwargs)

    def _note_cost(self, seconds: float) -> None:
        cost = self._costs[self.stage]
        cost["seconds_per_epoch"].append(seconds)
        cost["trainable_parameters"] = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        cost["total_parameters"] = self.model.n_parameters
        cost["memory_of"], cost["peak_memory_mb"] = peak_memory(self.device)
        cost["peak_is_of_the_stage"] = self._measures_stage


def peak_memory(device: torch.device) -> tuple[str, float]:
    """Whose memory, and its peak since :func:`reset_peak_memory`, in 10^6 bytes."""
    if device.type == "cuda":
        return "device", torch.cuda.max_memory_allocated(device) / 1e6
    import resource

    return "process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def reset_peak_memory(device: torch.device) -> bool:
    """Have :func:`peak_memory` count from now; gives whether the system can (for a process, Linux alone)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak of the resident set
    except OSError:
        return False
    return True
