"""`python -m recbole_mm`: what its commands print, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm import MODELS
from recbole_mm.__main__ import main
from tests.toy import PRE_SPLIT, start, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("commands"), {"visual": 6, "textual": 4})


def train(model: str, folder: Path) -> str:
    """The checkpoint of one epoch."""
    run = start(model, folder, **PRE_SPLIT, epochs=1, train_batch_size=64, checkpoint_dir="saved")
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return trainer.saved_model_file


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    title = "Prompt-based and weak-modality enhanced multimodal recommendation"
    assert f"POWERec (2024): {title}\n    modalities: any number" in shown
    assert "    backbones:  LayerGCN, LightGCN, BPR\n" in shown
    assert [name for name in MODELS if f"{name} (" not in shown] == []


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "recbole_mm", "models"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert "error" not in process.stderr.read()
    assert process.wait() == 0


def test_describe_prints_each_modality(folder, capsys):
    assert main(["describe", str(folder / "toy")]) == 0
    shown = capsys.readouterr().out
    assert "visual" in shown and "textual" in shown


def test_describe_of_nothing(capsys):
    assert main(["describe", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: 'nowhere' is neither a folder nor a data set in ")


def test_analyse_weak_modality(folder, capsys):
    assert main(["analyse", "weak-modality", train("POWERec", folder), "--out", "figures"]) == 0
    written = [f"figures/weak-modality.{form}" for form in ("png", "svg", "pdf", "csv")]
    assert capsys.readouterr().out.splitlines() == [f"wrote {file}" for file in written]
    assert all(Path(file).stat().st_size for file in written)


def test_analyse_weak_modality_of_a_model_without_modality_ratings(folder, capsys):
    file = train("LayerGCN", folder)
    assert main(["analyse", "weak-modality", file, "--out", "figures"]) == 2
    error = f"error: {file}: LayerGCN has no rating per modality; weak-modality needs a late-fusion model "
    assert capsys.readouterr().err.splitlines()[-1].startswith(error)
    assert not Path("figures").exists()


def test_analysis_of_no_checkpoint(capsys):
    assert main(["analyse", "weak-modality", "none.pth"]) == 2
    assert capsys.readouterr().err == "error: checkpoint none.pth does not exist\n"


@pytest.mark.parametrize("arguments", [[], ["analyse"], ["guess"], ["describe"]])
def test_incomplete_commands(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m recbole_mm" in capsys.readouterr().err


def test_the_settings_of_a_model_are_listed(capsys):
    assert main(["models", "FREEDOM"]) == 0
    shown = capsys.readouterr().out
    assert "knn_k: 10    a whole number of at least 1\n    Nearest items of each item, itself included.\n" in shown
    assert "grid (FREEDOM.hyper): " in shown
    assert main(["models", "POWEDualGNN"]) == 0
    assert "weak_weight: 0.01    a number of at least 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"), [("Fredom", "did you mean FREEDOM?"), ("BPR", "BPR is RecBole's own model")]
)
def test_the_settings_of_another_model_are_not_listed(capsys, name, message):
    assert main(["models", name]) == 2
    assert message in capsys.readouterr().err
