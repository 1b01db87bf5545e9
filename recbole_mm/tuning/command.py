"""``run_hyper_mm.py``: RecBole's run_hyper.py with checks before the first trial, and Ray beside Hyperopt."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from recbole_mm.configuration import DEFAULT_MODEL, names_of_run
from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.host.terminal import brief
from recbole_mm.io.arguments import ArgumentParser
from recbole_mm.io.files import check_is_no_input
from recbole_mm.io.folders import make_run_folder, make_run_folders
from recbole_mm.io.locks import only_holder
from recbole_mm.quick_start import add_config_files, config_files, parse_with_settings, run_command
from recbole_mm.search_space import find_hyper_file
from recbole_mm.tuning.hyperopt_search import ALGORITHMS, search_with_hyperopt, trials_file
from recbole_mm.tuning.search import Search, Winner, prepare_search

RESULT_FILE = Path("hyper_example.result")  # RecBole's own name for it


def main(argv: list[str] | None = None, program: str = "recbole-mm tune") -> int:
    """Run the command; gives its exit code. Bad input is one line on standard error and code 2."""
    options, settings = parse_with_settings(_parser(program), sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _run(options, [setting[2:].partition("=")[0] for setting in settings]), settings)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog=program,
        description="Search hyper-parameters of a model of recbole_mm or RecBole by its validation metric.",
        epilog="Any key of the configuration, the same for all trials, as --key=value, such as --epochs=50.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", "-m", help=f"model name (default: {DEFAULT_MODEL})")
    add("--dataset", "-d", help=f"data set (default: {DEFAULT_DATASET})")
    add_config_files(parser)
    add("--params_file", default=None, help=".hyper file, or the name of one of ours (default: the model's)")
    add("--tool", default="Hyperopt", choices=("Hyperopt", "Ray"), help="what searches (default: %(default)s)")
    add("--algo", default="exhaustive", choices=ALGORITHMS, help="what to try (default: %(default)s)")
    add("--max_evals", type=int, default=100, help="most trials of random and bayes (default: %(default)s)")
    add("--resume", action="store_true", help="go on with the same search, which did not end")
    add = parser.add_argument_group("with --tool=Hyperopt").add_argument
    add("--early_stop", type=int, help="random and bayes end after so many trials without a better one (default: 10)")
    add("--output_file", type=Path, help=f"result file (default: {RESULT_FILE})")
    add("--display_file", help="plot of the search, .html")
    add("--overwrite", action="store_true", default=None, help="begin anew, and delete what a killed search left")
    add = parser.add_argument_group("with --tool=Ray").add_argument
    add("--search_dir", type=Path, help="folder of the search (default: saved/search/MODEL-DATASET)")
    add("--ray_address", help="existing cluster, host:port or auto (default: Ray starts on this machine)")
    return parser


def _run(options: argparse.Namespace, fixed: list[str]) -> None:
    _check_options(options)
    files = config_files(options.config_files)
    options.model, options.dataset = names_of_run(options.model, options.dataset, files)
    search = prepare_search(options.model, options.dataset, files, options.params_file or options.model, fixed)
    sys.argv[1:] = []  # the search has it in its settings
    with brief(logging.WARNING):  # of the trials; the tools tell of themselves
        (_search_on_ray if options.tool == "Ray" else _search_here)(search, options)


def _check_options(options: argparse.Namespace) -> None:
    of_hyperopt = ("early_stop", "output_file", "display_file", "overwrite")
    options_of_tool = {"Hyperopt": of_hyperopt, "Ray": ("search_dir", "ray_address")}
    (other,) = set(options_of_tool) - {options.tool}
    for name in options_of_tool[other]:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is an option of --tool={other}, and this is --tool={options.tool}")
    if options.resume and options.overwrite:
        raise ValueError("--resume goes on with a search and --overwrite begins anew; leave one of the two out")
    if options.max_evals < 1 or (options.early_stop or 1) < 1:
        raise ValueError("--max_evals and --early_stop must be at least 1")


def _search_here(search: Search, options: argparse.Namespace) -> None:
    output_file = options.output_file or RESULT_FILE
    early_stop = options.early_stop or 10
    make_run_folders(search.config)
    make_run_folder(output_file.absolute().parent, "--output_file")
    files = map(Path, config_files(options.config_files) or ())
    inputs = [*files, find_hyper_file(options.params_file or options.model)]
    for written in (output_file, _best_file(output_file), trials_file(output_file)):
        check_is_no_input(written, "--output_file", inputs)
    if options.display_file:
        check_is_no_input(Path(options.display_file), "--display_file", inputs)
    lock = output_file.absolute().with_name(f".{output_file.name}.lock")
    try:
        with only_holder(lock, f"searching into {output_file}"):
            winner = search_with_hyperopt(
                search, output_file, options.algo, options.max_evals, early_stop, options.display_file,
                options.resume, bool(options.overwrite),
            )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the trials so far are in {output_file}; go on with the same command and --resume"
        ) from None
    best_file = _best_file(output_file)
    winner.write_yaml(best_file)
    _summarise(search, winner, {"results": output_file, "best settings": best_file})


def _best_file(output_file: Path) -> Path:
    return output_file.with_suffix(".best.yaml")


def _search_on_ray(search: Search, options: argparse.Namespace) -> None:
    from recbole_mm.tuning.ray_search import BEST_FILE, RESULTS_FILE, search_with_ray

    folder = options.search_dir or Path("saved") / "search" / f"{search.model}-{search.dataset}"
    make_run_folders(search.config)
    make_run_folder(folder.absolute().parent, "--search_dir")
    try:
        winner = search_with_ray(
            search, folder, options.algo, options.max_evals, options.resume, options.ray_address
        )
    except KeyboardInterrupt:
        has_begun = (folder / "search.json").is_file()
        raise KeyboardInterrupt("go on with the same command and --resume" if has_begun else "") from None
    _summarise(search, winner, {"results": folder / RESULTS_FILE, "best settings": folder / BEST_FILE})


def _summarise(search: Search, winner: Winner, files: dict[str, Path]) -> None:
    found = {parameter.name: winner.settings[parameter.name] for parameter in search.ranges}
    lines = {
        "best parameters": found,
        "valid result": {metric: float(value) for metric, value in winner.valid_result.items()},
        "test result": winner.test_result,
        "checkpoint": winner.checkpoint,
        **files,
    }
    for name, value in lines.items():
        print(f"{name}: {value}")
