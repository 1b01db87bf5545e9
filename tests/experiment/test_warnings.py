"""What a row's runs say against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
    tables = read_store(store.folder)
    assert warnings_of(tables, tables.runs, "ndcg@5") == found
