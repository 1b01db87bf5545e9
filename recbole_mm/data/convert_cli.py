"""`convert auto SRC` and `convert LAYOUT SRC`: data sets of other layouts, and plain tables."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from recbole_mm.data.conversion.convert import Selection, convert_dataset
from recbole_mm.data.conversion.layout import SourceOptions
from recbole_mm.data.conversion.tables import is_table
from recbole_mm.data.conversion.target import check_target
from recbole_mm.data.converters import check_layout, converter_of, find_layout, load, recognise
from recbole_mm.registry import CONVERTERS

OUT = Path("dataset_atomic")


def add_layouts(layouts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `auto` and a command for each registered layout."""
    auto = layouts.add_parser("auto", help="recognise the layout, say what it is, and convert it")
    auto.set_defaults(layout=None)
    _add_options(auto)
    load()
    for name in CONVERTERS:
        parser = layouts.add_parser(name, help=CONVERTERS.entry(name).facts["help"])
        parser.set_defaults(layout=name)
        _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="folder or file")
    parser.add_argument("--name", help="of the data set (default: the source's, without its suffix)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of data sets (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder OUT/NAME with all it holds")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    columns = parser.add_argument_group("columns of a table (guessed and shown where not given)")
    for role in ("user", "item", "rating", "time"):
        left_out = "; none: leave it out" if role in ("rating", "time") else ""
        columns.add_argument(f"--{role}", metavar="COLUMN", help=f"of the {role}s{left_out}")
    columns.add_argument("--interactions", type=Path, metavar="FILE", help="table of the interactions")
    columns.add_argument("--items", type=Path, metavar="FILE", help="table of the items, with texts")
    kept = parser.add_argument_group("which interactions are kept, and how they are split")
    kept.add_argument("--min-rating", type=float, metavar="RATING", help="leave out those with a lower one")
    kept.add_argument("--duplicates", choices=("keep", "first", "last"), default="keep", help="of a user and an item")
    kept.add_argument("--k-core", type=int, default=0, metavar="K", help="K interactions of each user and item")
    kept.add_argument(
        "--split",
        choices=("keep", "none", "random", "leave-one-out", "time"),
        default="keep",
        help="keep: the source's, where it has one (default); random: per user; time: one moment for all",
    )
    kept.add_argument("--ratios", type=float, nargs=3, default=(0.8, 0.1, 0.1), metavar=("TRAIN", "VALID", "TEST"))
    kept.add_argument("--seed", type=int, default=2020, help="of the random split")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    layout, seen = _layout(args)
    options = SourceOptions(
        args.user, args.item, args.rating, args.time, args.interactions, args.items, args.name
    )  # fmt: skip
    converter = converter_of(layout)(args.source, options)
    name = _default_name(args.source) if args.name is None else args.name
    selection = Selection(args.min_rating, args.duplicates, args.k_core, args.split, tuple(args.ratios), args.seed)
    target = args.out / name
    plan = [f"Found {args.source}: layout {layout}" + (f" ({seen})" if seen else "")]
    plan += [f"  {line}" for line in converter.plan()] if args.source.exists() else []
    plan.append(f"  {selection.shown()}; to {target}")
    if args.dry_run:
        check_target(args.source, name, target, args.overwrite, (args.interactions, args.items))
        print("\n".join([*plan, "Nothing was written (--dry-run)."]))
        return 0
    if args.source.exists():
        print("\n".join(plan), flush=True)
    report = convert_dataset(converter, name, args.out, selection, overwrite=args.overwrite)
    print("\n".join(report.lines()))
    print(f"Wrote {target}: {', '.join(sorted(path.name for path in target.iterdir()))}")
    model = "POWERec" if report.modalities else "LightGCN"
    run = shlex.join(["recbole-mm", "run", f"--model={model}", f"--dataset={name}", f"--data_path={args.out}"])
    for step in [shlex.join(["recbole-mm", "describe", str(target)]), *report.next_steps, run]:
        print(f"Next: {step}")
    return 0


def _layout(args: argparse.Namespace) -> tuple[str, str]:
    """The layout, and what was seen of it."""
    if args.layout is None:
        named = args.user is not None and args.item is not None and args.source.is_file() and is_table(args.source)
        if named and not recognise(args.source):
            return "table", "columns as named"
        return find_layout(args.source)
    converter = check_layout(args.layout, args.source)
    return args.layout, (converter.recognise(args.source) or "") if args.source.exists() else ""


def _default_name(source: Path) -> str:
    """The name of the folder, or of the file without its suffixes."""
    source = source.absolute()
    name = source.name
    if not source.is_dir():
        for suffix in (".gz", ".jsonl", ".json", source.suffix):
            name = name.removesuffix(suffix)
    return name
