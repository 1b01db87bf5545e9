"""The data commands: `convert` makes feature files and data sets, `describe` shows what is in one."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_mm.data.convert import convert_arrow, convert_npy
from recbole_mm.data.convert_cli import add_layouts
from recbole_mm.data.describe import describe
from recbole_mm.data.description_lines import format_description
from recbole_mm.io.files import is_folder

DATA_PATHS = (Path("dataset_atomic"), Path("dataset"))


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `convert` and `describe`; each sets `run`, a function from the parsed arguments to an exit code."""
    convert = subparsers.add_parser("convert", help="make feature files and data sets from other layouts")
    layouts = convert.add_subparsers(required=True, metavar="LAYOUT")
    add_layouts(layouts)
    _add_npy(layouts)
    _add_arrow(layouts)
    _add_describe(subparsers)


def _add_npy(layouts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = layouts.add_parser("npy", help="a NumPy array of features to one modality of a data set")
    parser.add_argument("features", type=Path, help=".npy file, one row for each item")
    parser.add_argument(
        "--ids", type=Path, required=True, help="text file with the item id of each row, one a line"
    )
    parser.add_argument("--modality", required=True, help="name of the modality, such as visual")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--zero-rows",
        choices=("keep", "missing"),
        default="keep",
        help="missing: a row of zeros is an item without features",
    )
    parser.add_argument("--encoder", help="what computed the features, noted in the file")
    parser.set_defaults(run=_run_npy)


def _run_npy(args: argparse.Namespace) -> int:
    path = convert_npy(
        args.features, args.ids, args.modality, args.dataset, zero_rows=args.zero_rows, encoder=args.encoder
    )
    return _report_modality(path, args.dataset)


def _add_arrow(layouts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = layouts.add_parser(
        "arrow", help="the text form of a modality to its binary form, which loads at once"
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--modality", required=True, help="name of the modality, such as visual")
    parser.set_defaults(run=_run_arrow)


def _run_arrow(args: argparse.Namespace) -> int:
    return _report_modality(convert_arrow(args.dataset, args.modality), args.dataset)


def _report_modality(path: Path, dataset_dir: Path) -> int:
    print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    print(f"Next: recbole-mm describe {dataset_dir}")
    return 0


def _add_describe(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "describe", help="users, items, sparsity, and the quality of each modality"
    )
    parser.add_argument("dataset", help="folder of a data set, or the name of one under --data_path")
    parser.add_argument(
        "--data_path", type=Path, help="folder of data sets (default: dataset_atomic, then dataset)"
    )
    parser.set_defaults(run=_run_describe)


def _run_describe(args: argparse.Namespace) -> int:
    print(format_description(describe(_find_dataset(args.dataset, args.data_path))))
    return 0


def _find_dataset(name: str, data_path: Path | None) -> Path:
    roots = DATA_PATHS if data_path is None else (data_path,)
    candidates = [Path(name), *(root / name for root in roots)]
    for folder in candidates:
        if is_folder(folder):
            return folder
    there = sorted(
        folder.name for root in roots if root.is_dir() for folder in root.iterdir() if folder.is_dir()
    )
    shown = ", ".join(folder for folder in there if not folder.startswith(".")) or "none"
    places = " nor ".join(str(root) for root in roots)
    raise FileNotFoundError(
        f"{name!r} is neither a folder nor a data set in {places}; data sets there: {shown}"
    )
