"""ASHA against the exhaustive search: ``python benchmarks/search.py --data FOLDER --dataset tiktok``.

24 settings of POWERec, two trials at a time, three searches of the same grid: every trial to its early stop, with
ASHA, and with ASHA but killed (SIGKILL) when half of the trials have begun and resumed. Hours on two cores; searches
that have ended stand in `results/search-<dataset>.json` and are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import harness
import yaml
from machine import versions

GRID = {"prompt_num": [1, 2, 3], "weak_weight": [0, 0.01, 0.1, 1], "reg_weight": [0.1, 1]}
SEARCHES = ("exhaustive", "asha", "asha, killed and resumed")
EXPLANATION = """\
{number} settings of POWERec on {dataset} ({grid}), two trials at a time, at most {epochs} epochs, chosen by
{metric} on validation data. Wall time of the whole command, Ray's start and the winner's test included; the killed
search lost its driver and Ray with SIGKILL when half of the trials had begun."""


def command(folder: Path, dataset: Path, settings: dict[str, str]) -> list[str]:
    """The search as a user types it."""
    config, grid = folder.parent / "fixed.yaml", folder.parent / "grid.hyper"
    config.write_text(yaml.safe_dump(harness.data_settings(dataset)), encoding="utf-8")
    grid.write_text("".join(f"{name} choice {values}\n" for name, values in GRID.items()), encoding="utf-8")
    options = {
        "model": "POWERec", "dataset": dataset.name, "data_path": dataset.parent, "config_files": config, "tool": "Ray",
        "params_file": grid, "search_dir": folder, "concurrent_trials": 2, "show_progress": False, **settings,
    }  # fmt: skip
    return [sys.executable, str(harness.ROOT / "run_hyper_mm.py"), *(f"--{k}={v}" for k, v in options.items())]


def search(folder: Path, dataset: Path, settings: dict[str, str], killed: bool = False) -> dict:
    """Run one search to its end: seconds, winner, score and how many trials ended how."""
    typed = command(folder, dataset, settings)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = open(folder.parent / f"{folder.name}.log", "a")  # noqa: SIM115  both processes write to it
    started = time.perf_counter()
    process = subprocess.Popen(typed, cwd=folder.parent, env=environment, stdout=log, stderr=log)
    if killed:
        begun = 0
        while begun < 12 and process.poll() is None:
            time.sleep(0.2)
            begun = len(list(folder.glob("trial-*/result.json")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(5)  # Ray's processes notice
        process = subprocess.Popen([*typed, "--resume"], cwd=folder.parent, env=environment, stdout=log, stderr=log)
    if process.wait():
        raise RuntimeError(f"the search ended with exit code {process.returncode}; see {log.name}")
    return {"seconds": time.perf_counter() - started, **outcome(folder)}


def outcome(folder: Path) -> dict:
    """What `results.csv` and `best.yaml` say."""
    with open(folder / "results.csv", newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    best = yaml.safe_load((folder / "best.yaml").read_text(encoding="utf-8"))
    winner = {name: best[name] for name in GRID}
    (score,) = (
        float(row["best_valid_score"]) for row in rows if all(float(row[name]) == winner[name] for name in GRID)
    )
    statuses = [row["status"] for row in rows]
    evaluations = sum(int(row["evaluations"]) for row in rows)
    return {
        "winner": winner, "score": score, "evaluations": evaluations,
        "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
    }  # fmt: skip


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data set's folder")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--work", type=Path, required=True, help="new folder for the searches")
    parser.add_argument("--epochs", type=int, default=1000, help="most epochs of a trial (default: %(default)s)")
    arguments = parser.parse_args()
    work, dataset = arguments.work.resolve(), arguments.data.resolve() / arguments.dataset
    work.mkdir(parents=True, exist_ok=True)
    file = harness.RESULTS / f"search-{arguments.dataset}.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in SEARCHES:
        if name in found:
            continue
        settings = {"epochs": arguments.epochs} | ({"asha_grace": 0} if name == "exhaustive" else {})
        folder = work / name.replace(", ", "-").replace(" ", "-")
        found[name] = search(folder, dataset, settings, killed="killed" in name) | {"epochs": arguments.epochs}
        harness.write_file(file, json.dumps(found, indent=2) + "\n")
        print(name, found[name], flush=True)
    _write_table(arguments.dataset, found)
    return 0


def _write_table(dataset: str, found: dict[str, dict]) -> None:
    whole = found["exhaustive"]
    rows = [
        [
            name,
            f"{one['seconds']:.0f}",
            f"{one['seconds'] / whole['seconds']:.2f}",
            one["evaluations"],
            ", ".join(f"{count} {status}" for status, count in one["statuses"].items()),
            ", ".join(f"{key} {value}" for key, value in one["winner"].items()),
            f"{one['score']:.4f}",
            f"{100 * (one['score'] / whole['score'] - 1):+.1f} %",
        ]
        for name, one in found.items()
    ]
    header = ["search", "seconds", "of exhaustive", "evaluations", "trials", "winner", "validation", "difference"]
    grid = ", ".join(f"{name} {values}" for name, values in GRID.items())
    number = sum(whole["statuses"].values())
    explanation = EXPLANATION.format(
        number=number, dataset=dataset, grid=grid, epochs=whole["epochs"], metric="NDCG@20"
    )
    table = harness.table(header, rows)
    line = harness.versions_line(versions())
    path = harness.write_results(f"search-{dataset}", f"# Searching on {dataset}", line, explanation, table)
    print(f"{table}\n\n{path}")


if __name__ == "__main__":
    sys.exit(main())
