"""What the benchmarks share: functions in interpreters of their own, models on data, files of results."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from machine import versions

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
AS_COMMANDS_SET = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "THP_MEM_ALLOC_ENABLE": "1"}
QUIET = {"show_progress": False, "state": "WARNING", "gpu_id": ""}


def call_alone(
    function: Callable[..., dict],
    environment: dict[str, str] | None = None,
    keep: Path | None = None,
    **arguments: Any,
) -> dict:
    """Call a function of a benchmark script in a fresh interpreter, so that its time and memory are its own.

    Arguments and result travel as JSON. The interpreter runs in a temporary folder, where RecBole's logs and
    checkpoints stay, with the variables that the project's commands set before torch loads.

    Args:
        environment: variables to set; an empty value unsets one.
        keep: a folder to run in instead; it goes when the function has ended well, and stays when it was killed.

    Raises:
        RuntimeError: the function failed; the message is the last line of its standard error.
    """
    script = Path(inspect.getsourcefile(function)).resolve()
    variables = {**AS_COMMANDS_SET, **os.environ, **(environment or {})}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {name: value for name, value in variables.items() if value}
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with nullcontext(keep) if keep is not None else tempfile.TemporaryDirectory() as folder:
        request = json.dumps([script.stem, function.__name__, arguments])
        command = [sys.executable, str(Path(__file__).resolve()), request, "result.json"]
        done = subprocess.run(
            command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"ended with exit code {done.returncode}")
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    if keep is not None:
        shutil.rmtree(keep)
    return result


def _answer(request: str, result_file: str) -> None:
    """The other end of :func:`call_alone`, in the fresh interpreter."""
    del sys.argv[1:]  # RecBole's Config reads the command line
    module, function, arguments = json.loads(request)
    result = getattr(importlib.import_module(module), function)(**arguments)
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


@dataclass(frozen=True)
class Run:
    """Everything RecBole makes on the way from a configuration to a trainer."""

    config: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any
    trainer: Any


def start(model: str, folder: Path, **settings: Any) -> Run:
    """Build data, model and trainer as RecBole's run_recbole does.

    Args:
        folder: the data set's own; where it holds ``<name>.train.inter`` its split is kept.
        settings: configuration keys.

    Raises:
        ValueError: there is no such model.
    """
    from recbole.config import Config

    from recbole_mm.quick_start import prepare_training

    settings = {**QUIET, **data_settings(folder), "data_path": str(folder.parent), **settings}
    trainer, *loaders = prepare_training(Config(model, folder.name, config_dict=settings))
    return Run(trainer.config, *loaders, trainer.model, trainer)


def shaped_data(shape: str, scale: float, data: Path) -> str:
    """Folder of a synthetic data set of :mod:`shapes`, made by another interpreter if need be."""
    return call_alone(_make, shape=shape, scale=scale, data=str(data))["folder"]


def _make(shape: str, scale: float, data: str) -> dict:
    import shapes

    return {"folder": str(shapes.make(shape, scale, Path(data)))}


def data_settings(folder: Path) -> dict[str, Any]:
    """The configuration of a data set: the file that `convert` left in its folder, else what its files say."""
    file = folder / f"{folder.name}.yaml"
    settings: dict[str, Any] = {"load_col": {"inter": ["user_id", "item_id"]}}
    if file.is_file():
        settings |= yaml.safe_load(file.read_text(encoding="utf-8"))
    elif (folder / f"{folder.name}.train.inter").is_file():
        settings["benchmark_filename"] = ["train", "valid", "test"]
    return settings


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def put_row(name: str, row: dict, *key: str) -> tuple[dict[str, str], list[dict]]:
    """Put a row into `results/<name>.json`; rows of other keys stay if versions do.

    Args:
        key: the cells that tell rows apart.

    Returns:
        the versions, and all rows in the order of their keys.
    """
    here = {cell: value for cell, value in versions().items() if cell != "date"}
    file = RESULTS / f"{name}.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = [entry for entry in content.get("rows", ()) if content["versions"] == here]
    rows = {tuple(entry[cell] for cell in key): entry for entry in [*kept, row]}
    ordered = [rows[key] for key in sorted(rows)]
    lines = ",\n".join(map(json.dumps, ordered))  # one a row, so that a difference shows what was measured anew
    write_file(file, f'{{"versions": {json.dumps(here)}, "rows": [\n{lines}\n]}}\n')
    return here, ordered


def write_results(name: str, *paragraphs: str) -> Path:
    """Write the Markdown file `results/<name>.md`; gives its path."""
    return write_file(RESULTS / f"{name}.md", "\n\n".join(paragraphs) + "\n")


def write_file(path: Path, text: str) -> Path:
    """Write a file of results; a failure leaves the previous one."""
    from recbole_mm.io.files import atomic_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def versions_line(versions: dict[str, str]) -> str:
    """One line of what :func:`machine.versions` gave."""
    return "Measured with " + ", ".join(f"{name} {value}" for name, value in versions.items()) + "."


if __name__ == "__main__":
    _answer(*sys.argv[1:])
