"""``recbole-mm recommend`` and ``export``: what a trained checkpoint is for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from recbole_mm.io.counting import counted
from recbole_mm.io.files import atomic_file, check_folder_writable, check_is_no_input, check_writable
from recbole_mm.load import OpenedCheckpoint, add_opening_options, open_checkpoint, opening_options, run_files
from recbole_mm.recommend.export import check_new_folder, export_vectors
from recbole_mm.recommend.ranking import SCHEMA, Ranker, read_users


def add_parsers(commands: Any) -> None:
    """Add `recommend` and `export`; each sets `run`, a function from the parsed arguments to an exit code."""
    recommend = _add(commands, "recommend", "the best items of every user, as a parquet or CSV file")
    recommend.add_argument("--out", type=Path, required=True, help=".parquet or .csv file: user, rank, item, score")
    recommend.add_argument("--k", type=int, default=20, help="items per user (default: %(default)s)")
    recommend.add_argument("--users", type=Path, help="text file with one user id a line (default: all users)")
    recommend.add_argument("--exclude", choices=("seen",), help="seen: leave out what the user interacted with")
    recommend.add_argument("--block_mb", type=int, default=256, help="memory of a block (default: %(default)s)")
    recommend.add_argument("--ray_address", help="rank on this Ray cluster, host:port, auto or local")
    recommend.set_defaults(run=run_recommend)
    export = _add(commands, "export", "user and item vectors whose dot product is the score")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write into")
    export.set_defaults(run=run_export)


def _add(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="any file of a run")
    add_opening_options(parser)
    return parser


def run_recommend(arguments: argparse.Namespace) -> int:
    """Write the recommendations; raises ValueError or OSError for bad input."""
    if arguments.k < 1 or arguments.block_mb < 1:
        raise ValueError("--k and --block_mb must be at least 1")
    check_is_no_input(arguments.out, "--out", [*run_files(arguments.checkpoint), *filter(None, [arguments.users])])
    check_writable(arguments.out)
    opened = open_checkpoint(arguments.checkpoint, **opening_options(arguments))
    check_is_no_input(arguments.out, "--out", opened.data_files())
    open_writer = _writer_of(arguments.out)
    users = read_users(arguments.users, opened.dataset)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with atomic_file(arguments.out) as temporary, open_writer(temporary, SCHEMA) as writer:
        for block in _blocks(arguments, opened, users):
            writer.write_table(block)
            rows += len(block)
    print(f"wrote {arguments.out}: {counted(rows, 'row')} of {counted(len(users), 'user')}")
    return 0


def _writer_of(file: Path) -> Callable[[Path, pa.Schema], Any]:
    """What opens a file for its name's suffix, parquet without one; raises ValueError for another."""
    if file.suffix.lower() in (".parquet", ".pq", ""):
        return pq.ParquetWriter
    if file.suffix.lower() == ".csv":
        return pa.csv.CSVWriter
    raise ValueError(f"--out: {file} is written as its name says; end it in .parquet or .csv")


def _blocks(arguments: argparse.Namespace, opened: OpenedCheckpoint, users: np.ndarray) -> Iterator[pa.Table]:
    exclude_seen = arguments.exclude == "seen"
    ranker = Ranker(opened, arguments.k, exclude_seen)
    block_bytes = arguments.block_mb << 20
    if arguments.ray_address is None:
        return ranker.blocks(users, block_bytes)
    from recbole_mm.recommend.ray_job import RankJob, ranked_blocks

    data_path = Path(opened.config["data_path"]).resolve().parent  # where it was found; a worker is elsewhere
    opening = {**opening_options(arguments), "data_path": data_path}
    job = RankJob(arguments.checkpoint.resolve(), opening, arguments.k, exclude_seen)
    return ranked_blocks(users, ranker.users_per_block(block_bytes), arguments.ray_address, job)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the vectors; raises ValueError or OSError for bad input."""
    check_is_no_input(arguments.out, "--out", run_files(arguments.checkpoint))
    check_new_folder(arguments.out)
    check_folder_writable(arguments.out.parent)
    opened = open_checkpoint(arguments.checkpoint, **opening_options(arguments))
    print(f"wrote {export_vectors(opened, arguments.out)}")
    return 0
