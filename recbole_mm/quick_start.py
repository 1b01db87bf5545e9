"""The main command, thin over RecBole's own ``run``: what it adds are defaults, checks, and a summary at the end."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import run as run_recbole_processes
from recbole.utils import get_model, get_trainer, init_logger, init_seed, set_color
from torch.multiprocessing import ProcessRaisedException

from recbole_mm.data.default_data import DEFAULT_DATASET, build_default_data
from recbole_mm.distributed import own_error
from recbole_mm.model.base import LATE_FUSION_KEYS, MultimodalRecommender, no_late_fusion
from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.registration import model_yaml, recbole_models, recbole_properties_dir, variants
from recbole_mm.registry import MODELS, closest
from recbole_mm.trainer.checkpoint import KEYS_OF_THE_PROCESSES, one_line

DATA_PATHS = ("dataset_atomic", "dataset")
_KEYS_OF_THE_LAUNCHER = {
    *KEYS_OF_THE_PROCESSES, "model", "dataset", "config_files", "single_spec", "device", "verbose",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the command; gives its exit code. Bad input is one line on standard error and code 2."""
    options, settings = _parse(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: run(**options), settings)


def run_command(action: Callable[[], object], settings: list[str]) -> int:
    """Run a command whose configuration keys are `settings`; its exit code, 2 after bad input, which it prints."""
    sys.argv[1:] = settings  # RecBole's Config reads the rest of the command line itself
    try:
        action()
    except (ValueError, NotImplementedError, OSError) as error:
        if "--state=DEBUG" in settings:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(argv: list[str]) -> tuple[dict, list[str]]:
    parser = argparse.ArgumentParser(
        prog="run_recbole_mm.py",
        description="Train and test a model of recbole_mm or RecBole.",
        epilog="Any other key of the configuration as --key=value, such as --prompt_num=2.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", "-m", default="POWERec", help="model name (default: %(default)s)")
    parser.add_argument("--dataset", "-d", default=DEFAULT_DATASET, help="data set (default: %(default)s)")
    parser.add_argument("--config_files", default=None, help="yaml files, separated by blanks")
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine")
    parser.add_argument("--ip", default="localhost", help="address of the master process")
    parser.add_argument("--port", default="5678", help="port of the master process")
    parser.add_argument("--world_size", type=int, default=-1, help="processes over all machines")
    parser.add_argument("--group_offset", type=int, default=0, help="global rank of this machine's first process")
    options, rest = parse_with_settings(parser, argv)
    options = vars(options)
    options["config_file_list"] = (options.pop("config_files") or "").split() or None
    return options, rest


def parse_with_settings(
    parser: argparse.ArgumentParser, argv: list[str]
) -> tuple[argparse.Namespace, list[str]]:
    """The parser's own options, and the rest of the command line, which must be ``--key=value``, each key once."""
    options, rest = parser.parse_known_args(argv)
    for argument in rest:
        if not argument.startswith("--") or argument.count("=") != 1:
            parser.error(f"'{argument}' is not understood; settings are given as --key=value")
    keys = [argument.partition("=")[0] for argument in rest]
    for key in keys:
        if keys.count(key) > 1:
            parser.error(f"{key} is given twice")
    return options, rest


def run(model, dataset, config_file_list=None, config_dict=None, saved=True, nproc=1, **processes):
    """RecBole's ``run`` (same arguments and result) after checking names and keys, with a summary at the end.

    Raises:
        ValueError: unknown model, data set or configuration key, whose message names the closest one there is; or a
            configuration file that is no yaml.
        FileNotFoundError: a configuration file does not exist.
    """
    config_dict = {**(config_dict or {})}
    config = checked_config(model, dataset, config_file_list, config_dict)
    if "data_path" not in config.external_config_dict:
        config_dict["data_path"] = find_data(dataset)
    started = time.time()
    try:
        result = run_recbole_processes(model, dataset, config_file_list, config_dict, saved, nproc, **processes)
    except ProcessRaisedException as error:
        message = own_error(error)
        if message is None:
            raise
        raise ValueError(message) from error
    _summarise(result, config, started)
    return result


