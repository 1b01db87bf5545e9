"""The models of IDs alone that rows of a plan stand on, beside the knock-outs of an audit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbole_mm.experiment.audit import audit_rows, id_only_rows
from recbole_mm.experiment.experiment import checked_rows
from recbole_mm.experiment.plan import read_plan
from recbole_mm.experiment.plan_rows import rows_of
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.search import RowSearch
from recbole_mm.experiment.sections import sections_of
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from recbole_mm.model.backbone_model import id_only_model
from recbole_mm.registration import recbole_models
from recbole_mm.registry import MODELS, variants
from recbole_mm.testing.toy import write_planted
from tests.experiment.test_report import result


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


def plan_of(data: Path, text: str):
    data_set = f"{{toy: {{data_path: '{data}', benchmark_filename: [train, valid, test]}}}}"
    Path("plan.yaml").write_text(f"data: [{data_set}]\n{text}\n")
    return read_plan("plan.yaml")


def rows(data: Path, text: str):
    return rows_of(plan_of(data, text), "plan.yaml")


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("VBPR", {}, "BPR"),
        ("FREEDOM", {}, "LightGCN"),
        ("POWERec", {}, "LayerGCN"),
        ("POWERec", {"propagation": "BPR"}, "BPR"),
        ("PODualGNN", {}, "LightGCN"),
        ("MARGO", {}, "LightGCN"),
        ("MARGO", {"backbone": "POWERec"}, "LayerGCN"),
        ("MARGO", {"backbone": "VBPR"}, "BPR"),
        ("ContentEASE", {}, "EASE"),
        ("SiBraR", {}, None),
        ("LayerGCN", {}, None),
        ("BPR", {}, None),
        ("Nobodys", {}, None),
    ],
)
def test_which_it_is(model, settings, expected):
    assert id_only_model(model, settings) == expected


def test_every_one_is_a_model_of_ids_alone():
    for name in (*MODELS, *variants()):
        found = id_only_model(name, {})
        assert found is None or found in {"LayerGCN", *recbole_models()}
        assert found is None or id_only_model(found, {}) is None


def test_those_that_the_plan_lacks_are_added_once_with_the_settings_of_all(data):
    text = "models: [{FREEDOM: {knn_k: 4}}, MGCN, VBPR, {VBPR: {embedding_size: 8}}, POWERec, LayerGCN, SiBraR, Pop]"
    found = id_only_rows(rows(data, f"{text}\nsettings: {{epochs: 7}}"))
    assert [(row.label, row.model) for row in found] == [("LightGCN", "LightGCN"), ("BPR", "BPR")]
    assert all(row.settings["epochs"] == 7 and "knn_k" not in row.settings and not row.own for row in found)
    assert not id_only_rows(rows(data, "models: [VBPR, BPR]"))
    (other,) = id_only_rows(rows(data, "models: [{VBPR: {label: BPR}}]"))
    assert (other.label, other.model) == ("BPR, ids alone", "BPR")


def test_they_are_searched_as_all_rows_are(data):
    plan = plan_of(data, "models: [VBPR]\nsearch: {budget: 3}\naudit: [shuffle, id_only]")
    found = checked_rows(plan, Path("plan.yaml"), ())
    assert [row.model for row in found] == ["VBPR", "BPR"]
    assert [len(RowSearch.of(row, plan.search, 0).settings) for row in found] == [3, 3]
    kinds = [row.audit["kind"] for row in audit_rows(found[0], plan.audit)]
    assert kinds == ["shuffle"] * 3 and not audit_rows(found[1], plan.audit)  # no knock-outs without features


def test_models_of_ids_alone_are_not_trained_again(data):
    for row in rows(data, "models: [LayerGCN, BUIR, BPR]"):
        assert not audit_rows(row, ["shuffle", "without"])


@pytest.mark.slow
def test_the_report_has_them_beside_the_knock_outs(tmp_path):
    store = Store(tmp_path / "store")
    levels = {"FREEDOM": 0.6, "LightGCN": 0.45, "BPR": 0.3}
    for seed in range(3):
        for model, level in levels.items():
            store.add(result(model, model, seed, level))
        audit = json.dumps({"row": "FREEDOM", "modality": "all", "kind": "shuffle"})
        store.add(result("knocked", "FREEDOM, all shuffle", seed, 0.45, "FREEDOM", audit=audit))
    store.write_tables()
    results = DatasetResults(read_store(store.folder), "toy")
    (table,) = (section.table for section in sections_of(results) if section.name == "toy-audit")
    assert list(table["replaced by"]) == ["shuffle", "id_only (LightGCN)"]
    means = {label: runs["test_ndcg@5"].mean() for label, runs in results.rows.items()}
    assert float(table["ndcg@5"][1]) == pytest.approx(means["LightGCN"], abs=1e-4)
    assert float(table["real"][1]) == pytest.approx(means["FREEDOM"], abs=1e-4)
    assert list(table["verdict"]) == ["worse", "worse"]
    comparison = results.audits["FREEDOM"]["all", "id_only"]
    assert np.isclose(comparison.difference, means["LightGCN"] - means["FREEDOM"], atol=1e-6)
    assert replace(comparison, p=0) != results.audits["FREEDOM"]["all", "shuffle"]
