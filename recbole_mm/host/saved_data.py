"""RecBole's saved data sets and split data: pickles, which run the code in them when they are opened.

RecBole opens what ``dataset_save_path`` and ``dataloaders_save_path`` name, and unasked what lies under the default
names in ``checkpoint_dir`` (data/utils.py:59, 116).
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

import recbole.data.utils
from recbole.config import Config
from recbole.data.utils import create_dataset, load_split_dataloaders
from recbole.model.general_recommender import LDiffRec

from recbole_mm.host.mend import mend

# Keys under which RecBole finds pickles: its saved data, and pretrained parts of its models.
PICKLE_KEYS = (
    *("dataset_save_path", "dataloaders_save_path"),
    *("pre_model_path", "pretrain_path", "mf_pretrain_path", "mlp_pretrain_path", "warm_up"),
)

_SAVED_BY = {"dataset_save_path": "save_dataset", "dataloaders_save_path": "save_dataloaders"}


@cache
def apply() -> None:
    """Let RecBole unpickle nothing without ``trust_pickle``. Called once, at import."""
    recbole.data.utils.may_unpickle = may_unpickle
    recbole.data.utils.is_of_other_settings = is_of_other_settings
    mend(create_dataset, "if os.path.exists(file):", "if may_unpickle(config, file):")
    other = "if config[arg] != dataset.config[arg]:"
    mend(create_dataset, other, "if is_of_other_settings(config, dataset.config, arg, file):")
    other = "if config[arg] != train_data.config[arg]:"
    condition = "if is_of_other_settings(config, train_data.config, arg, dataloaders_save_path):"
    mend(load_split_dataloaders, other, condition)
    missing = "if not os.path.exists(dataloaders_save_path):"
    mend(load_split_dataloaders, missing, "if not may_unpickle(config, dataloaders_save_path):")
    mend(LDiffRec.__init__, "allow_pickle=True", "allow_pickle=False")  # an array of numbers needs none


def may_unpickle(config: Config, file: str) -> bool:
    """Whether RecBole may open a file of saved data: it is there, and the user trusts it.

    One of a default name that is not trusted is passed over, and the data are read from their own files.
    """
    if not os.path.exists(file):
        return False
    if not config["trust_pickle"]:
        logging.getLogger(__name__).warning(
            "%s is not opened: it is a pickle, and opening one runs the code in it; --trust_pickle=True opens it", file
        )
        return False
    return True


def is_of_other_settings(config: Config, saved: Config, key: str, file: str) -> bool:
    """Whether saved data have another value of a key than the run, in which case RecBole makes them anew: told."""
    if config[key] == saved[key]:
        return False
    logging.getLogger(__name__).warning(
        "%s is passed over: it was saved with %s: %s, and this run has %s", file, key, saved[key], config[key]
    )
    return True


def check_saved_data(final: dict[str, Any]) -> None:
    """Raise ValueError where saved data are named that are not there: RecBole would make them anew without a word.

    With ``save_dataset`` or ``save_dataloaders`` they may be about to be saved there.
    """
    for key, saving in _SAVED_BY.items():
        path = final.get(key)
        if path and not os.path.exists(path) and not final.get(saving):
            raise ValueError(f"{key}: there is no file {path}; correct the path, or leave the key out")


def check_trust(final: dict[str, Any]) -> None:
    """Raise ValueError where a setting names a pickle that the user does not say to trust."""
    for key in PICKLE_KEYS:
        path = final.get(key)
        if isinstance(path, str) and path and os.path.exists(path) and not final.get("trust_pickle"):
            raise ValueError(
                f"{key}: {path} is a pickle, and opening one runs the code in it; if you trust where it came from, add "
                f"--trust_pickle=True"
            )
