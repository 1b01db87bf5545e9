"""A run that was interrupted goes on to the numbers it would have reached."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.trainer import Trainer

from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import read_content, read_tensor_file, write_tensor_file
from recbole_mm.testing.toy import PRE_SPLIT, Run, start, write_dataset, write_planted
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    **PRE_SPLIT,
    "embedding_size": 8, "n_layers": 2, "train_batch_size": 64, "learning_rate": 0.01, "epochs": 14,
    "edge_dropout": 0.3, "lr_decay": {"factor": 0.5, "epochs": 4},
    "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5", "stopping_step": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6})


def begin(data_path: Path, folder: Path, model="POWERec", **settings) -> Run:
    return start(model, data_path, **{**SETTINGS, "checkpoint_dir": str(folder), **settings})


def end(run: Run, callback=None) -> dict:
    """Train to the end; everything that must be the same after a resumed run."""
    trainer = run.trainer()
    valid_data = None if run.config["eval_step"] == 0 else run.valid_data
    callback = callback and partial(callback, trainer)
    score, result = trainer.fit(run.train_data, valid_data, callback_fn=callback)
    last = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    ended = {
        "best score": score,
        "best result": result,
        "test result": trainer.evaluate(run.test_data),
        "rate": trainer.optimizer.param_groups[0]["lr"],
        "epochs": run.model.epochs_started,
        "losses": trainer.train_loss_dict,
        "last": last,
        "best": run.model.state_dict(),
        "file": trainer.saved_model_file,
    }
    del trainer, callback  # with the trainer goes the last state
    gc.collect()
    return ended


def assert_same_end(resumed: dict, uninterrupted: dict) -> None:
    for name in ("best score", "best result", "test result", "rate"):
        assert resumed[name] == uninterrupted[name], name
    for epoch, loss in resumed["losses"].items():
        assert loss == uninterrupted["losses"][epoch]
    for moment in ("last", "best"):
        assert resumed[moment].keys() == uninterrupted[moment].keys()
        for name, tensor in resumed[moment].items():
            assert torch.equal(tensor, uninterrupted[moment][name]), f"{moment} {name}"


def disturb() -> None:
    """Leave the random generators as some other program would."""
    np.random.seed(99)
    torch.manual_seed(99)


@pytest.mark.parametrize("model", ["POWERec", "LayerGCN"])
def test_resumed_run_reaches_the_same_numbers(data_path, tmp_path, model):
    """The checkpoint of a best epoch in the middle is what a killed run leaves."""
    left, epochs = tmp_path / "left.pth", []

    def keep(trainer, epoch, _):
        if 3 <= epoch < 9 and trainer.cur_step == 0:
            shutil.copy(RunFiles.of(trainer.saved_model_file).resume, RunFiles.of(left).resume)
            epochs.append(epoch)

    uninterrupted = end(begin(data_path, tmp_path / "whole", model), keep)
    assert epochs
    run = begin(data_path, tmp_path / "resumed", model, resume_from=str(left))
    disturb()
    resumed = end(run)
    assert_same_end(resumed, uninterrupted)
    assert resumed["file"] == str(left)
    assert sorted(resumed["losses"]) == list(range(epochs[-1] + 1, SETTINGS["epochs"]))


def test_a_run_without_validation_resumes_and_goes_further(data_path, tmp_path):
    """Checkpoints of every epoch; a finished run that is resumed stays finished until it gets more epochs."""
    every_epoch = {"eval_step": 0}
    whole = end(begin(data_path, tmp_path / "whole", epochs=6, **every_epoch))
    short = end(begin(data_path, tmp_path / "short", epochs=3, **every_epoch))
    again = end(begin(data_path, tmp_path / "short", epochs=3, resume_from=short["file"], **every_epoch))
    assert again["losses"] == {}
    assert torch.load(short["file"], weights_only=False)["epoch"] == 2
    further = end(begin(data_path, tmp_path / "short", epochs=6, resume_from=short["file"], **every_epoch))
    assert_same_end(further, whole)
    assert sorted(further["losses"]) == [3, 4, 5]


def test_resume_checkpoint_before_fit(data_path, tmp_path):
    """RecBole's own way: the trainer is told in code."""
    whole = end(begin(data_path, tmp_path / "whole", epochs=4, eval_step=0))
    short = end(begin(data_path, tmp_path / "short", epochs=2, eval_step=0))
    run = begin(data_path, tmp_path / "resumed", epochs=4, eval_step=0)
    trainer = run.trainer()
    trainer.resume_checkpoint(short["file"])
    disturb()
    trainer.fit(run.train_data, None)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, whole["last"][name])


