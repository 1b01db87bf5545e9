"""How the training of a checkpoint ended, as far as the files beside it tell."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from recbole_mm.experiment.record import Ending
from recbole_mm.experiment.rows import is_solved
from recbole_mm.experiment.warnings import of_lists, of_training
from recbole_mm.io.run_files import RunFiles
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.trainer.settings import stage_key
from recbole_mm.trainer.training_state import read_facts


@dataclass(frozen=True)
class RunEnd:
    """The end of a run, of the last stage of several.

    Attributes:
        best_epoch: whose weights these are, counted from 1; 0 where no file tells.
        most_epochs: its cap; 0 of a model that is solved.
        ended: ``solved``, ``stopped`` early, at its ``cap``, ``unfinished`` (its process still runs, or was killed);
            empty where no file tells.
    """

    best_epoch: int
    most_epochs: int
    ended: Ending


def run_end(opened: OpenedCheckpoint) -> RunEnd:
    """The best epoch from the state beside a checkpoint, and whether patience or the cap came first after it.

    A run that was killed before it had kept a later state looks like one that ended.

    Raises as :func:`recbole_mm.trainer.training_state.read_facts`.
    """
    config, files = opened.config, RunFiles.of(opened.path)
    if is_solved(config):
        return RunEnd(0, 0, "solved")
    if not files.resume.exists():  # of RecBole's own models, or left behind when the weights were copied
        return RunEnd(0, config["epochs"], "")
    facts = read_facts(files.resume)
    best = facts.epoch + 1
    keys = ("epochs", "stopping_step")
    most, patience = (config[key if facts.stage is None else stage_key(config, facts.stage, key)] for key in keys)
    if files.last.exists():  # until its process ends
        return RunEnd(best, most, "unfinished")
    last = best + min(config["eval_step"], most) * (patience + 1)  # RecBole stops at the one behind its patience
    return RunEnd(best, most, "cap" if last >= most else "stopped")


def popularity_check(opened: OpenedCheckpoint, top_share: float) -> pd.DataFrame:
    """One row: what shows at once that a model collapsed, or was not let train.

    Args:
        opened: the checkpoint.
        top_share: of its lists' places, what goes to the 100 most popular items.
    """
    end = run_end(opened)
    found = [*of_training(pd.Series([end.best_epoch]), pd.Series([end.ended]))]
    found += of_lists(top_share, opened.dataset.item_num - 1)
    return pd.DataFrame(
        [
            {
                "best epoch": end.best_epoch or "",
                "most epochs": end.most_epochs or "",
                "ended": end.ended,
                "top share": top_share,
                "warnings": "; ".join(found),
            }
        ]
    )
