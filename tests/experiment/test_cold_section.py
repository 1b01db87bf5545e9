"""A plan whose data have cold items: metrics of each candidate set in the store, and their table in the report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import ttest_rel

from recbole_mm.experiment import experiment
from recbole_mm.experiment.cold_section import cold_comparisons, cold_sections
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.tables import read_store
from recbole_mm.testing.toy import write_planted
from tests.experiment.in_this_process import in_this_process

PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
seeds: 2
models: [BPR, ContentKNN]
settings: {epochs: 2, embedding_size: 8, train_batch_size: 64%s}
topk: [5]
"""


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "results_of", in_this_process)
    monkeypatch.chdir(tmp_path)
    data = write_planted(tmp_path / "data", {"visual": 6, "textual": 4})

    def run(settings: str) -> DatasetResults:
        Path("plan.yaml").write_text(PLAN % (data, settings))
        run_experiment(Path("plan.yaml"), Path("out"), 1, tell=lambda _: None)
        return DatasetResults(read_store(Path("out")), "toy", [])

    return run


def test_rows_by_candidate_set(stored):
    results = stored(", cold_items: 0.5")
    (section,) = cold_sections(results)
    runs, table = pd.read_parquet("out/runs.parquet"), section.table.set_index("row")
    for row, own in runs.groupby("label"):
        for title, column in (("all items", ""), ("warm items", "warm_"), ("cold items", "cold_")):
            values = own[f"test_{column}{results.metric}"]
            assert table[title][row] == f"{values.mean():.4f} ± {values.std():.4f}"
        warm, cold = (own[f"test_{kind}_{results.metric}"] for kind in ("warm", "cold"))
        assert table["harmonic mean"][row].startswith(f"{(2 / (1 / warm + 1 / cold)).mean():.4f}")
    assert float(table["cold items"]["ContentKNN"][:6]) > float(table["cold items"]["BPR"][:6])
    write_report(Path("out"))
    assert "Warm and cold items" in Path("out/report.md").read_text()
    assert "Warm and cold items against ContentKNN" in Path("out/report.md").read_text()


def test_values_and_tests_over_users(stored):
    """The table of users has each candidate set's metrics: their means are the runs', and tests are over them."""
    stored(", cold_items: 0.3, cold_seed: 1")
    results = DatasetResults(read_store(Path("out")), "toy", ["BPR"])
    runs, users = pd.read_parquet("out/runs.parquet").set_index("run"), pd.read_parquet("out/per_user.parquet")
    assert not any(name.startswith(("warm_", "cold_")) for name in results.tables.metrics)
    for kind in ("warm", "cold"):
        metric = f"{kind}_{results.metric}"
        means = users.groupby("run")[metric].mean()
        pd.testing.assert_series_equal(
            means, runs[f"test_{metric}"][means.index], check_names=False, check_dtype=False, rtol=1e-6
        )
    assert users["cold_ndcg@5"].isna().any() and not users["ndcg@5"].isna().any()
    (section,) = cold_comparisons(results)
    by_label = runs.reset_index().groupby("label")["run"].apply(list)
    for _, line in section.table.iterrows():
        metric = f"{line['items']}_{results.metric}"
        wide = users.pivot(index="user", columns="run", values=metric).dropna()
        own, other = (wide[by_label[label]].mean(axis=1) for label in ("ContentKNN", "BPR"))
        assert float(line["difference"].split()[0]) == pytest.approx((own - other).mean(), abs=5e-5)
        assert float(line["p"]) == pytest.approx(ttest_rel(own, other).pvalue, rel=0.05)
        assert line["verdict"] == "not shown"  # of two seeds
    assert list(section.table["row"]) == ["ContentKNN"] * 2 and list(section.table["items"]) == ["warm", "cold"]


def test_a_store_of_before_has_no_tests(stored):
    stored(", cold_items: 0.5")
    users = pd.read_parquet("out/per_user.parquet")
    users.drop(columns=[name for name in users if name.startswith(("warm_", "cold_"))]).to_parquet(
        "out/per_user.parquet"
    )
    results = DatasetResults(read_store(Path("out")), "toy", ["BPR"])
    assert len(list(cold_sections(results))) == 1 and not list(cold_comparisons(results))


def test_without_cold_items_there_is_none(stored):
    results = stored("")
    assert not list(cold_sections(results)) and not list(cold_comparisons(results))
