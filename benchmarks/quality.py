"""Recall and NDCG of trained models: ``python benchmarks/quality.py --data FOLDER --dataset tiktok --models
BPR POWERec``.

Each model trains to its early stop from its own yaml, in an interpreter of its own, and is tested at its
best validation epoch, training items masked (``eval_history: train``). RecBole's own models get the
settings below. Finished runs stand in `results/quality-<dataset>.jsonl` and are not repeated; one of our
models that was killed goes on from its best epoch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import harness
import numpy as np
import yaml
from machine import memory, versions
from shapes import DATA

COMMON = {"eval_history": "train"}
FOR_RECBOLE_MODELS = {
    "embedding_size": 64,
    "learning_rate": 0.001,
    "train_batch_size": 2048,
    "epochs": 1000,
    "stopping_step": 20,
    "metrics": ["Recall", "NDCG"],
    "topk": [10, 20],
    "valid_metric": "Recall@20",
}
PUBLISHED = {"LightGCN": {"n_layers": 2, "reg_weight": 1e-4}}
BEGINS_WITH = "stage_one_checkpoint"
METRICS = ("Recall@10", "Recall@20", "NDCG@10", "NDCG@20")
EXPLANATION = """\
Test metrics of {dataset} at the best validation epoch, training items masked, validation items not. Every
model trains to its early stop with the settings of its yaml; RecBole's own with {recbole}, and LightGCN
with {lightgcn}."""


def train(model: str, folder: str, settings: dict, weights_to: str | None = None) -> dict:
    """Train a model to its early stop and test it. Runs in an interpreter of its own.

    Args:
        weights_to: where its best weights are kept, a `.safetensors` with its `.json` beside it.
    """
    from recbole_mm import MODELS
    from recbole_mm.registration import variants

    imported = memory().now
    ours = model in MODELS or model in variants()
    own = _ending(model) if ours else {**FOR_RECBOLE_MODELS, **PUBLISHED.get(model, {})}
    newest = max(Path("saved").glob("*.pth"), key=lambda file: file.stat().st_mtime, default=None)
    if newest is not None and ours and not MODELS.entry(variants().get(model, model)).facts["staged"]:
        own = {**own, "resume_from": str(newest)}
    run = harness.start(model, Path(folder), **COMMON, **{**own, **settings})
    epochs, first_epoch, best_epoch, train_epoch = [], None, 0, run.trainer._train_epoch

    def timed_epoch(train_data, epoch, *arguments, **keywords):
        nonlocal first_epoch, best_epoch
        if first_epoch is None:
            first_epoch = best_epoch = epoch  # a resumed run goes on from its best
        started = time.perf_counter()
        loss = train_epoch(train_data, epoch, *arguments, **keywords)
        epochs.append(time.perf_counter() - started)
        return loss

    def note_best(epoch, valid_score):
        nonlocal best_epoch
        if run.trainer.cur_step == 0:  # RecBole counts the evaluations since the best
            best_epoch = first_epoch + len(epochs)

    run.trainer._train_epoch = timed_epoch
    valid_score, _ = run.trainer.fit(run.train_data, run.valid_data, verbose=False, callback_fn=note_best)
    per_user = _keep_per_user(run.trainer.evaluator)
    test = run.trainer.evaluate(run.test_data, load_best_model=True)
    if weights_to is not None:
        for suffix in (".json", ".safetensors"):
            best = Path(run.trainer.saved_model_file).with_suffix(suffix)
            shutil.copy(best, Path(weights_to).with_suffix(suffix))
    return {
        "test": {name.lower(): float(value) for name, value in test.items()},
        "valid_metric": run.config["valid_metric"],
        "valid_score": float(valid_score),
        "best_epoch": best_epoch,
        "epochs": first_epoch + len(epochs),
        "seconds_per_epoch": median(epochs),
        "peak": memory().peak,
        "above_import": memory().peak - imported,
        "per_user": per_user,
    }


def _ending(model: str) -> dict:
    """When the model itself ends training, as published, which the properties of a data set may override."""
    from recbole_mm.setting_rules import model_settings

    own = model_settings(model)
    settings = {**own[-1].default_values(), **own[-1].published} if own else {}
    return {key: settings[key] for key in ("epochs", "stopping_step") if key in settings}


def _keep_per_user(evaluator) -> dict[str, list[float]]:
    """Filled at the next evaluation: each test user's value of the metrics a paired test is made of."""
    kept: dict[str, list[float]] = {}
    evaluate = evaluator.evaluate

    def evaluate_and_keep(struct):
        for metric in ("recall", "ndcg"):
            one = evaluator.metric_class[metric]
            kept[f"{metric}@20"] = one.metric_info(*one.used_info(struct))[:, 19].tolist()
        return evaluate(struct)

    evaluator.evaluate = evaluate_and_keep
    return kept


