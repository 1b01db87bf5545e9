"""How a checkpoint's training ended, held against the epochs as a plan's run has watched them."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_mm.__main__ import main
from recbole_mm.experiment.measured import evaluate_checkpoint
from recbole_mm.experiment.rows import is_solved
from recbole_mm.experiment.run import _ending, best_epoch
from recbole_mm.experiment.run_end import popularity_check, run_end
from recbole_mm.experiment.watch import EPOCHS, Watch, reached
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset, write_planted

FEW = {**PRE_SPLIT, "learning_rate": 0.01, "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5"}
RUNS = {
    "cap": ("VBPR", {"epochs": 5, "stopping_step": 20}, "cap"),
    "patience": ("VBPR", {"epochs": 300, "stopping_step": 1}, "stopped"),
    "every second epoch": ("VBPR", {"epochs": 300, "stopping_step": 2, "eval_step": 2}, "stopped"),
    "ties": ("VBPR", {"epochs": 6, "stopping_step": 2, "learning_rate": 0.0}, "cap"),  # all epochs are as good
    "stages": ("MARGO", {"backbone": "VBPR", "stage_one_epochs": 2, "stage_two_epochs": 200,
                         "stopping_step": 1}, "stopped"),
    "last stage": ("MARGO", {"backbone": "VBPR", "epochs": 200, "stage_two_epochs": 3, "stopping_step": 1}, None),
    "solved": ("ContentEASE", {}, "solved"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


@pytest.mark.parametrize("name", RUNS)
def test_it_is_what_was_watched(folder, tmp_path, name):
    model, own, ended = RUNS[name]
    run = start(model, folder, **{**FEW, "checkpoint_dir": str(tmp_path), **own})
    trainer = run.trainer()
    watch = Watch(trainer, tmp_path / EPOCHS)
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    watched, file = _ending(trainer, watch.epochs), trainer.saved_model_file
    epochs, solved = watch.epochs, is_solved(run.config)
    del trainer, watch, run
    gc.collect()  # as at the end of a process, until when a state stays from which it could go on
    end = run_end(open_checkpoint(file))
    assert end.ended == watched and end.ended == (ended or end.ended)
    if not solved:
        assert end.best_epoch == best_epoch(epochs).epoch + 1
        assert end.most_epochs == own.get("stage_two_epochs", own.get("epochs"))
    last, best = epochs[-1], best_epoch(epochs)
    stage = f"stage {last.stage}, " if last.stage else ""
    assert reached(tmp_path) == f"{stage}epoch {last.epoch + 1}, best so far {best.epoch + 1}"
    if name == "ties":
        assert end.best_epoch == 6  # of equal ones RecBole keeps the last one's weights


def test_what_is_best_in_a_plan_is_what_is_tested(folder, tmp_path):
    """Validation metrics of the best epoch are those of the weights that were kept, ties or not."""
    run = start("VBPR", folder, **{**FEW, "valid_metric": "Recall@5"}, epochs=12, checkpoint_dir=str(tmp_path))
    trainer = run.trainer()
    watch = Watch(trainer, tmp_path / EPOCHS)
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    best = best_epoch(watch.epochs).valid
    scores = [epoch.valid["recall@5"] for epoch in watch.epochs]
    assert scores.count(max(scores)) > 1  # else this shows nothing
    kept = trainer.evaluate(run.valid_data, load_best_model=True)
    assert dict(kept) == pytest.approx(best)


def test_where_no_file_tells(folder, tmp_path):
    run = start("VBPR", folder, **FEW, epochs=90, stopping_step=1, checkpoint_dir=str(tmp_path))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    file = Path(trainer.saved_model_file)
    later = file.with_name(f"{file.stem}-last.safetensors")
    later.write_bytes(file.with_name(f"{file.stem}.resume.safetensors").read_bytes())
    assert run_end(open_checkpoint(file)).ended == "unfinished"
    later.unlink()
    file.with_name(f"{file.stem}.resume.safetensors").unlink()
    opened = open_checkpoint(file)
    end = run_end(opened)
    assert (end.best_epoch, end.most_epochs, end.ended) == (0, 90, "")
    (row,) = popularity_check(opened, 1.0).to_dict("records")
    assert (row["best epoch"], row["warnings"]) == ("", "")  # of 30 items 100 are no few


def test_a_collapsed_model_shows_at_once(tmp_path, capsys):
    """Every user gets the items that most have: the share is counted by hand."""
    items = [f"i{number:03}" for number in range(240)]
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "valid": [], "test": []}
    rng = np.random.default_rng(0)
    for user in range(60):
        liked = rng.permutation(120)[:42]
        parts = {"train": [*liked[:40], 120 + 2 * user, 121 + 2 * user], "valid": liked[40:41], "test": liked[41:]}
        for split, own in parts.items():
            splits[split] += [(f"u{user}", items[item]) for item in own]
    write_dataset(tmp_path, splits, {"visual": {item: [1.0, 2.0] for item in items}})
    run = start("VBPR", tmp_path, **FEW, epochs=40, checkpoint_dir=str(tmp_path / "saved"), stopping_step=50)
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    file = trainer.saved_model_file
    del trainer, run
    gc.collect()
    opened = open_checkpoint(file)
    counts = pd.Series([item for _, item in splits["train"]]).value_counts()
    top = set(sorted(items, key=lambda item: (-counts[item], item))[:100])
    results = evaluate_checkpoint(opened)
    lists = opened.dataset.id2token("item_id", results.items[:, :5]).ravel()
    share = sum(item in top for item in lists) / len(lists)
    assert share > 0.5
    assert main(["audit", file, "--knock_out=zero", f"--out={tmp_path / 'audit'}"]) == 0
    (check,) = (pd.read_csv(file) for file in (tmp_path / "audit").glob("*-check.csv"))
    assert check["top share"][0] == pytest.approx(share) and check["ended"][0] == "cap"
    assert f"{share:.0%} of its places go to the 100 most popular items" in check["warnings"][0]
    assert "ended at its cap (1 of 1)" in capsys.readouterr().out
