"""The plans of the benchmarks are ones that can run: every row, grid and sweep passes the checks of its data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recbole_mm.data.converters.mmrec import convert_mmrec
from recbole_mm.experiment.experiment import checked_rows, searches_of
from recbole_mm.experiment.plan import read_plan
from tests.planted_contents import write_contents

PLANS = sorted((Path(__file__).resolve().parents[2] / "benchmarks" / "plans").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(shared_data, tmp_path_factory) -> Path:
    """A working folder with all data sets that the plans name."""
    folder = tmp_path_factory.mktemp("plans")
    for name in ("lfm2k", "tiktok"):
        convert_mmrec(shared_data / name, name, folder / "dataset_atomic")
    for name in ("baby", "clothing"):
        (folder / name).mkdir()
        shutil.copy(shared_data / "amazon-interactions" / f"{name}.inter", folder / name)
        convert_mmrec(folder / name, name, folder / "dataset_atomic")
    write_contents(folder / "dataset_atomic", "films").joinpath("clip").rename(folder / "films-clip")
    items = folder / "dataset_atomic" / "films" / "films.item"
    first, *rows = items.read_text().splitlines()
    more = [f"{first}\tgenres:token_seq\tplot:token_seq", *(f"{row}\tgenre\tplot" for row in rows)]
    items.write_text("\n".join(more) + "\n")
    return folder


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
@pytest.mark.slow
def test_a_plan_can_run(file, folder, monkeypatch):
    monkeypatch.chdir(folder)
    plan = read_plan(file)
    rows = checked_rows(plan, file, ())
    assert len(searches_of(rows, plan)) == len(rows)
    assert len(rows) >= len(plan.models) * len(plan.data)
    assert len(plan.seeds) >= 3 and (plan.search is None or plan.search.metric is not None)