SLOW_RUN = """
import json, sys, time
from pathlib import Path
from tests.trainer.test_resume import begin

run = begin(Path(sys.argv[1]), Path(sys.argv[2]))
sys.argv[1:] = []
run.trainer().fit(run.train_data, run.valid_data, callback_fn=lambda *_: time.sleep(0.3))
"""


def test_a_killed_process_is_resumed(data_path, tmp_path):
    """SIGKILL after the first checkpoint: the files that are there open and lead to the same numbers."""
    script, saved = tmp_path / "slow.py", tmp_path / "killed"
    script.write_text(SLOW_RUN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    printed = tmp_path / "printed.txt"
    with open(printed, "w") as output:
        arguments = [sys.executable, str(script), str(data_path), str(saved)]
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=output)
    wait_until(lambda: any(saved.glob("POWERec-*.json")), process, printed)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it was still training
    file = next(saved.glob("POWERec-*.json")).with_suffix(".pth")
    assert json.loads(file.with_suffix(".json").read_text())["model"] == "POWERec"
    resumed = end(begin(data_path, saved, resume_from=str(file)))
    assert_same_end(resumed, end(begin(data_path, tmp_path / "whole")))
    assert 0 < len(resumed["losses"]) < SETTINGS["epochs"]


# ---------------------------------------------------------------- the state after the last epoch


class KilledError(Exception):
    pass


def interrupted(data_path: Path, folder: Path, at: int, **settings) -> RunFiles:
    """Files of a run that ended when epoch `at` was over and the next had begun."""
    run = begin(data_path, folder, **settings)
    trainer = run.trainer()
    begun = trainer.model.start_epoch

    def start_epoch(epoch):
        if epoch == at + 1:
            raise KilledError
        begun(epoch)

    trainer.model.start_epoch = start_epoch
    with pytest.raises(KilledError):
        trainer.fit(run.train_data, run.valid_data)
    return RunFiles.of(trainer.saved_model_file)


@pytest.fixture(scope="module")
def whole(data_path, tmp_path_factory) -> dict:
    scores = []
    run = begin(data_path, tmp_path_factory.mktemp("whole"))
    ended = end(run, lambda trainer, epoch, score: scores.append(trainer.cur_step))
    return {**ended, "since best": scores}


def test_a_run_killed_in_its_test_repeats_no_more_than_its_last_epoch(data_path, tmp_path, whole):
    run = begin(data_path, tmp_path / "saved")
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    files = RunFiles.of(trainer.saved_model_file)
    assert files.last.exists()
    resumed = end(begin(data_path, tmp_path / "saved", resume_from=str(files.pickle)))
    assert_same_end(resumed, whole)
    assert min(resumed["losses"]) == max(whole["losses"])
    assert not files.last.exists()


def test_the_last_state_goes_with_its_trainer(data_path, tmp_path):
    run = begin(data_path, tmp_path / "saved")
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    files = RunFiles.of(trainer.saved_model_file)
    assert files.last.exists()
    del trainer
    gc.collect()
    assert not files.last.exists()


@pytest.mark.parametrize("name", ["pickle", "weights", "description", "resume", "last"])
def test_any_file_of_a_run_leads_to_its_last_epoch(data_path, tmp_path, whole, name):
    at = next(epoch for epoch, since in enumerate(whole["since best"]) if since > 0)
    files = interrupted(data_path, tmp_path / "saved", at)
    assert files.last.exists()
    resumed = end(begin(data_path, tmp_path / "saved", resume_from=str(getattr(files, name))))
    assert_same_end(resumed, whole)
    assert min(resumed["losses"]) == at + 1
    assert not files.last.exists()


def test_the_state_is_written_no_more_often_than_told(data_path, tmp_path):
    settings = {"eval_step": 14, "epochs": 14}
    every = interrupted(data_path, tmp_path / "every", 5, **settings)
    first = interrupted(data_path, tmp_path / "first", 5, **settings, last_state_minutes=60)
    assert [read_content(files.last)["epoch"] for files in (every, first)] == [5, 0]


