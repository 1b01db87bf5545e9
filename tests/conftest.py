"""Fixtures of the whole suite: every test runs in its own folder, with a bare command line."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

# Before torch loads: the data are tiny, and threads that spin for work cost minutes beside another busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """RecBole writes logs and checkpoints into the working directory and reads sys.argv: both are the test's own.

    So is the level of the log, which a run sets for its process.
    """
    logging.getLogger().setLevel(logging.WARNING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not on this machine")
    return SHARED_DATA


STARTS_RAY = ("test_compat", "test_interrupts", "test_ray_cluster", "test_ray_job", "test_ray_search", "test_recommend")
# Files whose tests start processes, draw figures, or train for seconds.
SLOW = (
    *STARTS_RAY, "test_experiment", "test_attribution", "test_becam", "test_report",
    "test_closed_forms_tiktok", "test_content_to_recommendation", "test_default_data", "test_disks",
    "test_distributed", "test_docs", "test_first_steps",
    "test_embedding_map", "test_feature_drift", "test_hyperopt_search", "test_import_order", "test_initial_values",
    "test_kill_points", "test_logs", "test_main", "test_margo", "test_margo_planted", "test_modality_map",
    "test_modality_weights", "test_outside", "test_plugins", "test_ptmrec",
    "test_ray_session", "test_resume", "test_run_names", "test_statistics",
    "test_terminal", "test_training", "test_weak_modality", "test_wheel",
)  # fmt: skip
SLOW_TESTS = ("test_learns_a_planted_preference", "test_parameter_count_with_512_wide_features")  # of every model


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Where tests run in processes side by side, those of a file share one, and so do all that start Ray: its ports.

    Those come first: they take minutes, and the other process would have nothing left to do beside them at the end.
    What is in :data:`SLOW` and :data:`SLOW_TESTS`, the fuzzing and what is `long` is `slow`: ``-m "not slow"`` answers
    in three minutes, or two with ``-n 2``.
    """
    items.sort(key=lambda item: item.path.stem not in STARTS_RAY)
    for item in items:
        group = "ray" if item.path.stem in STARTS_RAY else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        is_slow = item.path.stem in SLOW or item.path.parent.name == "fuzz" or item.name in SLOW_TESTS
        if is_slow or item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)
