"""The leak sentinel of a plan's data sets and of a checkpoint's: one check for each data set and modality."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from recbole_mm.configuration import checked_config
from recbole_mm.experiment.identity import digest
from recbole_mm.experiment.leaks import Leak, find_leaks
from recbole_mm.experiment.record import LeakRecord
from recbole_mm.experiment.rows import Row, modalities_of, without_paths
from recbole_mm.experiment.run import quiet, shared_dataset
from recbole_mm.host.datasets import data_set
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.quick_start import prepare_data
from recbole_mm.tuning.shared_data import KEYS_OF_THE_DATA

_OF_THE_SPLIT = KEYS_OF_THE_DATA | {"eval_args"}
_COLUMNS = ("modality", "leak", "T", "of all", "of training", "T of a leak", "items", "why")


@dataclass(frozen=True)
class LeakCheck:
    """What is checked: a modality's features, against the interactions of one split of its data set.

    Attributes:
        row: one that reads the modality; its settings of data are taken, and none of its model's.
        modality: its name.
        seed: of the split.
    """

    row: Row
    modality: str
    seed: int

    @property
    def name(self) -> str:
        """What it is called in the store: a hash of all that its result depends on."""
        own = {key: value for key, value in without_paths(self.row.settings).items() if key in _OF_THE_SPLIT}
        own.pop("modalities", None)  # others change nothing of this one
        return digest({"leak": self.modality, "dataset": self.row.dataset, "settings": own, "seed": self.seed})

    def __str__(self) -> str:
        return f"leak sentinel: {self.modality} of {self.row.dataset}"

    def record(self, leak: Leak | None = None, error: str = "") -> LeakRecord:
        """The row of ``leaks.parquet``."""
        found = {} if leak is None else {**asdict(leak), "verdict": leak.verdict, "excess": leak.excess}
        return LeakRecord(self.name, self.row.dataset, self.modality, self.seed, **found, error=error)


def leak_checks(rows: Iterable[Row], seed: int) -> list[LeakCheck]:
    """A check for each data set and modality that a row reads as it is, of the first row that does.

    Args:
        rows: of a plan.
        seed: whose split is looked at, where interactions are split by chance.
    """
    found: dict[tuple[str, str], LeakCheck] = {}
    for row in rows:
        for modality in modalities_of(row):
            if modality not in (row.settings.get("knock_out") or {}):
                found.setdefault((row.dataset, modality), LeakCheck(row, modality, seed))
    return list(found.values())


def run_leak_check(check: LeakCheck) -> LeakRecord:
    """What the sentinel says; an error becomes the record's, so that the experiment goes on."""
    sys.argv[1:] = []  # a worker's own, which RecBole's Config would read
    try:
        settings = {**check.row.settings, "seed": check.seed, "show_progress": False}
        config = checked_config(check.row.model, check.row.dataset, None, settings)
        quiet(config)
        parts = [data_set(loader) for loader in prepare_data(config, shared_dataset(config))]
        return check.record(leaks_of(parts, [check.modality], check.seed)[check.modality])
    except Exception as error:
        traceback.print_exc()
        return check.record(error=f"{type(error).__name__}: {error}")


def leaks_of(parts: list[Any], modalities: list[str], seed: int) -> dict[str, Leak]:
    """What the leak sentinel says of each modality; items without features of their own are left out.

    Args:
        parts: the data set of training, validation and test interactions.
        modalities: names.
        seed: of the run, see :func:`recbole_mm.experiment.leaks.find_leaks`.
    """
    dataset = parts[0]
    fields = dataset.iid_field, dataset.uid_field
    pairs = [np.stack([part.inter_feat[field].numpy() for field in fields]) for part in parts]
    shape = dataset.item_num, dataset.user_num
    training, whole = (
        csr_matrix((np.ones(each.shape[1]), each), shape=shape) for each in (_once(pairs[:1]), _once(pairs))
    )
    features = {}
    for name in modalities:
        table = dataset.modality_feature(name).numpy().astype(np.float64)
        table[~dataset.modality_mask(name).numpy()] = np.nan
        features[name] = table
    return find_leaks(training, whole, features, seed)


def leaks_of_checkpoint(opened: OpenedCheckpoint) -> dict[str, Leak]:
    """What the leak sentinel says of each modality that a trained model reads."""
    loaders = opened.train_data, opened.valid_data, opened.test_data
    return leaks_of([data_set(loader) for loader in loaders], opened.model.modalities, opened.config["seed"])


def _once(pairs: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(pairs, axis=1), axis=1)


def leaks_table(leaks: dict[str, Leak]) -> pd.DataFrame:
    """A row for each modality: the verdict, T and what it is made of, and what a verdict that is none lacks."""
    rows = [
        (name, leak.verdict, leak.excess, leak.of_all, leak.of_training, leak.reference, leak.n_items, leak.why)
        for name, leak in leaks.items()
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))