@pytest.mark.parametrize("minutes", [-1, "often", None, True, float("nan")])
def test_minutes_that_are_none(data_path, tmp_path, minutes):
    with pytest.raises(ValueError, match="last_state_minutes: .* is not allowed for POWERec; give a"):
        begin(data_path, tmp_path, last_state_minutes=minutes).trainer()


def test_a_run_unsaved_leaves_nothing(data_path, tmp_path):
    run = begin(data_path, tmp_path / "saved", eval_step=2, epochs=4)
    run.trainer().fit(run.train_data, run.valid_data, saved=False)
    assert not list((tmp_path / "saved").glob("POWERec-*"))


def test_nothing_is_unpickled(data_path, tmp_path, monkeypatch):
    """Neither on resuming nor when the best weights are evaluated, though a pickle stands there."""
    short = end(begin(data_path, tmp_path / "saved", epochs=2))
    Path(short["file"]).write_bytes(b"cposix\nsystem\n(S'touch PWNED'\ntR.")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("something was unpickled"))
    end(begin(data_path, tmp_path / "saved", epochs=2, resume_from=short["file"]))
    assert not Path("PWNED").exists()


def test_a_trusted_pickle_resumes_to_the_same_numbers(data_path, tmp_path):
    every_epoch = {"eval_step": 0}
    whole = end(begin(data_path, tmp_path / "whole", epochs=4, **every_epoch))
    short = end(begin(data_path, tmp_path / "short", epochs=2, **every_epoch))
    bare = Path(short["file"]).rename(tmp_path / "bare.pth")
    run = begin(data_path, tmp_path / "again", epochs=4, resume_from=str(bare), **every_epoch)
    with pytest.raises(ValueError, match=r"bare\.pth has no bare\.resume\.safetensors .* trust_pickle: True"):
        run.trainer().fit(run.train_data)
    run = begin(data_path, tmp_path / "again", epochs=4, resume_from=str(bare), trust_pickle=True, **every_epoch)
    assert_same_end(end(run), whole)


def test_a_last_state_of_another_run_is_refused(data_path, tmp_path, whole):
    at = next(epoch for epoch, since in enumerate(whole["since best"]) if since > 0)
    files = interrupted(data_path, tmp_path / "saved", at)
    other = interrupted(data_path, tmp_path / "other", at)
    shutil.copy(other.last, files.last)
    with pytest.raises(ValueError, match="is of another run than"):
        end(begin(data_path, tmp_path / "saved", resume_from=str(files.pickle)))
    files.weights.unlink()
    with pytest.raises(FileNotFoundError, match="comes after the best epoch, whose .* are not beside it"):
        end(begin(data_path, tmp_path / "saved", resume_from=str(files.pickle)))


@pytest.mark.parametrize("field, value, message", [
    ("epoch", "three", "epoch: input should be a valid integer"),
    ("cur_step", -1, "cur_step: input should be greater than or equal to 0"),
    ("best_valid_score", "high", "best_valid_score: input should be a valid number"),
    ("state_dict", [1], "state_dict: input should be a valid dictionary"),
    ("optimizer", {"state": {}}, "does not fit this run"),
    ("random_state", {"global": {}, "loader": None}, r"random_state: 'python'"),
    ("other_parameter", {"epochs_started": "x"}, "other_parameter.epochs_started"),
    ("model", None, "model: input should be a valid string"),
])  # fmt: skip
def test_a_state_with_a_field_of_another_type(data_path, tmp_path, finished, field, value, message):
    tensors, content = read_tensor_file(RunFiles.of(finished).resume)
    write_tensor_file(tmp_path / "x.resume.safetensors", tensors, {**content, field: value})
    with pytest.raises(ValueError, match=message) as caught:
        resume(data_path, tmp_path, tmp_path / "x.resume.safetensors")
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what cannot be resumed


@pytest.fixture(scope="module")
def finished(data_path, tmp_path_factory) -> Path:
    run = begin(data_path, tmp_path_factory.mktemp("finished"), epochs=1)
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return Path(trainer.saved_model_file)


def resume(data_path: Path, tmp_path: Path, file: Path, model="POWERec", **settings) -> None:
    run = begin(data_path, tmp_path / "saved", model, resume_from=str(file), **settings)
    run.trainer().fit(run.train_data, run.valid_data)


def test_no_such_checkpoint(data_path, tmp_path):
    with pytest.raises(FileNotFoundError, match="resume_from: checkpoint nowhere.pth does not exist"):
        resume(data_path, tmp_path, Path("nowhere.pth"))


