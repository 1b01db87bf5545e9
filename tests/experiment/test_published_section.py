"""Published rows in reports: of the data set and the metrics measured, ours beside those of the same model."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from recbole_mm.experiment.published_section import published_sections
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from tests.experiment.test_report import names, result


def store(folder: Path, dataset: str, k: int) -> Path:
    """Three seeds of a row of BM3 and one of a model that nobody has published."""
    made = Store(folder / dataset)
    for row, model, level in (("mine", "BM3", 0.2), ("own", "ContentEASE", 0.3)):
        for seed in range(3):
            run = result(row, row, seed, level, model)
            called = {f"{name}@5": f"{name}@{k}" for name in ("recall", "ndcg")}
            metrics = {called[name]: value for name, value in run.record.test.items()}
            record = replace(run.record, dataset=dataset, test=metrics, valid=metrics, chosen_by=f"NDCG@{k}")
            name, of_row = names(row, model, seed, dataset=dataset)
            record = replace(record, run=name, row=of_row)
            made.add(replace(run, record=record, per_user=run.per_user.rename(columns=called)))
    made.write_tables()
    return made.folder


def published(folder: Path, dataset: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "tables" / f"{dataset}-published.csv").open(encoding="utf-8")))


def test_ours_stand_beside_the_rows_of_the_same_model(tmp_path):
    folder = store(tmp_path, "elec", 20)
    page = write_report(folder).read_text(encoding="utf-8")
    rows = published(folder, "elec")
    (place,) = (number for number, row in enumerate(rows) if row["row"] == "mine")
    assert rows[place]["split"] == "ours" and 0.19 < float(rows[place]["recall@20"]) < 0.21
    assert rows[place + 1] == {
        "row": "BM3", "recall@20": "0.0648", "ndcg@20": "0.0302", "split": "x_label",
        "source": "MMRec's evaluation table (github.com/enoche/MMRec)",
    }  # fmt: skip
    assert {"FREEDOM", "GUME", "own"} <= {row["row"] for row in rows} and "recall@10" not in rows[0]
    assert "Beside published rows" in page and "Beside published rows" in (folder / "report.md").read_text()


@pytest.mark.parametrize("dataset, k", [("toy", 20), ("elec", 5)])
def test_nothing_where_nothing_is_published_or_measured_alike(tmp_path, dataset, k):
    results = DatasetResults(read_store(store(tmp_path, dataset, k)), dataset)
    assert not list(published_sections(results))
