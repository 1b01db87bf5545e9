"""Opening a checkpoint with its data and model, without unpickling unless asked to."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, init_seed

from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.graph.cache import writing_nothing
from recbole_mm.host.config import StoredSettings
from recbole_mm.host.datasets import data_set
from recbole_mm.io.errors import one_line
from recbole_mm.io.run_files import RunFiles
from recbole_mm.model.recommender import Recommender
from recbole_mm.trainer.checkpoint import SafeCheckpoint, has_safe_pair, of_pickle, read_pickle, read_safe_pair
from recbole_mm.trainer.fingerprints import check_same_features, feature_fingerprints, fingerprint
from recbole_mm.trainer.resume import load_other_parameter

_WITHOUT_FOLDER = (DEFAULT_DATASET, "ml-100k")  # made on first use; part of RecBole


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A trained model in evaluation mode, with the data it was trained on, split as it was."""

    path: Path
    config: Config
    model: Any
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any

    def data_files(self) -> list[Path]:
        """The files that its data set may be read from."""
        folder = Path(self.config["data_path"])  # with the data set's name, which RecBole adds
        return [file for file in folder.iterdir() if file.name.startswith(f"{self.config['dataset']}.")]


def open_checkpoint(
    file: str | Path,
    trust_pickle: bool = False,
    data_path: str | Path | None = None,
    trust_plugins: bool = False,
    knock_out: dict[str, str] | None = None,
) -> OpenedCheckpoint:
    """Rebuild configuration, data set, splits and model of a checkpoint.

    Args:
        file: any of a run's files.
        trust_pickle: open a `.pth` that has no safe pair beside it, which runs whatever code is in it.
        data_path: folder that holds the data set's folder; without it, that of the training: as it was given there,
            from this working folder, then where that was, then where that is from the checkpoint's folder.
        trust_plugins: import the modules that the checkpoint names under ``plugins``, which runs their code.
        knock_out: as the key of the data set: modalities whose features are replaced, and whose graphs are built of the
            replaced ones; trained weights, trained features among them, are the checkpoint's.

    Raises:
        FileNotFoundError: no such checkpoint, or its data set is not there, or a bare `.pth` without `trust_pickle`.
        ValueError: a damaged checkpoint, weights that are not finite, or a data set or features that are no longer
            those it was trained on.
    """
    path = Path(file)
    if trust_pickle and path.exists() and not has_safe_pair(path):
        saved, config = _read_trusted(path, data_path)
    else:
        saved = read_safe_pair(path)
        settings = {**saved.settings, "data_path": _find_data(saved, data_path)}
        if saved.features and settings.get("modalities") is None:
            settings["modalities"] = list(saved.features)  # and no file that came later
        if knock_out is not None:
            settings["knock_out"] = knock_out
        settings["graph_dir"] = settings.get("graph_dir") or str(path.absolute().parent / "graphs")
        stored = StoredSettings(settings, trust_plugins, f"checkpoint {path}")
        with _settings_of(path):
            config = Config(saved.model, saved.dataset, config_dict=stored)
    _check_finite(saved)
    with _settings_of(path):
        return _rebuild(saved, config, has_own_features=knock_out is None)


@contextmanager
def _settings_of(path: Path) -> Iterator[None]:
    """Whatever RecBole, which checks few settings, ends with is one line about the file that holds them."""
    try:
        yield
    except OSError:
        raise
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"checkpoint {path}: {one_line(error)}") from error
    except Exception as error:
        logging.getLogger(__name__).debug("opening %s", path, exc_info=True)
        raise ValueError(
            f"checkpoint {path}: its settings and data give no model ({type(error).__name__}: {one_line(error)}); "
            "restore the file and the data set, or train again"
        ) from error


def add_opening_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that opens checkpoints, which are :func:`open_checkpoint`'s arguments."""
    parser.add_argument(
        "--trust-pickle", action="store_true", help="open a .pth without a safe pair, which runs the code in it"
    )
    parser.add_argument("--trust-plugins", action="store_true", help="import the modules that the checkpoint names")
    parser.add_argument(
        "--data_path", type=Path, metavar="DIR", help="folder of the data set's folder, where it is another by now"
    )


def run_files(checkpoint: str | Path) -> list[Path]:
    """The files of a run, any of which `checkpoint` is, and of its earlier stages; they need not be there."""
    files = RunFiles.of(checkpoint)
    return [file for stage_files in (files, *files.stages()) for file in stage_files.all]


def opening_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_opening_options` parsed, as arguments of :func:`open_checkpoint`."""
    return {name: getattr(arguments, name) for name in ("trust_pickle", "data_path", "trust_plugins")}


def _read_trusted(path: Path, data_path: str | Path | None) -> tuple[SafeCheckpoint, Config]:
    content = read_pickle(path)
    config = content["config"]
    if data_path is not None:
        config["data_path"] = str(Path(data_path) / config["dataset"])
    return of_pickle(path, content), config


def _find_data(saved: SafeCheckpoint, data_path: str | Path | None) -> str:
    stored = saved.settings.get("data_path")
    if data_path is not None:
        folders = [str(data_path)]
    else:
        folders = [*([stored] if isinstance(stored, str) else []), *saved.data_paths]
    for folder in folders:
        if (Path(folder) / saved.dataset).is_dir():
            return folder
    if data_path is None and saved.dataset in _WITHOUT_FOLDER:
        return "dataset_atomic"
    raise FileNotFoundError(
        f"checkpoint {saved.path} was trained on data set '{saved.dataset}', which is not in "
        f"{' or '.join(dict.fromkeys(folders)) or 'any folder it names'}; bring it back, or give --data_path the "
        f"folder that {saved.dataset}/ is in now"
    )


def _check_finite(saved: SafeCheckpoint) -> None:
    for name, weights in saved.weights.items():
        if weights.is_floating_point() and not torch.isfinite(weights).all():
            raise ValueError(
                f"checkpoint {saved.path}: {name} holds NaN or infinite weights, whose scores mean nothing: the "
                "training diverged; train again, with a lower learning_rate"
            )


def _rebuild(saved: SafeCheckpoint, config: Config, has_own_features: bool) -> OpenedCheckpoint:
    checkpoint = f"checkpoint {saved.path}"
    init_seed(config["seed"], config["reproducibility"])
    logging.getLogger(__name__).info("Opening %s: %s on %s", saved.path, saved.model, saved.dataset)
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    train_set = data_set(loaders[0])
    if saved.fingerprint is not None and fingerprint(train_set) != saved.fingerprint:
        raise ValueError(
            f"{checkpoint} was trained on another version of data set '{saved.dataset}' than the one in "
            f"{config['data_path']}: its users, items or training interactions differ"
        )
    init_seed(config["seed"], config["reproducibility"])
    with writing_nothing():
        model = get_model(config["model"])(config, train_set).to(config["device"])
    is_own = isinstance(model, Recommender)
    if is_own and has_own_features:
        check_same_features(checkpoint, saved.features, feature_fingerprints(model, train_set))
    try:
        model.load_state_dict(saved.weights)
    except RuntimeError as error:
        raise ValueError(
            f"{checkpoint}: its weights do not fit its settings and the features ({one_line(error)})"
        ) from error
    if is_own:
        load_other_parameter(model, saved.other_parameter, checkpoint)
    else:
        model.load_other_parameter(saved.other_parameter)
    return OpenedCheckpoint(saved.path, config, model.eval(), dataset, *loaders)