def test_recboles_own_models_do_not_resume(data_path, tmp_path):
    with pytest.raises(ValueError, match="resume_from: BPR is RecBole's own model, whose training does not go on"):
        begin(data_path, tmp_path, "BPR", resume_from="saved/BPR.pth")


@pytest.mark.parametrize("learner", ["sgd", "adagrad", "rmsprop"])
def test_another_learner(data_path, tmp_path, finished, learner):
    with pytest.raises(ValueError, match=f"was trained with learner adam, this run has {learner}"):
        resume(data_path, tmp_path, finished, learner=learner, epochs=3)


@pytest.mark.parametrize("learner", ["sgd", "adagrad", "rmsprop"])
def test_another_learner_than_that_of_a_state_which_does_not_name_it(data_path, tmp_path, finished, learner):
    tensors, content = read_tensor_file(RunFiles.of(finished).resume)
    write_tensor_file(tmp_path / "x.resume.safetensors", tensors, {**content, "learner": None})
    with pytest.raises(ValueError, match=r"its optimizer is another than \w+; set `learner` as it was"):
        resume(data_path, tmp_path, tmp_path / "x.resume.safetensors", learner=learner, epochs=3)


def test_fewer_epochs_than_there_were(data_path, tmp_path):
    longer = end(begin(data_path, tmp_path / "longer", epochs=3, eval_step=0))["file"]
    with pytest.raises(ValueError, match="has trained 3 epochs, and `epochs` is 2; set more"):
        resume(data_path, tmp_path, Path(longer), epochs=2)


def test_checkpoint_of_another_model(data_path, tmp_path, finished):
    with pytest.raises(ValueError, match=r"checkpoint .*\.pth is of model POWERec, this run is of LayerGCN"):
        resume(data_path, tmp_path, finished, "LayerGCN")


def test_checkpoint_of_other_settings(data_path, tmp_path, finished):
    with pytest.raises(
        ValueError, match=r"does not fit this run: it was trained on data set 'toy' or with other settings"
    ):
        resume(data_path, tmp_path, finished, embedding_size=4)


def test_checkpoint_of_other_data_of_the_same_size(tmp_path, data_path, finished):
    """The same users, items and numbers of interactions, of other pairs."""
    write_planted(tmp_path / "other", {"visual": 6}, seed=1)
    with pytest.raises(
        ValueError, match=r"was trained on other users, items or training interactions than those of 'toy'"
    ):
        resume(tmp_path / "other", tmp_path, finished)


def test_checkpoint_of_other_data(tmp_path, finished):
    pairs = [(f"u{number}", f"i{number % 5 + shift}") for number in range(9) for shift in range(3)]
    splits = {"train": pairs, "valid": pairs[::4], "test": pairs[::5]}
    write_dataset(
        tmp_path / "other", splits, {"visual": {f"i{number}": np.arange(6.0) for number in range(7)}}
    )
    with pytest.raises(ValueError, match="does not fit this run: it was trained on data set 'toy'"):
        resume(tmp_path / "other", tmp_path, finished)


def test_checkpoint_of_recboles_own_trainer(data_path, tmp_path):
    run = begin(data_path, tmp_path, epochs=1)
    trainer = Trainer(run.config, run.model)
    trainer.fit(run.train_data, run.valid_data)
    with pytest.raises(ValueError, match="was not written by recbole_mm's trainer; it cannot resume exactly"):
        resume(data_path, tmp_path, Path(trainer.saved_model_file), trust_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda _: b"",
        lambda _: b"not a checkpoint",
        lambda whole: whole[:-100],
    ],
    ids=["cut in half", "empty", "text", "no end"],
)
def test_damaged_checkpoint(data_path, tmp_path, finished, damage):
    file = tmp_path / "damaged.pth"
    file.write_bytes(damage(finished.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint .*damaged\.pth is damaged and cannot be opened"):
        resume(data_path, tmp_path, file, trust_pickle=True)
    state = RunFiles.of(file).resume
    state.write_bytes(damage(RunFiles.of(finished).resume.read_bytes()))
    with pytest.raises(ValueError, match=r"damaged\.resume\.safetensors is damaged \("):
        resume(data_path, tmp_path, file)


def test_a_pickle_that_is_no_checkpoint(data_path, tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth is no checkpoint of a model"):
        resume(data_path, tmp_path, tmp_path / "list.pth", trust_pickle=True)
