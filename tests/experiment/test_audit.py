"""``audit``: what a trained model loses where a modality is replaced at its evaluation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_mm.__main__ import main
from recbole_mm.experiment.inference_audit import audit_checkpoint
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

MODELS = {
    "VBPR": {},
    "FREEDOM": {"knn_k": 4},
    "DAMRS": {"knn_k": 4},
    "LATTICE": {"knn_k": 4},  # graphs of projected features, built as it goes
    "MARGO": {"backbone": "VBPR"},
}


OTHERS = {  # which cannot be audited
    "ContentEASE": {},
    "ContentKNN": {},
    "LayerGCN": {},
    "sampled": {"eval_args": {"mode": {"valid": "full", "test": "uni20"}}},
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    write_planted(folder, {"visual": 12, "textual": 7})
    made = {}
    for model, own in {**MODELS, **OTHERS}.items():
        settings = {**PRE_SPLIT, **own, "epochs": 12, "learning_rate": 0.01, "topk": [5], "metrics": ["Recall", "NDCG"],
                    "valid_metric": "NDCG@5"}  # fmt: skip
        run = start("VBPR" if model == "sampled" else model, folder, **settings)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data, verbose=False)
        made[model] = trainer.saved_model_file
    return made


@pytest.mark.parametrize("model", MODELS)
def test_the_first_row_is_the_models_own_test_and_everything_is_put_back(checkpoints, model):
    table = audit_checkpoint(Path(checkpoints[model]), ["zero", "shuffle"])
    assert len(table) == 1 + 3 * 2 * 2
    again = audit_checkpoint(Path(checkpoints[model]), ["zero"])
    keys = ["modality", "replaced by", "graphs"]
    both = table.merge(again, on=keys, suffixes=("", "_again"))
    np.testing.assert_array_equal(both["ndcg@5"], both["ndcg@5_again"])
    if model == "VBPR":  # scores read the features
        assert (table["change"][1:].abs() > 0).any() and table["p"].between(0, 1).all()
    if model in ("FREEDOM", "DAMRS"):  # scores read no feature: the graph alone
        assert (table[table["graphs"] == "kept"]["change"] == 0).all()
        assert (table[table["graphs"] == "rebuilt"]["change"] != 0).any()


def test_zero_features_of_vbpr_leave_the_ids_by_hand(checkpoints):
    """Without content VBPR's score is that of its ID vectors and biases."""
    opened = open_checkpoint(checkpoints["VBPR"], knock_out={"visual": "zero", "textual": "zero"})
    assert not any(opened.dataset.modality_feature(name).any() for name in opened.dataset.modalities)
    table = audit_checkpoint(Path(checkpoints["VBPR"]), ["zero"])
    rows = table[table["modality"] == "all"]
    assert rows["ndcg@5"].nunique() == 1  # VBPR has no graph to rebuild


def test_the_command(checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", str(checkpoints["VBPR"]), "--knock_out=zero"]) == 0
    assert "wrote audit/" in capsys.readouterr().out
    (check,), (leaks,) = (list(Path("audit").glob(f"*-{name}.csv")) for name in ("check", "leaks"))
    (file,) = set(Path("audit").glob("*.csv")) - {check, leaks}
    assert len(pd.read_csv(file)) == 1 + 3 * 2 and (pd.read_csv(file)["top share"] == 1).all()  # of 30 items
    assert pd.read_csv(check)["most epochs"][0] == 12
    found = pd.read_csv(leaks)
    assert set(found["modality"]) == {"visual", "textual"}
    assert set(found["leak"]) == {"cannot tell"} and (found["items"] < 100).all()  # of 30 items
    assert sorted(path.name for path in Path().iterdir()) == ["audit"]


@pytest.mark.parametrize(
    "given, message",
    [
        (["{VBPR}", "--knock_out=zerro"], r"--knock_out: there is no 'zerro' \(did you mean zero\?\); there are shuf"),
        (["{VBPR}", "--jobs=2"], "--jobs is for plans; a checkpoint is audited here at once, so leave it out"),
        (["{VBPR}", "--resume"], "--resume is for plans"),
        (["plan.yaml", "--data_path=there"], "--data_path is for checkpoints; a plan is trained anew, so leave it out"),
        (["{VBPR}", "--knock_out=without"], "--knock_out: without needs a training; give it with a plan"),
        (["{VBPR}", "--knock_out=id_only"], "--knock_out: id_only needs a training; give it with a plan"),
        (["{VBPR}", "--knock_out=zero,evaluation"], "--knock_out: evaluation is all that a checkpoint's audit does"),
        (["{VBPR}", "--knock_out=zero,zero"], "--knock_out: zero,zero names one twice"),
        (["{VBPR}", "--knock_out="], "--knock_out: there is no ''"),
        (["{ContentEASE}"], "ContentEASE is solved from its features.*audit a plan"),
        (["{ContentKNN}"], "ContentKNN is solved from its features"),
        (["{LayerGCN}"], "LayerGCN reads no features"),
        (["{sampled}"], r"tested on sampled items \(eval_args: mode\).*need mode: full"),
        (["nothing.json"], "nothing"),
        (["nothing.yaml"], "nothing.yaml"),
    ],
)
def test_bad_input(checkpoints, given, message, capsys):
    assert main(["audit", *(text.format(**checkpoints) for text in given)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message, line)
