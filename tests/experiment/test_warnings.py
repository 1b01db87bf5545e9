"""What a row's runs say against it."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest

from recbole_mm.experiment.record import FAILED, FINISHED, CurvePoint, Tried
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from recbole_mm.experiment.warnings import warnings_of
from tests.experiment.test_report import result


@pytest.mark.parametrize(
    ("ended", "found"), [("cap", ["best epoch 1 (1 of 1)", "ended at its cap (1 of 1)"]), ("solved", [])]
)
def test_a_model_that_was_solved_has_no_epoch_to_warn_of(tmp_path, ended, found):
    run = result("one", "one", 0, 0.5)
    store = Store(tmp_path / "store")
    store.add(replace(run, record=replace(run.record, best_epoch=1, ended=ended)))
    store.write_tables()
    assert warnings_of(DatasetResults(read_store(store.folder), "toy"), "one") == found


def test_a_row_of_other_interactions_does_not_compare(tmp_path):
    store = Store(tmp_path / "store")
    for seed in range(2):
        store.add(result("one", "one", seed, 0.6))
        other = result("two", "two", seed, 0.5)
        store.add(replace(other, record=replace(other.record, data="other" if seed else other.record.data)))
    store.add(result("three", "three", 7, 0.4))  # of a seed of its own, which says nothing
    store.write_tables()
    results = DatasetResults(read_store(store.folder), "toy")
    assert warnings_of(results, "two") == ["of other interactions than one, with which it does not compare"]
    assert warnings_of(results, "one") == warnings_of(results, "three") == []


@pytest.mark.slow
def test_settings_that_failed_are_said_in_the_report(tmp_path):
    store = Store(tmp_path / "store")
    store.add(result("one", "one", 0, 0.5))
    tried = Tried("toy", "one", "one", 0, {"k": 1}, "NDCG@5", 0.5, 3, FINISHED, "", True)
    failed = replace(tried, trial=1, settings={"k": 2}, value=float("nan"), status=FAILED, chosen=False)
    failed = replace(failed, error="ValueError: no <k>")
    store.add_trials("search", [tried, failed])
    store.write_tables()
    assert warnings_of(DatasetResults(read_store(store.folder), "toy"), "one") == ["1 of the 2 settings tried failed"]
    page = write_report(store.folder)
    line = 'one on toy, searching, {"k": 2}: ValueError: no <k>'
    assert line in page.with_suffix(".md").read_text() and line in html.unescape(page.read_text())
    assert "<k>" not in page.read_text()


def test_a_row_below_a_simple_one_says_so(tmp_path):
    store = Store(tmp_path / "store")
    for model, level in (("ContentEASE", 0.6), ("ContentKNN", 0.55), ("MGCN", 0.5), ("Pop", 0.2)):
        store.add(result(model, model, 0, level))
    store.write_tables()
    results = DatasetResults(read_store(store.folder), "toy")
    assert warnings_of(results, "MGCN") == ["below ContentKNN", "below ContentEASE"]
    assert warnings_of(results, "ContentEASE") == []


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ({"loss_ranking": 0.1, "loss_contrast": 9.0}, ["one part of the loss, loss_contrast, is above all others"]),
        ({"loss_ranking": 9.0, "loss_contrast": 0.1}, []),  # as it should be
        ({"loss_ranking": 1.0, "loss_contrast": 9.0}, []),
        ({"loss_1": 0.1, "loss_2": -9.0}, ["one part of the loss, loss_2, is above all others"]),
    ],
)
def test_a_part_of_the_loss_that_drowns_the_ranking(tmp_path, terms, found):
    run = result("one", "one", 0, 0.5)
    curves = [CurvePoint("", 0, name, value) for name, value in {"loss": 9.1, **terms}.items()]
    store = Store(tmp_path / "store")
    store.add(replace(run, record=replace(run.record, best_epoch=2, ended="stopped"), curves=curves))
    store.write_tables()
    assert warnings_of(DatasetResults(read_store(store.folder), "toy"), "one") == found