def checked_config(model: str, dataset: str, config_file_list=None, config_dict=None) -> Config:
    """RecBole's Config of a run, after checking the names, the files and the keys; raises as :func:`run`."""
    for file in config_file_list or ():
        check_config_file(file)
    config = make_config(model, dataset, config_file_list, config_dict)
    if issubclass(config.model_class, MultimodalRecommender):
        config.model_class.check_backbone(config)  # whose yaml has keys that come next
    check_feature_adapter(config)
    check_keys(config, config.external_config_dict)
    check_valid_metric(config)
    return config


def make_config(model: str, dataset: str, config_file_list=None, config_dict=None) -> Config:
    """RecBole's Config, which imports plugins before it looks for the model; raises as :func:`check_model`."""
    try:
        return Config(model, dataset, config_file_list, config_dict)
    except (ValueError, ImportError, AttributeError):  # as RecBole ends where it finds no model of that name
        check_model(model)
        raise


def objective_function(config_dict=None, config_file_list=None, saved=True):
    """RecBole's objective for its ``HyperTuning``, except that it leaves the test split alone.

    A search must choose by validation; the test metrics of the winner follow after it
    (:func:`recbole_mm.tuning.search.winner_test_metrics`). Arguments as RecBole's.

    Returns:
        RecBole's dictionary, ``test_result`` empty, and ``checkpoint``, the file of the best epoch, one per call.
    """
    lists = {key: list(one) if isinstance(one, tuple) else one for key, one in (config_dict or {}).items()}
    config = Config(config_dict=lists, config_file_list=config_file_list)  # hyperopt makes tuples of lists
    restart_log(config)
    trainer, train_data, valid_data, _ = prepare_training(config)
    trainer.saved_model_file = str(_unused(Path(trainer.saved_model_file)))
    score, result = trainer.fit(train_data, valid_data, verbose=False, saved=saved)
    return {
        "model": config["model"],
        "best_valid_score": score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": result,
        "test_result": {},
        "checkpoint": trainer.saved_model_file,
    }


def prepare_training(config: Config, dataset=None):
    """Trainer, training, validation and test data of a configuration, seeded as RecBole's ``run_recbole`` does it.

    Args:
        config: of the run.
        dataset: the data set of this configuration, where the caller has it; it is loaded otherwise.
    """
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config) if dataset is None else dataset
    train_data, *evaluation_data = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    return get_trainer(config["MODEL_TYPE"], config["model"])(config, model), train_data, *evaluation_data


def restart_log(config: Config) -> None:
    """Close the log of the run before, if any, and open one for this run."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            handler.close()
    init_logger(config)


def _unused(path: Path) -> Path:
    """RecBole names checkpoints by the second; this is `path`, or where it is taken, the first free number after it."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return path if not path.exists() else next(name for name in names if not name.exists())


def check_model(name: str) -> None:
    """Raise ValueError listing the models there are, and the closest name, if `name` is none of them."""
    ours = sorted({*MODELS, *variants()})
    known = {*ours, *recbole_models()}
    if name not in known:
        raise ValueError(
            f"unknown model '{name}'{closest(name, known)}. Multimodal models: {', '.join(ours)}. "
            f"RecBole's: {', '.join(recbole_models())}"
        )


def check_feature_adapter(config: Config) -> None:
    """Raise ValueError where ``feature_adapter`` is not registered, or the model is RecBole's own."""
    if adapter_class(config["feature_adapter"]) and not issubclass(config.model_class, MultimodalRecommender):
        raise ValueError(
            f"feature_adapter: {config.model} is RecBole's own model, which reads no features; leave the key out"
        )


def check_config_file(file: str) -> None:
    """Raise FileNotFoundError or ValueError unless `file` is there and holds ``key: value`` lines."""
    if not Path(file).is_file():
        raise FileNotFoundError(f"configuration file {file} does not exist")
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=yaml.FullLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"configuration file {file} is no yaml: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"configuration file {file} holds no settings; it needs lines such as 'epochs: 10'")


