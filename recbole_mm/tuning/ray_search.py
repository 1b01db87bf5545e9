"""The search on Ray Tune: several trials at a time, on this machine or a cluster; weak ones are stopped early."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from recbole_mm.io.files import atomic_file
from recbole_mm.io.locks import only_holder
from recbole_mm.io.reading import has_file
from recbole_mm.ray_session import check_resources, ray_session
from recbole_mm.run_settings import SearchSettings
from recbole_mm.setting_rules import PATH_KEYS
from recbole_mm.tuning.description import Description, check_same_search, describe, read_kept
from recbole_mm.tuning.ray_interrupt import interrupted_between_steps
from recbole_mm.tuning.ray_results import choose, row_of, write_results
from recbole_mm.tuning.ray_space import SCORE, Space, mode
from recbole_mm.tuning.ray_state import KeepState, delete_earlier_checkpoints, has_state, put_back_state
from recbole_mm.tuning.ray_trial import MODEL_FILE, TIME, run_trial
from recbole_mm.tuning.search import Search, Winner, winner_test_metrics
from recbole_mm.tuning.shared_data import load_shared_data

RESULTS_FILE, BEST_FILE = "results.csv", "best.yaml"
_DESCRIPTION_FILE = "search.json"
_RETRIES = 8  # of a trial whose process died; a lost node takes some until the cluster knows; own errors: none


def search_with_ray(
    search: Search,
    folder: Path,
    algo: str = "exhaustive",
    max_evals: int = 100,
    resume: bool = False,
    ray_address: str | None = None,
) -> Winner:
    """Search, choose by validation, test the winner, write :data:`RESULTS_FILE` and :data:`BEST_FILE` into `folder`.

    Args:
        search: what to search; its keys say how many trials run at a time, on what, and how ASHA stops them.
        folder: of this search; on a cluster of several machines one that all of them see.
        algo: ``exhaustive`` tries every setting, ``random`` and ``bayes`` `max_evals` of them.
        max_evals: trials of a random or bayes search.
        resume: go on with the search in `folder`, whose process was ended.
        ray_address: of an existing cluster (``host:port``, ``auto``); otherwise Ray is started on this machine.

    Raises ValueError for an unreachable address, more resources per trial than any node has, a `folder` of another
    search, and where no trial ended well.
    """
    folder = folder.absolute()
    space = Space(search, algo, max_evals)
    description = describe(search, algo, max_evals)
    _check_folder(folder, description, resume)
    with ray_session(ray_address, "add --resume to the same command"):
        check_resources(search.config)
        folder.mkdir(parents=True, exist_ok=True)
        with only_holder(folder.with_name(f".{folder.name}.lock"), f"the search {folder}"):
            trials = _try_all(search, space, folder, description, resume)
    write_results(folder / RESULTS_FILE, search, trials)
    best = choose(search, trials)
    settings = {**search.settings, **best["params"]}
    checkpoint = Path(best["checkpoint"]) / MODEL_FILE
    test_result = winner_test_metrics(settings, checkpoint)
    winner = Winner(settings, best[SCORE], best["best_valid_result"], test_result, checkpoint)
    winner.write_yaml(folder / BEST_FILE)
    return winner


def _try_all(
    search: Search, space: Space, folder: Path, description: dict[str, Any], resume: bool
) -> list[dict[str, Any]]:
    """Run all trials of a space; gives a row for each."""
    with atomic_file(folder / _DESCRIPTION_FILE) as temporary:
        temporary.write_text(json.dumps(description, indent=2), encoding="utf-8")
    with interrupted_between_steps():
        results = _tuner(search, space, folder, resume).fit()
    trials = [row_of(search, results[index]) for index in range(len(results))]
    delete_earlier_checkpoints([Path(trial["checkpoint"]) for trial in trials if trial["checkpoint"]])
    return trials


# ---------------------------------------------------------------- the folder of a search


def _check_folder(folder: Path, description: dict[str, Any], resume: bool) -> None:
    file = folder / _DESCRIPTION_FILE
    if not resume:
        if has_file(file):
            raise ValueError(f"{folder} holds an earlier search; add --resume to go on with it, or set --search_dir")
        if has_state(folder):  # pickles, of which copies are made while a search runs
            raise ValueError(f"{folder} holds a state of Ray's without a search; delete it, or set --search_dir")
        return
    if not has_file(file):
        raise ValueError(f"--resume: {folder} holds no search; leave --resume out, or set --search_dir")
    check_same_search(read_kept(file, Description, "restore it, or set another --search_dir"), description, folder)


# ---------------------------------------------------------------- Ray's objects


def _tuner(search: Search, space: Space, folder: Path, resume: bool) -> tune.Tuner:
    config, keys = search.config, SearchSettings.of(search.config)
    trainable = tune.with_parameters(
        run_trial,
        settings=_absolute_paths(search),
        shared=load_shared_data(config, [parameter.name for parameter in search.ranges]),
    )
    trainable = tune.with_resources(trainable, {"cpu": keys.cpus_per_trial, "gpu": keys.gpus_per_trial})
    if resume and put_back_state(folder):
        return tune.Tuner.restore(str(folder), trainable, param_space=space.parameters)
    if resume:
        logging.getLogger(__name__).warning("%s: the search ended before its first state was saved; beginning", folder)
    return tune.Tuner(
        trainable,
        param_space=space.parameters,
        tune_config=tune.TuneConfig(
            search_alg=space.searcher,
            num_samples=space.samples,
            max_concurrent_trials=keys.concurrent_trials,
            scheduler=_scheduler(search),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            callbacks=[_ListFailures(), KeepState(folder)],
        ),
    )


def _absolute_paths(search: Search) -> dict[str, Any]:
    """The settings with paths that hold in a worker, which runs in a folder of its own."""
    graphs = search.config["graph_dir"] or Path(search.config["checkpoint_dir"]) / "graphs"
    settings = {**search.settings, "graph_dir": str(graphs)}
    encoder = settings.get("encoder")  # a folder, or a name at a hub
    keys = (*PATH_KEYS, "encoder") if isinstance(encoder, str) and os.path.isdir(encoder) else PATH_KEYS
    return {key: os.path.abspath(value) if key in keys and value else value for key, value in settings.items()}


def _scheduler(search: Search) -> ASHAScheduler | None:
    keys = SearchSettings.of(search.config)
    if not keys.asha_grace:
        return None
    return ASHAScheduler(
        time_attr=TIME, metric=SCORE, mode=mode(search), grace_period=keys.asha_grace,
        reduction_factor=keys.asha_reduction, max_t=10**6,  # the epochs are the limit
    )  # fmt: skip


class _ListFailures(tune.Callback):
    """Prints each failed trial with its parameters and error when it happens."""

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "error" in result:
            print(f"trial {trial.trial_id} failed: {trial.config}: {result['error']}", flush=True)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        print(f"trial {trial.trial_id} failed: {trial.config}: its process died {_RETRIES + 1} times", flush=True)
