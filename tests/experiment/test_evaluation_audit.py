"""``audit: [..., evaluation]``: a plan's trained rows with features replaced at their evaluation alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from recbole_mm.experiment import experiment
from recbole_mm.experiment.evaluation_audit import audited_keys
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.inference_audit import audit_checkpoint
from recbole_mm.experiment.plan import read_plan
from recbole_mm.experiment.plan_rows import rows_of
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.run import Job, run_job
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from recbole_mm.testing.toy import write_planted
from tests.experiment.in_this_process import in_this_process

PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
models: [VBPR, {FREEDOM: {knn_k: 4}}, ContentEASE, BPR]
settings: {epochs: 4, embedding_size: 8, train_batch_size: 64, learning_rate: 0.01}
topk: [5]
audit: [zero, %s]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


@pytest.fixture(autouse=True)
def one_process(monkeypatch) -> None:
    """Nothing here is about processes."""
    monkeypatch.setattr(experiment, "results_of", in_this_process)


def run(data: Path, more: str = "evaluation", resume: bool = False) -> list[str]:
    lines: list[str] = []
    Path("plan.yaml").write_text(PLAN % (data, more))
    run_experiment(Path("plan.yaml"), Path("out"), 1, resume=resume, tell=lines.append)
    return lines


@pytest.mark.parametrize("position", [0, 1])
def test_it_is_what_an_audit_of_the_checkpoint_says(data, position):
    Path("plan.yaml").write_text(PLAN % (data, "evaluation"))
    row = rows_of(read_plan("plan.yaml"), "plan.yaml")[position]
    keys = audited_keys(row, ["shuffle", "zero"])
    assert len(keys) == 3 * 2 * 2
    result = run_job(Job(row, 2020, Path("run"), knock_outs=tuple(keys)))
    assert not result.record.error
    (file,) = (path for path in Path("run").glob("*.json"))
    table = audit_checkpoint(file, ["shuffle", "zero"])
    assert dict(table.iloc[0][["recall@5", "ndcg@5"]]) == pytest.approx(result.record.test)
    assert len(table) == 1 + len(result.audits)
    for (_, expected), audit in zip(list(table.iterrows())[1:], result.audits, strict=True):
        facts = json.loads(audit.record.audit)
        kind = f"{expected['replaced by']} at evaluation, graphs {expected['graphs']}"
        assert facts == {"row": row.label, "modality": expected["modality"], "kind": kind}
        assert audit.record.test["ndcg@5"] == pytest.approx(expected["ndcg@5"])
        assert audit.per_user["ndcg@5"].mean() == pytest.approx(expected["ndcg@5"], abs=1e-6)


@pytest.fixture
def whole(data, ended) -> None:
    """The plan's experiment in the working folder, run once for all tests."""
    if not ended.exists():
        run(data)
        shutil.copytree("out", ended)
    else:
        shutil.copytree(ended, "out")


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ended") / "out"


def test_a_plan_has_both_in_one_table(whole):
    tables = read_store(Path("out"))
    assert set(tables.rows("toy")["model"]) == {"VBPR", "FREEDOM", "ContentEASE", "BPR"}
    kinds = {label: set(runs["kind"]) for label, runs in tables.audits("toy").items()}
    at_evaluation = {f"zero at evaluation, graphs {how}" for how in ("kept", "rebuilt")}
    assert kinds == {
        "VBPR": {"zero", *at_evaluation}, "FREEDOM (knn_k=4)": {"zero", *at_evaluation}, "ContentEASE": {"zero"}
    }  # fmt: skip
    report = write_report(Path("out")).with_suffix(".md").read_text()
    lines = [line.split(" | ") for line in report.splitlines() if line.startswith("| FREEDOM (knn_k=4) | all |")]
    changes = {line[2]: line[5] for line in lines}
    assert list(changes) == ["zero", *sorted(at_evaluation), "id_only (LightGCN)"][:3]
    assert changes["zero at evaluation, graphs kept"] == "+0.0%"  # its scores read features through graphs alone


def test_what_is_missing_of_it_is_run_again_with_its_training(data, whole):
    before = {file.name: file.read_text() for file in Path("out/runs").glob("*.json")}
    assert "0 of 13 runs to do" in run(data, resume=True)
    gone = next(name for name, text in before.items() if "VBPR, all zero at evaluation, graphs kept" in text)
    Path("out/runs", gone).unlink()
    assert "1 of 13 runs to do" in run(data, resume=True)
    again = {record.run: record.test for record in Store(Path("out")).records()}
    for name, text in before.items():
        kept = json.loads(text)["record"]
        assert again[kept["run"]] == pytest.approx(kept["test"]), name


def test_it_is_added_to_an_experiment_that_had_none(data):
    run(data, more="shuffle")
    lines = run(data, more="shuffle, evaluation", resume=True)
    assert f"2 of {4 + 3 * 3 * 2} runs to do" in lines  # VBPR and FREEDOM, whose weights are gone
    run(data, more="shuffle", resume=True)
    audits = read_store(Path("out")).audits("toy")
    assert not any("evaluation" in kind for runs in audits.values() for kind in runs["kind"])
