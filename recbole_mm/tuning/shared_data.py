"""One loaded data set for all trials of a node, in Ray's object store."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from recbole.config import Config
from recbole.data import create_dataset
from recbole.utils import init_seed

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.host.datasets import dataset_keys

KEYS_OF_THE_DATA = {*dataset_keys(), "seed", "repeatable", "dataset"}


@dataclass(frozen=True)
class SharedData:
    """A data set as arrays, which Ray hands to every process of a node in the same memory.

    Attributes:
        pickled: RecBole's data set without its features, of which each trial makes its own copy, ``uint8 [bytes]``.
        modalities: features and mask of each modality, read where they lie.
    """

    pickled: np.ndarray
    modalities: dict[str, tuple[np.ndarray, np.ndarray]]

    def dataset(self, config: Config) -> Any:
        """The data set for one trial's Config."""
        dataset = pickle.loads(self.pickled.data)
        dataset.config = config
        if self.modalities:
            dataset.borrow_modalities(self.modalities)
        return dataset


def load_shared_data(config: Config, searched: Iterable[str]) -> SharedData | None:
    """Load the data set of a search once; None where a searched parameter changes it and each trial must load its own.

    Args:
        config: of the search.
        searched: names of the parameters that trials vary.
    """
    if KEYS_OF_THE_DATA.intersection(searched):
        return None
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    modalities = dataset.modality_arrays() if isinstance(dataset, MultimodalDataset) else {}
    return SharedData(np.frombuffer(pickle.dumps(dataset, protocol=5), dtype=np.uint8), modalities)
