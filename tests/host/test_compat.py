"""compat.py: RecBole on the installed libraries, with all fixes and with each one left out."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_mm.host import compat
from recbole_mm.host import mend as mechanism
from tests.host.compat_checks import CHECKS, QUICK, ROOT, small_config, unapplied_compat


@pytest.fixture(scope="module")
def unmended(tmp_path_factory) -> dict:
    """What compat_checks.py, run as a script, finds where RecBole was imported first and not yet mended."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("compat_checks.py"))]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    folder = tmp_path_factory.mktemp("unmended")
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CHECKS)
def test_mended_recbole_gives_the_right_values(name):
    CHECKS[name][0]()


@pytest.mark.parametrize("name", CHECKS)
def test_check_fails_without_its_fix(name, unmended):
    if not needed(name):
        pytest.skip("the installed libraries do not need this fix")
    assert unmended[name].startswith(CHECKS[name][1])


def needed(name: str) -> bool:
    """Two always apply: what they put in place asks hyperopt and ray by itself."""
    from hyperopt.pyll.stochastic import rng_from_seed
    from ray import tune

    if name == "hyperopt_generator":
        return hasattr(rng_from_seed(0), "integers")
    if name == "ray_report":
        return "metrics" in inspect.signature(tune.report).parameters
    return name in compat.apply()


def test_every_line_to_mend_is_found(monkeypatch):
    fresh, missed = unapplied_compat(), []
    original = mechanism.mend
    for function in mechanism._mended_source:  # given back after the test, with what other rooms mended in it
        monkeypatch.setattr(function, "__code__", function.__code__)
    monkeypatch.setattr(mechanism, "_mended_source", {})  # as in a process that has mended nothing
    for module in (fresh, mechanism):
        monkeypatch.setattr(module, "mend", lambda *edit: original(*edit) or missed.append(edit))
    fresh.apply()
    assert missed == []


def test_second_call_changes_nothing():
    from recbole.data.dataset import Dataset

    code = Dataset._fill_nan.__code__
    assert compat.apply() == compat.apply()
    assert Dataset._fill_nan.__code__ is code


@pytest.mark.skipif(not hasattr(np, "float_"), reason="numpy 2: not the classic set")
def test_classic_libraries_need_only_the_fixes_that_concern_torch():
    assert set(compat.apply()) <= {
        *("anomaly_detection", "checkpoint_loading", "hyperopt_generator", "list_choices", "ray_report")
    }


def test_libraries_are_left_as_they_are(unmended):
    # Where numpy still has its aliases (1.x), RecBole's own Config restores eight more, with or without us.
    by_recbole = {f"numpy.{name}" for name in "bool int float complex object str long unicode".split()}
    assert set(unmended["libraries_touched"]) <= (by_recbole if hasattr(np, "float_") else set())


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "NGCF", "ItemKNN"])
def test_recbole_models_run(model):
    from recbole.quick_start import run_recbole

    small_config()
    result = run_recbole(model=model, dataset="tiny", config_dict=dict(QUICK))
    assert 0 < result["test_result"]["recall@10"] <= 1


def test_functions_imported_before_us_are_mended(unmended):
    from recbole.quick_start import run_recbole

    small_config()
    here = run_recbole(model="LightGCN", dataset="tiny", config_dict=dict(QUICK))["test_result"]
    there = unmended["metrics_with_recbole_first"]
    assert there["trained"] == there["evaluated"] == here


@pytest.mark.parametrize("algo", ["random", "bayes", "exhaustive"])
def test_hyper_tuning_trains(algo):
    from recbole.quick_start import objective_function
    from recbole.trainer import HyperTuning

    small_config()
    Path("fixed.yaml").write_text(json.dumps(dict(QUICK, model="BPR", dataset="tiny")))  # JSON is YAML
    tuning = HyperTuning(
        objective_function,
        params_dict={"choice": {"learning_rate": [0.01, 0.001]}},
        fixed_config_file_list=["fixed.yaml"],
        algo=algo,
        max_evals=2,
    )
    tuning.run()
    assert len(tuning.score_list) == 2
    assert tuning.best_score == max(tuning.score_list)


def test_ray_workers_report(tmp_path):
    """In a real Ray session; a second trial leaves the fix out, where the installed ray needs it."""
    import ray
    from ray import tune

    small_config()
    without = ["nothing", "ray_report"] if needed("ray_report") else ["nothing"]
    run_config = getattr(tune, "RunConfig", None) or ray.air.RunConfig
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        tuner = tune.Tuner(
            objective_with_one_fix_left_out(os.getcwd()),
            param_space={"without": tune.grid_search(without)},
            run_config=run_config(storage_path=str(tmp_path / "results")),
        )
        results = {result.config["without"]: result for result in tuner.fit()}
    finally:
        ray.shutdown()
    assert 0 < results["nothing"].metrics["recall@10"] <= 1
    if "ray_report" in results:
        assert "unexpected keyword argument" in str(results["ray_report"].error)


def objective_with_one_fix_left_out(folder: str):
    checks = Path(__file__).with_name("compat_checks.py")

    def objective(params: dict) -> None:
        sys.path.insert(0, str(checks.parent))
        os.chdir(folder)
        from compat_checks import QUICK, unapplied_compat

        for fix in unapplied_compat().FIXES:
            if fix.__name__ != params["without"]:
                fix()
        from recbole.quick_start import objective_function

        objective_function(dict(QUICK, model="BPR", dataset="tiny"))

    return objective
