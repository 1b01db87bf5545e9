"""Pictures and an encoder of PTMRec that have changed: whoever goes on with earlier results is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("transformers")

from recbole_mm import quick_start
from recbole_mm.data.arrow_form import read_arrow
from recbole_mm.data.text_form import write_text
from recbole_mm.experiment import experiment
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.testing.toy import PRE_SPLIT, QUIET
from recbole_mm.trainer.trainer import MultimodalTrainer
from recbole_mm.tuning.command import main
from tests.experiment.in_this_process import in_this_process
from tests.planted_contents import write_contents


class KilledError(BaseException):
    """What nothing handles, as a kill."""


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> Path:
    """With features in text, which do not say which version of the encoder made them."""
    folder = write_contents(tmp_path_factory.mktemp("contents"))
    for file in (folder / "toy").glob("toy.*.arrow"):
        table = read_arrow(file)
        write_text(file.with_suffix(""), file.stem.removeprefix("toy."), table.ids, table.values)
        file.unlink()
    return folder


@pytest.fixture
def settings(contents) -> dict[str, Any]:
    """Of a short run on a copy of the data."""
    folder = Path(shutil.copytree(contents, "data")).absolute()
    return {
        **PRE_SPLIT, **QUIET, "data_path": str(folder), "epochs": 2, "embedding_size": 8, "train_batch_size": 64,
        "topk": [5], "valid_metric": "Recall@5", "backbone": "VBPR", "encoder": str(folder / "clip"), "prompt_depth": 1,
        "text_fields": ["title"],
        "modalities": ["visual", "textual"], "two_stage": False, "picture_workers": 0,
    }  # fmt: skip


def change_picture() -> str:
    Image.new("RGB", (32, 32), (9, 99, 199)).save("data/toy/images/i3.png")
    return "the pictures in images"


def change_encoder() -> str:
    file = Path("data/clip/model.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return f"the encoder {Path('data/clip').absolute()}"


CHANGES = pytest.mark.parametrize("change", [change_picture, change_encoder])


@pytest.fixture
def killed(monkeypatch) -> Callable[[Callable[[], Any]], None]:
    """Runs what is given to the beginning of its second epoch."""
    train = MultimodalTrainer._train_epoch

    def train_one_epoch(trainer, data, index, *rest, **options):
        if index:
            raise KilledError
        return train(trainer, data, index, *rest, **options)

    def kill(action):
        with monkeypatch.context() as patches, pytest.raises(KilledError):
            patches.setattr(MultimodalTrainer, "_train_epoch", train_one_epoch)
            action()

    return kill


@CHANGES
def test_a_search(settings, killed, capsys, change):
    Path("own.yaml").write_text(json.dumps(settings))
    Path("own.hyper").write_text("prompt_length choice [1,2]\n")
    command = ["--model=PTMRec", "--dataset=toy", "--config_files=own.yaml", "--params_file=own.hyper"]
    killed(lambda: main(command))
    killed(lambda: main([*command, "--resume"]))
    changed = change()
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    error = capsys.readouterr().err
    assert f"error: --resume: {changed} changed since the search in hyper_example.trials.json began; bring" in error
    assert error.count("\n") == 1


def test_a_search_over_encoders(settings, killed, capsys):
    """Of each of them, though the settings beside the range name one."""
    shutil.copytree("data/clip", "other")
    Path("own.yaml").write_text(json.dumps({**settings, "peft": "none"}))
    Path("own.hyper").write_text(f"peft choice ['none','prompt']\nencoder choice ['{settings['encoder']}','other']\n")
    command = ["--model=PTMRec", "--dataset=toy", "--config_files=own.yaml", "--params_file=own.hyper"]
    killed(lambda: main(command))
    Path("other/config.json").write_text(Path("other/config.json").read_text() + "\n")
    assert main([*command, "--resume"]) == 2
    assert "error: --resume: the encoder other changed since the search" in capsys.readouterr().err


@CHANGES
def test_a_run(settings, killed, change):
    killed(lambda: quick_start.run("PTMRec", "toy", config_dict=dict(settings)))
    (file,) = Path("saved").glob("*.pth")
    shutil.move("data/toy/images", "moved")  # which is no change
    settings |= {"images": str(Path("moved").absolute()), "resume_from": str(file)}
    killed(lambda: quick_start.run("PTMRec", "toy", config_dict=dict(settings)))
    Path("data/toy/images").symlink_to(Path("moved").absolute())
    changed = change().replace("in images", f"in {settings['images']}")
    with pytest.raises(ValueError, match=f"was trained before {changed} changed; bring the files back"):
        quick_start.run("PTMRec", "toy", config_dict=dict(settings))


@CHANGES
def test_an_experiment(settings, monkeypatch, change):
    monkeypatch.setattr(experiment, "results_of", in_this_process)
    own = {key: settings.pop(key) for key in ("backbone", "encoder", "prompt_depth", "text_fields", "two_stage")}
    data = {key: settings[key] for key in ("data_path", "modalities", *PRE_SPLIT)}
    shared = {"embedding_size": 8, "train_batch_size": 64, "epochs": 1, "picture_workers": 0}
    plan = {"data": [{"toy": data}], "seeds": 1, "models": [{"PTMRec": own | shared}], "topk": [5]}
    Path("plan.yaml").write_text(json.dumps(plan))
    run_experiment(Path("plan.yaml"), Path("out"))
    plan["models"] += [{"VBPR": {"embedding_size": 8, "epochs": 1}}]
    Path("plan.yaml").write_text(json.dumps(plan))
    run_experiment(Path("plan.yaml"), Path("out"), resume=True)
    changed = change()
    with pytest.raises(ValueError, match=f"toy: {changed} changed since the runs in .*out; bring the data back"):
        run_experiment(Path("plan.yaml"), Path("out"), resume=True)
