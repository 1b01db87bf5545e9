"""What a search on Ray says of its trials."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ray import tune

from recbole_mm.search_space import SearchRange
from recbole_mm.tuning.ray_results import choose, row_of, write_results
from recbole_mm.tuning.search import Search


def test_a_trial_whose_process_died_before_it_said_anything_is_a_failed_one():
    search = Search({}, [SearchRange("n_layers", "choice", (1, 2))], {"valid_metric_bigger": True})
    died = tune.Result(metrics={"trial_id": "1"}, checkpoint=None, error=RuntimeError("the node\nis gone"), path="")
    row = row_of(search, died)
    write_results(Path("results.csv"), search, [row])
    with open("results.csv", newline="") as file:
        written = next(csv.DictReader(file))
    assert (written["status"], written["n_layers"], written["error"]) == ("failed", "", "is gone")
    with pytest.raises(ValueError, match="first error: .*is gone"):
        choose(search, [row])
