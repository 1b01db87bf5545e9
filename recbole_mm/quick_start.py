"""The main command, thin over RecBole's own ``run``: what it adds are defaults, checks, and a summary at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import Dataset
from recbole.quick_start import run as run_recbole_processes
from recbole.utils import get_model, get_trainer, init_logger, init_seed, set_color

from recbole_mm.configuration import DEFAULT_MODEL, checked_config, names_of_run
from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.data_folders import data_folder, given_folder, settings_file
from recbole_mm.ending import end, expected, naming_recboles_model
from recbole_mm.host.config import check_sources
from recbole_mm.host.datasets import data_set
from recbole_mm.host.distributed import check_processes, child_processes
from recbole_mm.host.logs import close_log
from recbole_mm.host.terminal import brief
from recbole_mm.io.arguments import ArgumentParser
from recbole_mm.io.folders import make_run_folders
from recbole_mm.io.names import closest
from recbole_mm.trainer.beginnings import check_beginning

_OF_PROCESSES = {"ip", "port", "world_size", "group_offset"}
_TRUST_FLAGS = {"--trust-plugins": "trust_plugins", "--trust-pickle": "trust_pickle"}


def main(argv: list[str] | None = None, program: str = "recbole-mm run") -> int:
    """Run the command; gives its exit code. Bad input is one line on standard error and code 2."""
    options, settings = _parse(sys.argv[1:] if argv is None else argv, program)
    return run_command(lambda: run(**options), settings)


def run_command(action: Callable[[], object], settings: list[str]) -> int:
    """Run a command whose configuration keys are `settings`; gives its exit code, :func:`end`'s after an error."""
    before, sys.argv[1:] = sys.argv[1:], settings  # RecBole's Config reads the rest of the command line itself
    try:
        action()
    except expected() as error:
        if "--state=DEBUG" in settings:
            raise
        return end(error)
    finally:
        sys.argv[1:] = before  # for runs that follow in this process
    return 0


def _parse(argv: list[str], program: str) -> tuple[dict[str, Any], list[str]]:
    parser = ArgumentParser(
        prog=program,
        description="Train and test a model of recbole_mm or RecBole.",
        epilog="Any other key of the configuration as --key=value, such as --prompt_num=2.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", "-m", help=f"model name (default: {DEFAULT_MODEL})")
    parser.add_argument("--dataset", "-d", help=f"data set (default: {DEFAULT_DATASET})")
    add_config_files(parser)
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine")
    parser.add_argument("--ip", default="localhost", help="address of the master process")
    parser.add_argument("--port", default="5678", help="port of the master process")
    parser.add_argument("--world_size", type=int, default=-1, help="processes over all machines")
    parser.add_argument("--group_offset", type=int, default=0, help="global rank of this machine's first process")
    parsed, rest = parse_with_settings(parser, argv)
    options = vars(parsed)
    options["config_file_list"] = config_files(options.pop("config_files"))
    return options, rest


