"""From posters and plots to recommendations: extraction, both stages of PTMRec, test metrics, on the real data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.quick_start import load_data_and_model

pytest.importorskip("transformers")

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features
from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import run
from recbole_mm.testing.toy import QUIET
from tests.tiny_clip import write_dual_clip


@pytest.fixture(scope="module")
def films(shared_data, tmp_path_factory) -> Path:
    """The ratings, titles and plots under a name of their own, features extracted by a tiny encoder of CLIP's class."""
    folder = tmp_path_factory.mktemp("content")
    (folder / "films").mkdir()
    source = shared_data / "ml-100k-mm"
    for suffix in ("inter", "item"):
        shutil.copy(source / f"ml-100k-mm.{suffix}", folder / "films" / f"films.{suffix}")
    (folder / "films" / "images").symlink_to(source / "images")
    encoder = write_dual_clip(folder / "clip", width=16, context=77)
    for modality, content in (("visual", f"--images {source / 'images'}"), ("textual", "--fields title,genres,plot")):
        command = f"extract --dataset {folder / 'films'} --modality {modality} {content} --encoder {encoder}"
        assert main(command.split()) == 0
    return folder


def test_extraction(films, shared_data):
    posters = {file.stem for file in (shared_data / "ml-100k-mm" / "images").iterdir()}
    visual, textual = (read_features(films / "films", "films", name) for name in ("visual", "textual"))
    assert set(visual.ids) == posters
    assert (len(visual.ids), len(textual.ids)) == (1671, 1682)
    missing = (films / "films" / "films.visual.missing.tsv").read_text().splitlines()
    assert len(missing) == 1 + 11


def test_both_stages(films):
    settings = {
        **QUIET, "data_path": str(films), "encoder": str(films / "clip"), "prompt_depth": 2,
        "load_col": {"inter": ["user_id", "item_id", "rating"]}, "val_interval": {"rating": "[5,inf)"},
        "stage_one_epochs": 2, "stage_two_epochs": 1, "stage_two_learning_rate": 0.01,
    }  # fmt: skip
    result = run("PTMRec", "films", config_dict=settings)
    assert 0 < result["test_result"]["recall@20"] < 1
    (final,) = Path("saved").glob("PTMRec*.pth")
    model = open_checkpoint(final).model
    assert model.stage == "two"
    stage_one = open_checkpoint(next(Path("saved").glob("*-stages/stage-one.pth"))).model
    for name, prompts in model.tuned.items():  # the gradient reached all of them
        assert (prompts != stage_one.tuned[name]).any(dim=-1).all()
    for modality in ("visual", "textual"):
        changed = (model.backbone.feature(modality) != model.extracted[modality]).any(dim=1)
        assert changed[1:].float().mean() > 0.98  # eleven films have no poster
    report = json.loads(final.with_suffix(".report.json").read_text())
    assert [len(report["stages"][stage]["seconds_per_epoch"]) for stage in ("one", "two")] == [2, 1]
    pytest.importorskip("matplotlib")
    assert main(["analyse", "embedding-map", str(final), "--users", "2", "--out", "map"]) == 0
    assert Path("map/embedding-map.png").stat().st_size > 0
    _, by_recbole, *_ = load_data_and_model(str(final))
    with torch.no_grad():
        for table, recbole_table in zip(model.score_tables(), by_recbole.eval().score_tables(), strict=True):
            assert np.allclose(table, recbole_table, atol=1e-6)
