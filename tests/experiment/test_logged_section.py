"""The table of what models logged, such as gates: of the last stage, at its first, its tested and its last epoch."""

from __future__ import annotations

from dataclasses import replace

from recbole_mm.experiment.logged_section import logged_sections
from recbole_mm.experiment.record import CurvePoint
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from tests.experiment.test_report import result


def logged(stage: str, name: str, *values: float) -> list[CurvePoint]:
    return [CurvePoint(stage, epoch, name, value) for epoch, value in enumerate(values)]


def store_with(folder, curves: dict[str, list[list[CurvePoint]]]) -> Store:
    """A store with a row for each name, whose runs, a seed each, have such curves and their best epoch at 3."""
    store = Store(folder)
    for label, runs in curves.items():
        for seed, own in enumerate(runs):
            store.add(replace(result(label, label, seed, 0.5), curves=own))
    store.write_tables()
    return store


def test_is_of_the_last_stage_and_its_tested_epoch(tmp_path):
    seeds = [
        [
            *logged("one", "gamma", 9, 9, 9, 9), *logged("two", "loss", 1, 1, 1, 1),
            *logged("two", "loss_ranking", 1, 1, 1, 1), *logged("two", "valid_ndcg@5", 1, 1, 1, 1),
            *logged("two", "weights_sd", 0.1, 0.2, spread, 0.5),
        ]
        for spread in (0.3, 0.4)
    ]  # fmt: skip
    store = store_with(tmp_path / "store", {"MARGO": seeds, "Pop": [[]], "BPR": [logged("", "valid_ndcg@5", 1, 1, 1)]})
    (section,) = logged_sections(DatasetResults(read_store(store.folder), "toy"))
    assert section.table.to_dict("records") == [
        {
            "row": "MARGO", "value": "weights_sd", "first epoch": "0.1000 ± 0.0000",
            "tested epoch": "0.3500 ± 0.0707", "last epoch": "0.5000 ± 0.0000",
        }
    ]  # fmt: skip
    page = write_report(store.folder)
    assert "| MARGO | weights_sd | 0.1000 ± 0.0000 | 0.3500 ± 0.0707 |" in page.with_suffix(".md").read_text()
    assert (store.folder / "tables" / "toy-logged.csv").is_file() and "What was logged" in page.read_text()


def test_there_is_none_where_nothing_was_logged(tmp_path):
    store = store_with(tmp_path / "store", {"Pop": [[]], "BPR": [logged("", "loss", 1, 1, 1)]})
    assert not list(logged_sections(DatasetResults(read_store(store.folder), "toy")))
