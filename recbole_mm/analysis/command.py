"""What the analyses share: their arguments, opening checkpoints, and writing figures and tables."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.analysis.figures import check_can_draw
from recbole_mm.io.files import atomic_file, check_folder_writable, check_is_no_input
from recbole_mm.load import OpenedCheckpoint, add_opening_options, open_checkpoint, opening_options, run_files
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.parts import Entry, place_of
from recbole_mm.trainer.checkpoint import OF_THE_RUN, settings

MOST_SETTINGS = 3  # in a checkpoint's label


def add_analysis(kinds: argparse._SubParsersAction[argparse.ArgumentParser], entry: Entry) -> None:
    """Add one registered analysis to the `analyse` command.

    Raises ValueError where its own options are none, such as one that all analyses have.
    """
    help = entry.facts["help"]
    parser = kinds.add_parser(entry.name, help=help, description=help)
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="any file of a run"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("analysis"), help="folder to write into (default: %(default)s)"
    )
    add_opening_options(parser)
    parser.set_defaults(run=partial(_run, entry))
    if entry.facts["options"] is not None:
        try:
            entry.facts["options"](parser)
        except (argparse.ArgumentError, TypeError) as error:
            raise ValueError(f"analysis '{entry.name}' of {entry.target.__module__}: its options: {error}") from error


def _run(entry: Entry, arguments: argparse.Namespace) -> int:
    check_can_draw()
    for checkpoint in arguments.checkpoints:
        check_is_no_input(arguments.out, "--out", run_files(checkpoint))
    check_folder_writable(arguments.out)
    opened = [open_checkpoint(file, **opening_options(arguments)) for file in arguments.checkpoints]
    written = entry.target(opened, arguments)
    if not isinstance(written, (list, tuple)) or not all(isinstance(file, (str, Path)) for file in written):
        raise ValueError(
            f"analysis '{entry.name}' ({place_of(entry.target)}) gave {written!r}; it is to return a list of the paths "
            f"of the files that it wrote"
        )
    for file in written:
        print(f"wrote {file}")
    return 0


def checkpoint_labels(checkpoints: list[OpenedCheckpoint]) -> list[str]:
    """The checkpoints' names in figures and tables: model and feature adapter, such as `FREEDOM + lora`.

    Checkpoints of the same are told apart by at most three settings that differ, such as `(seed: 1)`, else by file.

    Raises ValueError where a checkpoint is given twice.
    """
    files = _file_names([opened.path.resolve().with_suffix("") for opened in checkpoints])
    names = [_model_and_adapter(opened) for opened in checkpoints]
    groups = [[path for path, other in zip(checkpoints, names, strict=True) if other == name] for name in names]
    labels = [_with_settings(*parts) for parts in zip(names, checkpoints, groups, strict=True)]
    return [
        f"{name}, {file}" if labels.count(label) > 1 else label
        for name, label, file in zip(names, labels, files, strict=True)
    ]


def by_label(checkpoints: list[OpenedCheckpoint]) -> dict[str, OpenedCheckpoint]:
    """The checkpoints by what :func:`checkpoint_labels` calls them."""
    return dict(zip(checkpoint_labels(checkpoints), checkpoints, strict=True))


def _file_names(paths: list[Path]) -> list[str]:
    """As short as tells the files apart."""
    for n_parts in (1, 2, None):
        names = [str(path if n_parts is None else Path(*path.parts[-n_parts:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f"checkpoint {twice} is given twice")


def _model_and_adapter(opened: OpenedCheckpoint) -> str:
    config, name = opened.config, opened.config["model"]
    if isinstance(opened.model, BackboneModel):
        name = f"{name} over {config['backbone']}"
    adapter = config["feature_adapter"]
    return name if adapter in (None, "none") else f"{name} + {adapter}"


def _with_settings(name: str, opened: OpenedCheckpoint, others: list[OpenedCheckpoint]) -> str:
    """The name with the settings in which checkpoints differ; alone where they are none or too many to read."""
    keys = dict.fromkeys(key for other in others for key in ("dataset", *settings(other.config)))
    values = {key: {repr(other.config[key]) for other in others} for key in keys if key not in OF_THE_RUN}
    differing = [key for key, found in values.items() if len(found) > 1]
    if not 0 < len(differing) <= MOST_SETTINGS:
        return name
    return f"{name} ({', '.join(f'{key}: {opened.config[key]}' for key in differing)})"


def write_csv(file: Path, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table with a header line, and its folder where there is none; floats with six digits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as temporary, open(temporary, "w", newline="", encoding="utf-8") as sink:
        table = csv.writer(sink)
        table.writerow(header)
        for row in rows:
            table.writerow(f"{cell:.6g}" if isinstance(cell, (float, np.floating)) else cell for cell in row)