def finish(
    jobs: Iterable[tuple[str, int, dict]], folder: Path, again: bool = False, per_user: bool = False
) -> bool:
    """Run what is not finished of some jobs, each a model, a seed and settings; gives whether all went well.

    A job whose ``stage_one_checkpoint`` is a mapping begins with the weights of an earlier job, which has these
    settings and the same model and seed. Such weights stay on this machine, beside the values per user; where they are
    missing, the earlier job runs once more.

    Args:
        again: also what is finished.
        per_user: also what is finished, but has its values per user not on this machine.
    """

    def is_finished(key: dict) -> bool:
        here = not per_user or per_user_file(folder, key).is_file()
        return here and not again and any(is_of(row, key) for row in rows_of(folder))

    file, done = _results(folder), True
    keys = [{"model": model, "seed": seed, "settings": settings} for model, seed, settings in jobs]
    waiting = [key for key in keys if BEGINS_WITH in key["settings"] and not is_finished(key)]
    begun_with = [{**key, "settings": key["settings"][BEGINS_WITH]} for key in waiting]
    for key in keys:
        model, seed, settings = key.values()
        weights = _weights_file(folder, key) if key in begun_with else None
        if is_finished(key) and (weights is None or weights.is_file()):
            print(f"{model}, seed {seed}, {settings}: finished before")
            continue
        try:
            result = harness.call_alone(
                train,
                keep=DATA / "runs" / _name(folder, key),
                model=model,
                folder=str(folder),
                settings={**settings, **_stage_one(folder, key), "seed": seed},
                weights_to=None if weights is None else str(weights),
            )
        except RuntimeError as error:
            print(f"{model}, seed {seed}, {settings} failed: {error}", file=sys.stderr)
            done = False
            continue
        values = per_user_file(folder, key)
        values.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(values, **{name: np.asarray(one) for name, one in result.pop("per_user").items()})
        rows = [row for row in rows_of(folder) if not is_of(row, key)] + [{**key, **result, "versions": versions()}]
        harness.write_file(file, "".join(json.dumps(row) + "\n" for row in rows))
        print(f"{model}, seed {seed}, {settings}: {result['test']}", flush=True)
    return done


def _stage_one(folder: Path, key: dict) -> dict[str, str]:
    """The checkpoint that a job begins with, where its settings name the job it is of."""
    begins_with = key["settings"].get(BEGINS_WITH)
    return {} if begins_with is None else {BEGINS_WITH: str(_weights_file(folder, {**key, "settings": begins_with}))}


def rows_of(folder: Path) -> list[dict]:
    """The finished runs on a data set."""
    file = _results(folder)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def is_of(row: dict, key: dict) -> bool:
    """Whether a row is of the run that `key` (model, seed, settings) names."""
    return all(row[name] == value for name, value in key.items())


def per_user_file(folder: Path, key: dict) -> Path:
    """Where each test user's metrics of a run are: beside the other data of the benchmarks, not among the results."""
    return DATA / "per-user" / f"{_name(folder, key)}.npz"


def _weights_file(folder: Path, key: dict) -> Path:
    file = DATA / "weights" / f"{_name(folder, key)}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _name(folder: Path, key: dict) -> str:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    return f"{folder.name}-{key['model']}-{key['seed']}-{digest}"


def _results(folder: Path) -> Path:
    return harness.RESULTS / f"quality-{folder.name}.jsonl"


def main() -> int:
    """The command; gives its exit code."""
    arguments = _parse()
    folder = arguments.data.resolve() / arguments.dataset
    if not folder.is_dir():
        print(f"error: there is no data set {folder}; --data is the folder that holds it", file=sys.stderr)
        return 2
    jobs = [(model, seed, dict(arguments.set)) for model in arguments.models for seed in arguments.seeds]
    done = finish(jobs, folder, arguments.again)
    _write_table(arguments.dataset, rows_of(folder))
    return int(not done)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data set's folder")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", nargs="+", required=True, help="names of models, ours or RecBole's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020], help="default: %(default)s")
    add_settings(parser)
    parser.add_argument("--again", action="store_true", help="repeat runs that are finished")
    return parser.parse_args()


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The option ``--set KEY=VALUE ...``, which parses to pairs."""
    parser.add_argument(
        "--set", nargs="+", default=[], type=_setting, metavar="KEY=VALUE", help="settings for all of these models"
    )


def _setting(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not understood; settings are given as key=value")
    return key, yaml.safe_load(value)


def _models_as_published_first(row: dict) -> tuple:
    return bool(row["settings"]), row["model"].lower(), row["seed"], json.dumps(row["settings"])


def _write_table(dataset: str, rows: list[dict]) -> None:
    header = ["model", "seed", *METRICS, "best epoch", "s / epoch", "peak MB", "date", "settings"]
    cells = [
        [
            row["model"],
            row["seed"],
            *(f"{row['test'][metric.lower()]:.4f}" for metric in METRICS),
            row["best_epoch"],
            f"{row['seconds_per_epoch']:.2f}",
            f"{row['peak']:.0f}",
            row["versions"]["date"],
            ", ".join(f"{key}: {value}" for key, value in row["settings"].items()),
        ]
        for row in sorted(rows, key=_models_as_published_first)
    ]
    recbole, lightgcn = (
        ", ".join(f"{key}: {value}" for key, value in one.items())
        for one in (FOR_RECBOLE_MODELS, PUBLISHED["LightGCN"])
    )
    table = harness.table(header, cells)
    explanation = EXPLANATION.format(dataset=dataset, recbole=recbole, lightgcn=lightgcn)
    here = {name: value for name, value in versions().items() if name != "date"}
    path = harness.write_results(
        f"quality-{dataset}", f"# Quality on {dataset}", harness.versions_line(here), explanation, table
    )
    print(f"{table}\n\n{path}")


if __name__ == "__main__":
    sys.exit(main())