def parse_with_settings(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The parser's own options, and the rest of the command line as ``--key=value``, each key once.

    A setting may also be given as ``--key value``, and one that is True as ``--key``.
    """
    for flag, key in _TRUST_FLAGS.items():
        parser.add_argument(flag, dest=key, action="store_true", help=f"the same as --{key}=True")
    options, rest = parser.parse_known_args(argv)
    settings = [f"--{key}=True" for key in _TRUST_FLAGS.values() if vars(options).pop(key)]
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument.startswith("--="):
            parser.error(f"'{argument}' is not understood; settings are given as --key=value")
        if "=" not in argument:
            argument += f"={'True' if not rest or rest[0].startswith('--') else rest.pop(0)}"
        settings.append(argument)
    keys = [argument.partition("=")[0] for argument in settings]
    for key in keys:
        if keys.count(key) > 1:
            parser.error(f"{key} is given twice")
    return options, settings


def add_config_files(parser: argparse.ArgumentParser) -> None:
    """Add `--config_files`, which :func:`config_files` reads."""
    parser.add_argument("--config_files", nargs="+", help="yaml files, separated by blanks")


def config_files(given: list[str] | None) -> list[str] | None:
    """Paths of `--config_files`: each argument, split at blanks except within the name of a file that is there."""
    found: list[str] = []
    for argument in given or ():
        words = argument.split(" ")
        while words:
            longest = next((n for n in range(len(words), 1, -1) if Path(" ".join(words[:n])).is_file()), 1)
            found.append(" ".join(words[:longest]))
            words = words[longest:]
    return [file for file in found if file] or None


def run(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
    nproc: int = 1,
    **processes: Any,
) -> dict[str, Any] | None:
    """RecBole's ``run`` after checking names and keys, and a summary; its result names `checkpoint` and `log` too.

    Where no model or data set is given, a file or `config_dict` may name it; the defaults are POWERec and ml-100k-mm.

    Raises:
        ValueError: as :func:`checked_config`, and for an unknown data set, naming the closest one there is.
        FileNotFoundError: a configuration file does not exist.
        OSError: a folder of the run cannot be written to.
        ChildProcessError: one of several processes was killed.
    """
    _check_arguments(saved, nproc, processes)
    config_file_list, config_dict = check_sources(config_file_list, config_dict)
    model, dataset = names_of_run(model, dataset, config_file_list, config_dict)
    config = _with_data(checked_config(model, dataset, config_file_list, config_dict), config_file_list, config_dict)
    config_dict["protocol"] = config["protocol"]
    check_beginning(config)
    make_run_folders(config)
    _tell_of_others(nproc, **processes)
    try:
        with naming_recboles_model(config):
            with brief(), child_processes():
                result = run_recbole_processes(model, dataset, config_file_list, config_dict, saved, nproc, **processes)
            _summarise(result)
    finally:
        close_log()
    return result


def _check_arguments(saved: Any, nproc: int, processes: dict[str, Any]) -> None:
    """Raise ValueError where :func:`run` has an argument of another type or name."""
    if not isinstance(saved, bool):
        raise ValueError(f"saved: {saved!r} is neither True nor False")
    if unknown := processes.keys() - _OF_PROCESSES:
        name = min(unknown)
        raise ValueError(f"run takes no argument {name!r}{closest(name, _OF_PROCESSES)}; settings go into config_dict")
    check_processes(nproc, **{key: value for key, value in processes.items() if key != "ip"})


def _with_data(config: Config, files: list[str], settings: dict[str, Any]) -> Config:
    """The Config of a run, its data found and their own settings below the user's files; completes `files`, `settings`.

    Raises ValueError where there is no such data set.
    """
    model, dataset = config["model"], config["dataset"]
    folder = data_folder(config)
    if given_folder(config) is None:
        settings["data_path"] = folder
    own_file = settings_file(dataset, folder)
    if own_file is None or any(own_file.samefile(file) for file in files):
        return config
    files.insert(0, str(own_file))
    return checked_config(model, dataset, files, settings)


def _tell_of_others(nproc: int, world_size: int = -1, ip: str = "localhost", port: str | int = 5678, **_: Any) -> None:
    """A run over several machines waits, without a word of torch's, until all have come."""
    if world_size > nproc:
        others = world_size - nproc
        print(f"waiting at {ip}:{port} for the {others} other processes of --world_size", file=sys.stderr, flush=True)


def objective_function(
    config_dict: dict[str, Any] | None = None,
    config_file_list: list[str] | None = None,
    saved: bool = True,
    begins: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """RecBole's objective for its ``HyperTuning``, except that it leaves the test split alone.

    A search must choose by validation; the test metrics of the winner follow after it
    (:func:`recbole_mm.tuning.search.winner_test_metrics`). Arguments as RecBole's, and `begins`, which is called
    with the checkpoint's file before the training.

    Returns:
        RecBole's dictionary, ``test_result`` empty, and ``checkpoint``, the file of the best epoch, one per call.
    """
    lists = {key: list(given) if isinstance(given, tuple) else given for key, given in (config_dict or {}).items()}
    config = Config(config_dict=lists, config_file_list=config_file_list)  # hyperopt makes tuples of lists
    init_logger(config)
    trainer, train_data, valid_data, _ = prepare_training(config)
    if begins is not None:
        begins(trainer.saved_model_file)
    score, result = trainer.fit(train_data, valid_data, verbose=False, saved=saved)
    return {
        "model": config["model"],
        "best_valid_score": score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": {metric: float(value) for metric, value in result.items()},
        "test_result": {},
        "checkpoint": trainer.saved_model_file,
    }


def prepare_training(config: Config, dataset: Dataset | None = None) -> tuple[Any, ...]:
    """Trainer, training, validation and test data of a configuration, seeded as RecBole's ``run_recbole`` does it.

    Args:
        config: of the run.
        dataset: the data set of this configuration, where the caller has it; it is loaded otherwise.
    """
    train_data, *evaluation_data = prepare_data(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, data_set(train_data)).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train_data)  # for an evaluation without a training before it
    return trainer, train_data, *evaluation_data


def prepare_data(config: Config, dataset: Dataset | None = None) -> tuple[Any, ...]:
    """Training, validation and test data of a configuration, split as :func:`prepare_training` does it."""
    init_seed(config["seed"], config["reproducibility"])
    return data_preparation(config, create_dataset(config) if dataset is None else dataset)


def _summarise(result: dict[str, Any] | None) -> None:
    """The last lines: the test result, and the run's own files."""
    result = result or {}
    metrics = (result.get("test_result") or {}).items()
    lines: dict[str, Any] = {"test result": {metric: float(value) for metric, value in metrics}}
    files = {name: result.get(name) for name in ("checkpoint", "log")}
    lines |= {name: file for name, file in files.items() if file and Path(file).exists()}
    for name, value in lines.items():
        if value:
            print(f"{set_color(name, 'yellow') if sys.stdout.isatty() else name}: {value}")
