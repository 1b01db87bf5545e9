"""What an evaluation leaves in a store: metrics and lists by user, and the data of strata and examples."""

from __future__ import annotations

import logging
import tempfile
from typing import Any

import pandas as pd
import torch
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from recbole.utils import get_trainer

from recbole_mm.analysis.items import item_titles
from recbole_mm.experiment.diversity import diversity_and_novelty
from recbole_mm.host.datasets import data_set
from recbole_mm.host.user_results import UserResults, evaluate_users
from recbole_mm.load import OpenedCheckpoint


def check_full_sort(opened: OpenedCheckpoint) -> None:
    """Raise ValueError for a checkpoint that is tested on sampled items, whose metrics are of no list."""
    if not isinstance(opened.test_data, FullSortEvalDataLoader):
        raise ValueError(f"{opened.path}: tested on sampled items (eval_args: mode); lists and tests need mode: full")


def evaluate_checkpoint(opened: OpenedCheckpoint) -> UserResults:
    """Test a checkpoint as its run did; writes nothing.

    Raises ValueError as :func:`check_full_sort`.
    """
    check_full_sort(opened)
    config = opened.config
    with tempfile.TemporaryDirectory() as folder:  # for what a trainer makes when it is made
        for key in ("checkpoint_dir", "log_dir", "tensorboard_dir"):
            config[key] = folder
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, opened.model)
        return evaluate_users(trainer, opened.test_data, load_best_model=False)


def lists_beyond(users: UserResults, train_data: Any, test_data: Any) -> dict[str, float]:
    """Diversity and novelty of lists of the greatest length that is measured."""
    k = users.items.shape[1]
    ids = test_data.uid_list.cpu()
    return diversity_and_novelty(data_set(train_data), ids, torch.from_numpy(users.items), k)


def per_user_table(users: UserResults, dataset: Any) -> pd.DataFrame:
    """A row for each test user: ``user``, a column for each metric, also of each candidate set, and ``items``."""
    items = dataset.id2token(dataset.iid_field, users.items)
    metrics = {**users.metrics, **users.of_candidates}
    return pd.DataFrame({"user": users.users, **metrics, "items": [list(map(str, item)) for item in items]})


def data_tables(train_data: Any, test_data: Any) -> dict[str, pd.DataFrame]:
    """``items``, ``users``, ``train`` and ``test``, as :mod:`recbole_mm.experiment.store` describes them."""
    dataset = data_set(train_data)
    tables = {"train": _interactions(dataset), "test": _interactions(data_set(test_data)).astype(str)}
    tables |= training_counts(dataset)
    for modality in getattr(dataset, "modalities", ()):
        tables["items"][f"imputed_{modality}"] = ~dataset.modality_mask(modality).numpy()[1:]
    titles = _titles(dataset)
    if titles:
        tables["items"]["title"] = [titles.get(item, "") for item in tables["items"]["item"]]
    return tables


def training_counts(dataset: Any) -> dict[str, pd.DataFrame]:
    """``items`` and ``users``, each with its training interactions."""
    tables = {}
    for name, field in (("items", dataset.iid_field), ("users", dataset.uid_field)):
        counts = pd.Series(dataset.inter_feat[field].numpy()).value_counts()
        tokens = dataset.field2id_token[field]
        rows = counts.reindex(range(1, len(tokens)), fill_value=0).to_numpy()
        tables[name] = pd.DataFrame({name[:-1]: tokens[1:].astype(str), "training_rows": rows})
    return tables


def _interactions(dataset: Any) -> pd.DataFrame:
    """In the order of the split, as categories: a large data set's ids are not repeated as texts."""
    columns = {}
    for name, field in (("user", dataset.uid_field), ("item", dataset.iid_field)):
        tokens = dataset.field2id_token[field].astype(str)
        columns[name] = pd.Categorical.from_codes(dataset.inter_feat[field].numpy(), tokens)
    return pd.DataFrame(columns)


def _titles(dataset: Any) -> dict[str, str]:
    """Empty where they cannot be read: no metric needs them."""
    try:
        return item_titles(dataset)
    except ValueError as error:
        logging.getLogger(__name__).warning("no titles of items in the report: %s", error)
        return {}
