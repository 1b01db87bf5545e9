"""Opening a checkpoint with its data and model, without unpickling unless asked to."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import load_data_and_model
from recbole.utils import get_model, init_seed

from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.host.config import StoredSettings
from recbole_mm.trainer.checkpoint import fingerprint, has_safe_pair, one_line, read_pickle, read_safe_pair


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


def open_checkpoint(
    file: str | Path, trust_pickle: bool = False, trust_plugins: bool = False
) -> OpenedCheckpoint:
    """Rebuild configuration, data set, splits and model of a checkpoint.

    Args:
        file: the `.pth`, or its `.safetensors` or `.json`.
        trust_plugins: import the modules that the checkpoint names under ``plugins``, which runs their code.
        trust_pickle: open a `.pth` that has no safe pair beside it, which runs whatever code is in it.

    Raises:
        FileNotFoundError: no such checkpoint, or its data set is not there, or a bare `.pth` without `trust_pickle`.
        ValueError: a damaged checkpoint, or the data set is no longer the one it was trained on.
    """
    path = Path(file)
    if trust_pickle and path.is_file() and not has_safe_pair(path):
        read_pickle(path)  # says clearly what is wrong with it, where load_data_and_model would not
        config, model, *data = load_data_and_model(str(path))
        return OpenedCheckpoint(path, config, model.eval(), *data)
    saved = read_safe_pair(path)
    config = Config(saved.model, saved.dataset, config_dict=StoredSettings(saved.settings, trust_plugins))
    if not Path(config["data_path"]).is_dir() and saved.dataset != DEFAULT_DATASET:
        raise FileNotFoundError(
            f"checkpoint {path} was trained on data set '{saved.dataset}' in {config['data_path']}, which is not "
            f"there; bring it back, or run this where that path leads to it"
        )
    init_seed(config["seed"], config["reproducibility"])
    logging.getLogger(__name__).info("Opening %s: %s on %s", path, saved.model, saved.dataset)
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    train_set = loaders[0]._dataset
    if saved.fingerprint is not None and fingerprint(train_set) != saved.fingerprint:
        raise ValueError(
            f"checkpoint {path} was trained on another version of data set '{saved.dataset}' than the one in "
            f"{config['data_path']}: its users, items or training interactions differ"
        )
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, train_set).to(config["device"])
    try:
        model.load_state_dict(saved.weights)
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint {path}: its weights do not fit its settings and the features ({one_line(error)})"
        ) from error
    model.load_other_parameter(saved.other_parameter)
    return OpenedCheckpoint(path, config, model.eval(), dataset, *loaders)
