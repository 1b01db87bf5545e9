"""Users and the items they interacted with, in two dimensions by t-SNE."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from recbole_mm.analysis.figures import is_constant
from recbole_mm.analysis.items import item_ids
from recbole_mm.host.datasets import data_set
from recbole_mm.host.score_tables import score_tables
from recbole_mm.load import OpenedCheckpoint

TRAINING_ITEMS = (10, 40)  # of the users drawn, if not set: enough to form a cluster, few enough to be seen
PERPLEXITY = 30


@dataclass(frozen=True)
class UserMap:
    """Users and their training items in two dimensions.

    Attributes:
        label: name of the checkpoint.
        users: original ids of the U users.
        histories: original ids of each user's training items.
        user_points: ``[U, 2]``.
        item_points: place of each item by original id, ``[2]``.
        all_the_same: whether the vectors differ by no more than rounding, so that the places mean nothing.
    """

    label: str
    users: list[str]
    histories: list[list[str]]
    user_points: np.ndarray
    item_points: dict[str, np.ndarray]
    all_the_same: bool = False


def embeddings(opened: OpenedCheckpoint) -> tuple[np.ndarray, np.ndarray]:
    """The vectors whose dot products are the scores, ``[n_users, width]`` and ``[n_items, width]``.

    Of RecBole's own models too, such as LightGCN and BPR.

    Raises:
        ValueError: the model has none, or they are not finite.
    """
    with torch.no_grad():
        given = opened.model.score_tables() if hasattr(opened.model, "score_tables") else score_tables(opened.model)
    if given is None:
        raise ValueError(
            f"checkpoint {opened.path}: the scores of {type(opened.model).__name__} are no dot products of user and "
            "item vectors that it shows; embedding-map takes the models of recbole_mm, LightGCN, BPR and their like"
        )
    users, items = (table.detach().cpu().numpy() for table in given)
    if not all(np.isfinite(table[1:]).all() for table in (users, items)):
        raise ValueError(
            f"checkpoint {opened.path} has embeddings that are not finite; train with a lower learning_rate"
        )
    return users, items


def draw_users(
    opened: OpenedCheckpoint, count: int, seed: int, items: Sequence[int] = TRAINING_ITEMS
) -> list[str]:
    """Original ids of `count` users; the same for the same data set and seed.

    Args:
        opened: for the users and their training items.
        count: how many.
        seed: of the draw.
        items: least and most training items of a user.

    Raises:
        ValueError: there are fewer such users.
    """
    dataset, train = opened.dataset, data_set(opened.train_data)
    pairs = np.stack([train.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field)])
    n_items = np.bincount(np.unique(pairs, axis=1)[0], minlength=dataset.user_num)
    low, high = items
    candidates = np.flatnonzero((n_items >= low) & (n_items <= high))
    if len(candidates) < count:
        fewer = "ask for fewer with --users, " if len(candidates) else ""
        raise ValueError(
            f"{len(candidates)} users of '{dataset.dataset_name}' have {low} to {high} training items, and "
            f"{count} are to be drawn; {fewer}set the range with --training-items, or name users with --user-ids"
        )
    drawn = np.random.default_rng(seed).choice(candidates, count, replace=False)
    return [str(user) for user in dataset.field2id_token[dataset.uid_field][drawn]]


def training_items(opened: OpenedCheckpoint, users: list[str]) -> tuple[list[int], list[np.ndarray]]:
    """Internal ids of the users, and of each one's training items without repetition.

    Raises:
        ValueError: a user is not in the data set, is named twice or has no training item.
    """
    dataset, train = opened.dataset, data_set(opened.train_data)
    known = dataset.field2token_id[dataset.uid_field]
    inter_user = train.inter_feat[dataset.uid_field].numpy()
    inter_item = train.inter_feat[dataset.iid_field].numpy()
    for user in users:
        if user not in known or user == "[PAD]":
            raise ValueError(
                f"user '{user}' is not in data set '{dataset.dataset_name}' of checkpoint {opened.path}"
            )
    if len(set(users)) < len(users):
        raise ValueError(f"--user-ids names a user twice: {','.join(users)}")
    internal = [known[user] for user in users]
    histories = [np.unique(inter_item[inter_user == user]) for user in internal]
    for user, history in zip(users, histories, strict=True):
        if len(history) == 0:
            raise ValueError(
                f"user '{user}' has no training item in checkpoint {opened.path}; choose another"
            )
    return internal, histories


def user_map(
    opened: OpenedCheckpoint,
    user_table: np.ndarray,
    item_table: np.ndarray,
    label: str,
    users: list[str],
    seed: int,
) -> UserMap:
    """t-SNE of the users and all their training items together.

    Args:
        opened: for the users' training items.
        user_table: user vectors, ``[n_users, width]``.
        item_table: item vectors, ``[n_items, width]``.
        label: name of the checkpoint.
        users: original ids.
        seed: of t-SNE.

    Raises:
        ValueError: as :func:`training_items` and :func:`tsne`.
    """
    internal, histories = training_items(opened, users)
    items = np.unique(np.concatenate(histories))
    vectors = np.concatenate([user_table[internal], item_table[items]])
    points = tsne(vectors, seed, f"t-SNE of {len(vectors)} points of {label}")
    names = item_ids(opened.dataset)
    return UserMap(
        label,
        users,
        [[str(names[item - 1]) for item in history] for history in histories],
        points[: len(users)],
        {str(names[item - 1]): point for item, point in zip(items, points[len(users) :], strict=True)},
        is_constant(vectors - vectors[0], float(np.abs(vectors).max())),
    )


def tsne(vectors: np.ndarray, seed: int, label: str = "t-SNE") -> np.ndarray:
    """Places of ``[n, width]`` vectors in two dimensions, ``[n, 2]``; the same for the same seed.

    Euclidean distances, started from PCA; the perplexity is 30, or a third of the other points if less.

    Raises:
        ValueError: fewer than 4 vectors, or width 1.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(vectors) < 4 or vectors.shape[1] < 2:
        raise ValueError(
            f"t-SNE needs at least 4 users and items with 2 numbers each, and there are {len(vectors)} with "
            f"{vectors.shape[1]}; choose users with more training items"
        )
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    reducer = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    # one thread: several sum in an order that differs from run to run
    with threadpool_limits(1), _progress(label):
        return reducer.fit_transform(np.ascontiguousarray(vectors, dtype=np.float64))


@contextmanager
def _progress(label: str, after: float = 2.0) -> Iterator[None]:
    """Show a line with the time taken, once the block has run for `after` seconds."""
    done = threading.Event()

    def show() -> None:
        if done.wait(after):
            return
        with tqdm(desc=label, bar_format="{desc}: {elapsed}", file=sys.stderr) as line:
            line.start_t -= after
            while not done.wait(1):
                line.refresh()

    watcher = threading.Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
