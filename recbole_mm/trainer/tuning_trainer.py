"""Training PTMRec: small batches of fresh features, accumulated; and what each stage cost."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from recbole.utils import set_color
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from recbole_mm.encoder.pretrained import memory_errors
from recbole_mm.io.files import atomic_file
from recbole_mm.io.run_files import RunFiles
from recbole_mm.registry import register_trainer
from recbole_mm.trainer.staged import StagedTrainer


@register_trainer("PTMRec")
class TuningTrainer(StagedTrainer):
    """Stage one as any model's; a step of stage two sums the gradients of ``accumulation_steps`` micro-batches.

    Each is of ``micro_batch_size`` pairs and its loss divided by the number of steps. The report of the run,
    ``<checkpoint>.report.json``, has the parameters, seconds per epoch and peak memory of each stage.
    """

    def __init__(self, config, model):
        super().__init__(config, model)
        self.micro_batch_size, self.accumulation_steps = config["micro_batch_size"], config["accumulation_steps"]
        for key in ("micro_batch_size", "accumulation_steps"):
            if config[key] < 1:
                raise ValueError(f"{key}: {config[key]} must be at least 1")
        self._costs: dict[str, dict[str, Any]] = defaultdict(lambda: {"seconds_per_epoch": []})

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """As :meth:`StagedTrainer.fit`; then logs what each stage cost, and writes it where checkpoints are saved."""
        if "two" in self.model.stages:
            self.model.find_contents()
        result = super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        for stage, cost in self._costs.items():
            seconds = cost["seconds_per_epoch"]
            self.logger.info(
                set_color(f"Stage {stage}", "blue") + f": {cost['trainable_parameters']:,} of "
                f"{cost['total_parameters']:,} parameters trained, {sum(seconds) / len(seconds):.2f} s an epoch, peak "
                f"memory of the {cost['memory_of']} {cost['peak_memory_mb']:,.0f} MB"
            )
        if saved:
            text = json.dumps({"peft": self.config["peft"], "stages": self._costs}, indent=2)
            with atomic_file(RunFiles.of(self._final_file).report) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return result

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        started = time.perf_counter()
        if self.stage == "one":
            loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        else:
            loss = self._tune_epoch(train_data, epoch_idx, show_progress)
        self._note_cost(time.perf_counter() - started)
        return loss

    def _tune_epoch(self, train_data, epoch: int, show_progress: bool) -> float:
        self._start_epoch(epoch)
        batches = train_data
        if show_progress:
            batches = tqdm(train_data, ncols=100, desc=set_color(self._progress_label(epoch), "pink"))
        total = torch.zeros((), device=self.device)
        with memory_errors(
            f"lower micro_batch_size ({self.micro_batch_size}; raise accumulation_steps for it), or set "
            "gradient_checkpointing: True or mixed_precision: True; resume_from goes on from the last checkpoint"
        ):
            micro_batches = self._micro_batches(batches)
            while group := list(islice(micro_batches, self.accumulation_steps)):
                total += self._step(group)
        self.optimizer.zero_grad()
        if self.scheduler is not None:
            self.scheduler.step()
        self._check_nan(total)
        return total.item()

    def _micro_batches(self, batches) -> Iterator:
        for interaction in batches:
            for start in range(0, len(interaction), self.micro_batch_size):
                yield interaction[start : start + self.micro_batch_size]

    def _step(self, group: list) -> torch.Tensor:
        """One step of the optimizer on a group of micro-batches; gives the sum of their losses."""
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for interaction in group:
            loss = self.model.calculate_loss(interaction.to(self.device))
            (loss / self.accumulation_steps).backward()
            total += loss.detach()
        if self.clip_grad_norm:
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        self.optimizer.step()
        return total

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        self.model.refresh()  # a checkpoint holds the features of its own encoder
        super()._save_checkpoint(epoch, verbose, **kwargs)

    def _note_cost(self, seconds: float) -> None:
        cost = self._costs[self.stage]
        cost["seconds_per_epoch"].append(seconds)
        cost["trainable_parameters"] = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        cost["total_parameters"] = self.model.n_parameters
        cost["memory_of"], cost["peak_memory_mb"] = peak_memory(self.device)


def peak_memory(device: torch.device) -> tuple[str, float]:
    """Whose memory, and its peak since the process began, in 10^6 bytes."""
    if device.type == "cuda":
        return "device", torch.cuda.max_memory_allocated(device) / 1e6
    import resource

    return "process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
