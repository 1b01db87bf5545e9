"""What is done around RecBole's training loops: threads, room on the disk, models that need a certain trainer."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from recbole.quick_start import run_recbole
from recbole.trainer import HyperTuning, Trainer

from recbole_mm import quick_start
from recbole_mm.host.training import how_to_go_on
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted
from recbole_mm.trainer.staged import StagedTrainer
from recbole_mm.trainer.trainer import MultimodalTrainer

SETTINGS = {**PRE_SPLIT, "topk": [5], "metrics": ["NDCG"], "valid_metric": "NDCG@5", "epochs": 1,
            "train_batch_size": 64, "embedding_size": 8}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("training"), {"visual": 6, "textual": 4})


@pytest.mark.parametrize("model", ["LayerGCN", "BPR", "MARGO"])
def test_runs_leave_no_thread(folder, model):
    counts = []
    for _ in range(3):
        own = {"knn_k": 3} if model == "MARGO" else {}
        run_recbole(model, "toy", config_dict={**QUIET, **SETTINGS, **own, "data_path": str(folder)})
        counts.append(threading.active_count())
    assert counts[2] == counts[0]


def test_a_training_that_fails_leaves_no_thread(folder):
    run = start("BPR", folder, **SETTINGS)
    trainer = run.trainer()

    def fail(epoch, score):
        raise RuntimeError("stop")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="stop"):
        trainer.fit(run.train_data, run.valid_data, callback_fn=fail)
    assert threading.active_count() == before


def test_searches_leave_no_thread(folder):
    Path("few.hyper").write_text("learning_rate choice [0.1,0.01,0.001]\n")
    settings = {**QUIET, **SETTINGS, "data_path": str(folder), "model": "BPR", "dataset": "toy"}
    counts = []
    for _ in range(2):
        tuning = HyperTuning(
            lambda params, files: quick_start.objective_function({**settings, **params}),
            params_file="few.hyper", algo="exhaustive", max_evals=3,
        )  # fmt: skip
        tuning.run()
        counts.append(threading.active_count())
    assert counts[0] == counts[1]


class Recboles(Trainer):
    """A user's trainer, which knows no stages."""


class Ours(MultimodalTrainer):
    """A user's trainer, which knows no stages either."""


class OwnLoop(Trainer):
    """A user's trainer that takes nothing from RecBole's loop."""

    def fit(self, train_data, *rest, **options):
        """One epoch."""
        self.model.train()
        for interaction in train_data:
            self.model.calculate_loss(interaction).backward()


@pytest.mark.parametrize("trainer", [Trainer, Recboles, Ours, OwnLoop])
def test_a_staged_model_refuses_a_trainer_without_stages(folder, trainer):
    run = start("MARGO", folder, **SETTINGS, backbone="VBPR")
    with pytest.raises(ValueError) as error:
        trainer(run.config, run.model).fit(run.train_data, run.valid_data)
    assert str(error.value).startswith(f"MARGO is trained in stages, which {trainer.__module__}.{trainer.__name__} ")
    assert str(error.value).endswith("derive that trainer from recbole_mm.trainer.staged.StagedTrainer")


def test_a_users_staged_trainer_trains_it(folder):
    class Mine(StagedTrainer):
        """A user's trainer."""

    run = start("MARGO", folder, **SETTINGS, backbone="VBPR")
    evaluating = Trainer(run.config, run.model)  # made to evaluate with
    Mine(run.config, run.model).fit(run.train_data, run.valid_data)
    assert run.model.stage == "two"
    assert evaluating.evaluate(run.test_data, load_best_model=False)["ndcg@5"] > 0


def test_a_disk_without_room_for_a_checkpoint(folder):
    run = start("BPR", folder, **SETTINGS)
    run.model.register_buffer("table", run.model.user_embedding.weight.new_empty(1).expand(1 << 48))
    with pytest.raises(OSError, match=r"^checkpoint_dir: .*saved has [\d,.]+ MB left, and a checkpoint of BPR takes"):
        run.trainer().fit(run.train_data, run.valid_data)


@pytest.mark.parametrize("saved, advice", [
    (["run.pth"], "go on with --resume_from={}/run.pth"),
    (["run-last.safetensors"], "go on with --resume_from={}/run-last.safetensors"),
    (["run-stages/stage-one.resume.safetensors"], "go on with --resume_from={}/run-stages/stage-one.pth"),
    (["run-stage-one.resume.safetensors"], "go on with --resume_from={}/run-stage-one.pth"),  # of an earlier version
    ([], "no epoch was saved yet"),
])  # fmt: skip
def test_how_an_interrupted_run_goes_on(tmp_path, saved, advice):
    """In stage two, before its first epoch ends, from stage one."""
    for name in saved:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("state")
    note = tmp_path / "note"
    note.write_text(json.dumps({"file": str(tmp_path / "run.pth"), "resumes": True}))
    assert how_to_go_on(note) == advice.format(tmp_path)
