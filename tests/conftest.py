"""Fixtures of the whole suite: every test runs in its own folder, with a bare command line."""

from __future__ import annotations

import gc
import logging
import multiprocessing.forkserver
import os
import sys
from functools import partial
from pathlib import Path

# Before torch loads: the data are tiny, and threads that spin for work cost minutes beside another busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before Ray starts: its workers are at niceness 15 unless told, and nearly stand still beside other tests' processes.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")  # a start that is slow is no failure
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # its thread's tracebacks upset ast.parse in others (Python 3.11)

import pytest

gc.disable()  # until tests run: of all that imports and their collection make nothing is garbage

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


@pytest.fixture(scope="session")
def forkserver():
    """The process that multiprocessing's forkserver forks, once it has imported what a run's processes need.

    Each would otherwise take five processor seconds to import it, two of them torch's _dynamo.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
        modules = ["pytest", "torch._dynamo", "recbole_mm.quick_start", "recbole_mm.testing.toy"]
        multiprocessing.set_forkserver_preload(modules)
        multiprocessing.forkserver.ensure_running()


@pytest.fixture
def forked(forkserver, monkeypatch):
    """Has a run's processes forked, not started from nothing."""
    import torch.multiprocessing as mp

    monkeypatch.setattr(mp, "spawn", partial(mp.start_processes, start_method="forkserver"))


STARTS_RAY = ("test_compat", "test_interrupts", "test_ray_cluster", "test_ray_job", "test_ray_search", "test_recommend")
# Files whose tests start processes, draw figures, or train for seconds.
SLOW = (
    *STARTS_RAY, "test_allocator", "test_attribution", "test_attribution_encoders", "test_audit", "test_becam",
    "test_changed_contents",
    "test_checkpoint_report", "test_closed_forms", "test_closed_forms_tiktok", "test_commands",
    "test_content_to_recommendation", "test_damaged_store", "test_default_data", "test_disks", "test_distributed",
    "test_docs", "test_embedding_map", "test_evaluation_audit", "test_experiment", "test_feature_drift",
    "test_first_steps", "test_floors", "test_going_on", "test_grids", "test_hyperopt_search", "test_import_order",
    "test_import_time", "test_initial_values", "test_inputs", "test_kill_points", "test_leak_checks", "test_logs",
    "test_main", "test_margo", "test_margo_planted", "test_metrics", "test_modality_map", "test_modality_weights",
    "test_outside", "test_own_optimizers", "test_plugins", "test_ptmrec", "test_ptmrec_encoders",
    "test_ptmrec_encoding",
    "test_published_section", "test_quick_start", "test_ray_session", "test_report", "test_resume", "test_run_end",
    "test_run_names", "test_search", "test_statistics", "test_terminal", "test_training", "test_weak_modality",
    "test_wheel",
)  # fmt: skip
# Tests of every model that train it, or build it at the size of real data.
SLOW_TESTS = (
    "test_a_plain_dot_product_gives_the_models_own_ranking", "test_an_adapter_that_changes_nothing_changes_nothing",
    "test_any_number_of_modalities", "test_checkpoint_round_trip", "test_feature_adapter_learns",
    "test_learns_a_planted_preference", "test_loss_falls", "test_mixed_precision", "test_parameter_count",
    "test_parameter_count_at_baby", "test_parameter_count_with_512_wide_features", "test_parameter_counts",
    "test_recboles_plain_trainer_trains_it",
    "test_same_seed_same_result", "test_two_models_on_one_data_set_share_nothing_that_is_trained",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Where tests run in processes side by side, those of a file share one, and so do all that start Ray: its ports.

    Those come first, then other slow files: the other process would have nothing left to do beside them at the end.
    xdist keeps that order where ``--no-loadscope-reorder`` says so: without it files of the most tests come first.
    What is in :data:`SLOW` and :data:`SLOW_TESTS`, the fuzzing and what is `long` is `slow`, with what its file marks:
    ``-n 2 --dist loadgroup -m "not slow"`` answers in two minutes.
    """
    items.sort(key=lambda item: (item.path.stem not in STARTS_RAY, item.path.stem not in SLOW))
    for item in items:
        group = "ray" if item.path.stem in STARTS_RAY else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        is_slow = item.path.stem in SLOW or getattr(item, "originalname", item.name) in SLOW_TESTS
        if is_slow or item.path.parent.name == "fuzz" or item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """From here on there is garbage, and none of it among what is there by now."""
    gc.freeze()
    gc.enable()
