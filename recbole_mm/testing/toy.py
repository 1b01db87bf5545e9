"""Small data sets with a known structure, and the few calls that turn one into a model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed
from torch import Tensor

from recbole_mm.host.datasets import data_set

QUIET: dict[str, Any] = {"show_progress": False, "state": "WARNING", "gpu_id": ""}


@dataclass
class Run:
    """Everything RecBole makes on the way from a configuration to a model."""

    config: Config
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any

    def trainer(self) -> Any:
        return get_trainer(self.config["MODEL_TYPE"], self.config["model"])(self.config, self.model)

    def loss(self, batch: Interaction) -> Tensor:
        """The model's loss, a scalar; the sum of its parts where the model gives a tuple."""
        loss = self.model.calculate_loss(batch)
        return torch.stack(loss).sum() if isinstance(loss, tuple) else loss

    def batch(self) -> Interaction:
        """The first training batch, always the same one for the same seed."""
        np.random.seed(0)
        self.train_data.generator.manual_seed(0)
        return next(iter(self.train_data))


def own_process(folder: Path, monkeypatch: Any) -> None:
    """Give a test what a command has: a working folder of its own, and a bare command line.

    Args:
        folder: to work in.
        monkeypatch: pytest's fixture, which gives both back.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["pytest"])


def start(model: str, data_path: Path, dataset: str = "toy", **settings: Any) -> Run:
    """Build configuration, data and model as RecBole's run_recbole does."""
    merged = {**QUIET, "data_path": str(data_path), "checkpoint_dir": str(data_path / "saved"), **settings}
    config = Config(model, dataset, config_dict=merged)
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, data)
    init_seed(config["seed"], config["reproducibility"])
    built = get_model(config["model"])(config, data_set(train_data)).to(config["device"])
    return Run(config, data, train_data, valid_data, test_data, built)


def write_dataset(
    folder: Path,
    splits: dict[str, list[tuple[str, str]]],
    features: dict[str, dict[str, np.ndarray]],
    name: str = "toy",
) -> Path:
    """Write `<folder>/<name>/` with one `.inter` per split and one text file per modality; gives `folder`.

    The split "" is the `.inter` of data that are split by RecBole.
    """
    target = folder / name
    target.mkdir(parents=True)
    for split, pairs in splits.items():
        lines = ["user_id:token\titem_id:token", *("\t".join(pair) for pair in pairs)]
        (target / ".".join(filter(None, (name, split, "inter")))).write_text("\n".join(lines) + "\n")
    for modality, rows in features.items():
        lines = [f"item_id:token\t{modality}_feature:float_seq"]
        lines += [f"{item}\t{' '.join(repr(float(x)) for x in row)}" for item, row in rows.items()]
        (target / f"{name}.{modality}").write_text("\n".join(lines) + "\n")
    return folder


def write_planted(folder: Path, widths: dict[str, int], seed: int = 0, name: str = "toy") -> Path:
    """Two groups of users, each of which likes the items of its own group only, whose features show the group.

    40 users, 30 items; every user has 8 training, 1 validation and 2 test items of its group. A recommender that
    learns the groups ranks nearly perfectly, popularity cannot: all items are about equally popular. Item i29 has no
    features, and user u39 has held-out items only.
    """
    rng = np.random.default_rng(seed)
    items = [f"i{number}" for number in range(30)]
    group = {item: number % 2 for number, item in enumerate(items)}
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "valid": [], "test": []}
    for user in range(40):
        own = [item for item in items if group[item] == user % 2]
        chosen = list(rng.permutation(own)[:11])
        parts = {"train": chosen[:8], "valid": chosen[8:9], "test": chosen[9:]}
        for split, part in parts.items():
            if user < 39 or split != "train":
                splits[split] += [(f"u{user}", str(item)) for item in part]
    features = {}
    for modality, width in widths.items():
        centres = rng.standard_normal((2, width))
        rows = {item: centres[group[item]] + 0.5 * rng.standard_normal(width) for item in items[:-1]}
        features[modality] = rows
    return write_dataset(folder, splits, features, name)


PRE_SPLIT: dict[str, Any] = {
    "benchmark_filename": ["train", "valid", "test"],
    "load_col": {"inter": ["user_id", "item_id"]},
}


def popularity_recall(run: Run, k: int) -> float:
    """Recall@k on the test split of ranking by training popularity, training and validation items masked."""
    counts = np.bincount(data_set(run.train_data).inter_feat["item_id"].numpy(), minlength=run.dataset.item_num)
    return _recall(run, torch.from_numpy(counts).float().expand(run.dataset.user_num, -1), k)


def _recall(run: Run, scores: torch.Tensor, k: int) -> float:
    recalls = []
    loader = run.test_data
    for user in loader.uid_list.tolist():
        row = scores[user].clone()
        row[0] = -torch.inf
        row[loader.uid2history_item[user]] = -torch.inf
        positives = set(loader.uid2positive_item[user].tolist())
        recalls.append(len(positives & set(row.topk(k).indices.tolist())) / len(positives))
    return float(np.mean(recalls))