def check_keys(config: Config, keys: Iterable[str], where: str = "") -> None:
    """Raise ValueError for one of `keys` that neither RecBole nor the model knows: a misspelt key is lost.

    A model of a user's own has no yaml that names its keys, and takes any.

    Args:
        config: of the model and data set.
        keys: to check, such as those a user set.
        where: they stand, for the message, such as ``"file x: "``.
    """
    if config.model not in recbole_models() and not model_yaml(config.model).is_file():
        return
    known = set(config.internal_config_dict) | _KEYS_OF_THE_LAUNCHER
    known.update(key for keys in config.parameters.values() for key in keys)
    adapter = adapter_class(config["feature_adapter"])
    known.update(adapter.keys if adapter else ())
    for key in keys:
        if key not in known and key in LATE_FUSION_KEYS:
            raise ValueError(f"{where}{no_late_fusion(config.model, key)}")
        if key not in known:
            raise ValueError(
                f"{where}unknown key '{key}'{closest(key, known)}; {config.model} takes the keys of its yaml, of "
                f"RecBole's overall.yaml and of the data set"
            )


def check_valid_metric(config: Config) -> None:
    """Raise ValueError where model selection asks for a metric that is not measured; RecBole asks after an epoch."""
    metric, _, k = config["valid_metric"].partition("@")
    measured = [name.lower() for name in config["metrics"]]
    if metric.lower() not in measured or (k and k not in map(str, config["topk"])):
        raise ValueError(
            f"valid_metric: {config['valid_metric']} is not measured; set it to one of `metrics` {config['metrics']} "
            f"at one of `topk` {config['topk']}, or add it there"
        )


def find_data(dataset: str) -> str:
    """Folder that holds `dataset`; builds the default data set on first use.

    Raises ValueError where there is no such data set, listing those there are.
    """
    if dataset == DEFAULT_DATASET and not (Path("dataset") / dataset).is_dir():
        build_default_data(Path(DATA_PATHS[0]))
    folders = [Path(path) for path in DATA_PATHS if Path(path).is_dir()]
    for folder in folders:
        if (folder / dataset).is_dir():
            return str(folder)
    found = (child.name for folder in folders for child in folder.iterdir() if child.is_dir())
    there = {DEFAULT_DATASET, "ml-100k", *found}
    urls = yaml.safe_load((recbole_properties_dir() / "dataset" / "url.yaml").read_text(encoding="utf-8"))
    if dataset not in there | set(urls):
        raise ValueError(
            f"unknown data set '{dataset}'{closest(dataset, there | set(urls))}. In {' and '.join(DATA_PATHS)}: "
            f"{', '.join(sorted(there))}. Set data_path for another folder; RecBole can download {len(urls)} more"
        )
    return "dataset"


def _summarise(result: dict | None, config: Config, started: float) -> None:
    """The last lines: the test result and where everything is."""
    resumed = config["resume_from"] and Path(config["resume_from"])
    if resumed:  # its folder is where the run goes on; from an earlier stage, under another name
        checkpoints = resumed.parent.glob(f"{resumed.stem.removesuffix('-stage-one')}*.pth")
    else:
        checkpoints = Path(config["checkpoint_dir"]).glob(f"{config.model}-*.pth")
    logs = Path("log", config.model).resolve().glob("*.log")  # RecBole's place; its other processes write it too
    measured = {metric: float(value) for metric, value in ((result or {}).get("test_result") or {}).items()}
    lines = {
        "test result": measured,
        # a resumed run writes its checkpoint again only where it gets better
        "checkpoint": _newest(checkpoints, started) or resumed,
        "log": _newest(logs, started),
    }
    for name, value in lines.items():
        if value:
            print(f"{set_color(name, 'yellow') if sys.stdout.isatty() else name}: {value}")


def _newest(files: Iterable[Path], since: float) -> Path | None:
    """The file last written, where that was after a time."""
    written = [(file.stat().st_mtime, file) for file in files]
    return max((one for one in written if one[0] >= since - 1), default=(since, None))[1]
