"""The data set of every multimodal model: RecBole's, plus one aligned feature matrix per modality."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import set_color

from recbole_mm.data.alignment import align, check_coverage
from recbole_mm.data.default_data import DEFAULT_DATASET, build_default_data
from recbole_mm.data.dropped_items import drop_incomplete_items, drop_items_without_interactions
from recbole_mm.data.feature_file import find_modalities, has_modality, read_features
from recbole_mm.data.feature_scaling import FeatureScaling, check_magnitude
from recbole_mm.data.file_form import FileForm
from recbole_mm.data.hidden_features import hide
from recbole_mm.data.imputation import fill, policy_in_words, policy_of, reads_interactions
from recbole_mm.data.knock_out import knock_out
from recbole_mm.data.unread_forms import unused_arrays
from recbole_mm.graph import BipartiteGraph
from recbole_mm.io.names import closest


class MultimodalDataset(Dataset):
    """RecBole's Dataset whose items carry modality features, aligned to RecBole's internal item ids.

    The items are those with an interaction left after filtering: an item that only has features, or that filtering
    removed, is neither a candidate nor a node of any graph. Features are read from the files beside the `.inter` and
    never pickled: a saved data set, or one sent to a child process, reads them again where it is opened, so that a
    changed file is always noticed.

    Configuration keys: ``modalities`` (names; default: every modality file there is), ``missing_modality``
    (:mod:`recbole_mm.data.imputation`; what it takes of the training interactions its splits have, and not the data set
    before it is split), ``missing_share`` (:mod:`recbole_mm.data.hidden_features`), ``center_feature`` and
    ``standardize_feature`` (columns, over the items that have a row), ``normalize_feature`` (L2-normalise each row,
    after that), ``knock_out`` (:mod:`recbole_mm.data.knock_out`).
    """

    item_feat: pd.DataFrame | Interaction | None

    def __init__(self, config: Config):
        self._modalities: list[str] | None = None
        self._features: dict[str, torch.Tensor] = {}
        self._present: dict[str, torch.Tensor] = {}
        self._scalings: dict[str, FeatureScaling] = {}
        self._fingerprints: dict[str, str] = {}
        self._lent: set[str] = set()  # features that others read, so that nobody may change them
        self._training: BipartiteGraph | None = None
        super().__init__(config)

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities in use, in the order models see them."""
        if self._modalities is None:
            self._modalities = self._choose_modalities()
        return self._modalities

    def modality_feature(self, name: str) -> torch.Tensor:
        """Features of one modality: float32 ``[item_num, width]``; row 0 ([PAD]) is zero. Shared: do not change it."""
        self._require_modality(name, self._features)
        self._lent.add(name)
        return self._features[name]

    def take_modality_feature(self, name: str) -> torch.Tensor:
        """As :meth:`modality_feature`, for a caller who changes it: the data set gives it away.

        It reads the file again where it is asked again, so that trained features are not held twice.
        """
        self.modality_fingerprint(name)  # while the features are here
        self._require_modality(name, self._features)
        feature = self._features.pop(name)
        if name not in self._lent:
            return feature
        self._lent.discard(name)
        return feature.clone()

    def modality_fingerprint(self, name: str) -> str:
        """Hash of the features of one modality: of the items that have a row of their own, and what the others get."""
        if name not in self._fingerprints:
            self._require_modality(name, self._features)
            feature, present = self._features[name].numpy(), self.modality_mask(name).numpy()
            complete = present[1:].all()
            policy = "" if complete else policy_in_words(self.config)
            digest = hashlib.sha256(repr((feature.shape, policy)).encode())
            digest.update(present.tobytes())
            digest.update(np.ascontiguousarray(feature if complete else feature[present]).data)
            self._fingerprints[name] = digest.hexdigest()
        return self._fingerprints[name]

    def modality_mask(self, name: str) -> torch.Tensor:
        """Which items have a row of their own in the modality's file: bool ``[item_num]``; row 0 is False."""
        self._require_modality(name, self._present)
        return self._present[name]

    def modality_scaling(self, name: str) -> FeatureScaling:
        """What is done to the rows of one modality, for rows that an encoder makes later."""
        if not FeatureScaling.needs_columns(self.config):
            return FeatureScaling.of(np.zeros((0, 1)), np.zeros(0, bool), self.config)
        self._require_modality(name, self._scalings)
        return self._scalings[name]

    def modality_arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Features and mask of every modality as arrays, to lend them to another process's copy of this data set."""
        return {
            modality: (self.modality_feature(modality).numpy(), self.modality_mask(modality).numpy())
            for modality in self.modalities
        }

    def borrow_modalities(self, arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Use what :meth:`modality_arrays` of the same data set gave, read-only memory included, instead of files."""
        self._modalities, self._lent = list(arrays), set(arrays)
        with warnings.catch_warnings():  # torch warns that writing to read-only memory is undefined; nobody does
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._features = {name: torch.from_numpy(feature) for name, (feature, _) in arrays.items()}
            self._present = {name: torch.from_numpy(present) for name, (_, present) in arrays.items()}

    @property
    def _file_form(self) -> FileForm:
        return FileForm.of_settings(self.config)

    def _require_modality(self, name: str, loaded: Container[str]) -> None:
        if name not in self.modalities:
            raise ValueError(f"modality '{name}' is not loaded; `modalities` gives {self.modalities}")
        if name not in loaded:
            self._load_modality(name)

    # ---------------------------------------------------------------- hooks in RecBole's loading

    def _download(self) -> None:
        if self.dataset_name != DEFAULT_DATASET:
            super()._download()
        else:
            build_default_data(Path(self.dataset_path).parent, report=self.logger.info)

    def _data_processing(self) -> None:
        super()._data_processing()
        for name in self.modalities:
            self._load_modality(name)

    def _remap_ID_all(self) -> None:
        if policy_of(self.config) == "drop":
            drop_incomplete_items(self)
        drop_items_without_interactions(self)
        super()._remap_ID_all()

    def _choose_modalities(self) -> list[str]:
        chosen = self._chosen_modalities()
        for key in ("knock_out", "missing_share"):
            for name in self.config[key] or ():
                if name not in chosen:
                    there = ", ".join(chosen) or "none"
                    raise ValueError(f"{key}: '{name}' is no modality in use{closest(name, chosen)}; there are {there}")
        return chosen

    def _chosen_modalities(self) -> list[str]:
        folder, wanted = Path(self.dataset_path), self.config["modalities"]
        if wanted is None:
            found = find_modalities(folder, self.dataset_name, self._file_form)
            for line in unused_arrays(folder, self.dataset_name, self._file_form):
                self.logger.warning(line)
            return found
        for name in wanted:
            if not has_modality(folder, self.dataset_name, name, self._file_form):
                there = find_modalities(folder, self.dataset_name, self._file_form)
                raise ValueError(
                    f"modality '{name}' has no file beside {self.dataset_path}/{self.dataset_name}.inter; modalities "
                    f"there: {', '.join(there) or 'none'}. Set `modalities`, or make the file with "
                    f"`python -m recbole_mm convert`"
                )
        return wanted

    # ---------------------------------------------------------------- alignment

    def _load_modality(self, name: str) -> None:
        table = read_features(Path(self.dataset_path), self.dataset_name, name, self._file_form)
        tokens = self.field2id_token[self.iid_field]
        feature, present = align(table, self.field2token_id[self.iid_field], self.item_num)
        check_coverage(table, name, present, tokens, self.dataset_name, policy_of(self.config))
        hide(feature, present, name, tokens, self.config)
        kind = (self.config["knock_out"] or {}).get(name)
        if kind is not None:
            knock_out(feature, present, kind, name, self.config["seed"])
        scaling = FeatureScaling.of(feature, present, self.config)
        scaling.scale_columns(feature, present)
        fill(feature, present, name, self.config, scaling.centers, self._training)
        scaling.normalize_rows(feature)
        check_magnitude(feature, table.path, lambda item: str(tokens[item]))
        self._tell(name, feature.shape[1], int((~present[1:]).sum()), kind)
        self._fingerprints.pop(name, None)
        self._features[name] = torch.from_numpy(feature)
        self._present[name] = torch.from_numpy(present)
        self._scalings[name] = scaling

    def _tell(self, name: str, width: int, n_absent: int, kind: str | None) -> None:
        policy, knocked_out = policy_in_words(self.config), f"; knocked out ({kind})" if kind else ""
        self.logger.info(
            set_color(f"Modality {name}", "blue")
            + f": {self.item_num - 1} items, width {width}, {n_absent} without features ({policy}){knocked_out}"
        )

    # ---------------------------------------------------------------- splits, copies and pickles

    def build(self) -> list[Self]:
        """RecBole's splits; raises ValueError where a split that was asked for came out empty."""
        datasets = super().build()
        names = ("training", "validation", "test")
        for name, asked, dataset in zip(names, self._splits_asked(), datasets, strict=True):
            if asked and len(dataset) == 0:
                raise ValueError(
                    f"the {name} split of '{self.dataset_name}' is empty; check benchmark_filename "
                    f"({self.benchmark_filename_list}) or eval_args split ({self.config['eval_args']['split']})"
                )
        if reads_interactions(policy_of(self.config)):
            users, items = (datasets[0].inter_feat[field] for field in (self.uid_field, self.iid_field))
            training = BipartiteGraph(users, items, self.user_num, self.item_num)
            self._features.clear()  # of which the splits make their own
            features: dict[str, torch.Tensor] = {}
            for dataset in datasets:
                dataset._training, dataset._features = training, features
        return datasets

    def _splits_asked(self) -> tuple[bool, ...]:
        if self.benchmark_filename_list is not None:
            return (True, True, True)
        mode, argument = next(iter(self.config["eval_args"]["split"].items()))
        if mode == "LS":
            return (True, argument != "test_only", argument != "valid_only")
        return tuple(ratio > 0 for ratio in argument)

    def copy(self, new_inter_feat: pd.DataFrame | Interaction) -> Self:
        copied = super().copy(new_inter_feat)  # goes through __getstate__, which leaves the matrices out
        for name in ("_modalities", "_features", "_present", "_scalings", "_fingerprints", "_lent"):
            setattr(copied, name, getattr(self, name))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        emptied: dict[str, Any] = {name: {} for name in ("_features", "_present", "_scalings", "_fingerprints")}
        return {**self.__dict__, **emptied, "_modalities": None, "_lent": set()}
