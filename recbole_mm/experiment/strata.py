"""Where a gain is: metrics for some of the items or some of the users, and what the lists are like beyond them."""

from __future__ import annotations

import numpy as np
import pandas as pd

MOST_POPULAR = 100
_THIRDS = 3


# ---------------------------------------------------------------- which items and users


def item_strata(items: pd.DataFrame) -> dict[str, set[str]]:
    """Items by popularity in training, and those with a modality and those whose is imputed, where there are any.

    ``head``, ``middle`` and ``tail`` gather a third of the training interactions each, the most popular items first;
    ``cold`` items have none.

    Args:
        items: ``items.parquet`` of a store.
    """
    warm = items[items["training_rows"] > 0].sort_values(["training_rows", "item"], ascending=[False, True])
    before = warm["training_rows"].cumsum() - warm["training_rows"]
    third = np.minimum(before * _THIRDS // max(1, int(warm["training_rows"].sum())), _THIRDS - 1)
    strata = {name: set(warm["item"][third == number]) for number, name in enumerate(("head", "middle", "tail"))}
    strata["cold"] = set(items["item"][items["training_rows"] == 0])
    for column in items.columns:
        if column.startswith("imputed_"):
            is_missing, modality = items[column].astype(bool), column.removeprefix("imputed_")
            if is_missing.any():
                strata[f"with {modality}"] = set(items["item"][~is_missing])
            strata[f"without {modality}"] = set(items["item"][is_missing])
    return {name: members for name, members in strata.items() if members}


def user_strata(users: pd.DataFrame) -> dict[str, set[str]]:
    """Users by their training interactions: a third of them each, and those who have none."""
    warm = users[users["training_rows"] > 0].sort_values(["training_rows", "user"])
    parts = np.array_split(warm["user"].to_numpy(), _THIRDS)
    strata = {name: set(part) for name, part in zip(("few", "some", "many"), parts, strict=True)}
    strata["none"] = set(users["user"][users["training_rows"] == 0])
    return {name: members for name, members in strata.items() if members}


# ---------------------------------------------------------------- metrics of a stratum


def recall_and_ndcg(lists: pd.Series, test: pd.DataFrame, k: int, items: set[str] | None = None) -> pd.DataFrame:
    """Recall and NDCG of the first `k` recommended items, with the held-out items restricted to some.

    Args:
        lists: recommended items by user, best first.
        test: held-out interactions, ``user`` and ``item``.
        k: length of the lists.
        items: to count; all if not given. Others keep their places in the lists.

    Returns:
        ``recall`` and ``ndcg`` of each user with such an item held out.
    """
    wanted = test if items is None else test[test["item"].isin(items)]
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)
    found = {}
    for user, held_out in wanted.groupby("user")["item"]:
        if user not in lists.index:
            continue
        positives = set(held_out)
        hits = np.fromiter((item in positives for item in lists[user][:k]), dtype=float)
        gain = float(hits @ discount[: len(hits)])
        found[user] = (hits.sum() / len(positives), gain / ideal[min(k, len(positives)) - 1])
    return pd.DataFrame.from_dict(found, orient="index", columns=["recall", "ndcg"])


# ---------------------------------------------------------------- beyond accuracy


def beyond_accuracy(lists: pd.Series, items: pd.DataFrame, k: int) -> dict[str, float]:
    """What lists are like, whatever is right.

    Returns:
        ``coverage`` (share of the items that somebody gets), ``gini`` (0: all items alike, 1: one item alone),
        ``entropy`` (of the recommended items in bits), ``popularity`` (mean training interactions of a recommended
        item), ``tail share`` (places with items of the tail third or cold ones) and ``top share`` (places with the 100
        most popular items, which shows a collapsed model at once).
    """
    shown = np.concatenate([np.asarray(ranking[:k], dtype=object) for ranking in lists])
    counts = pd.Series(shown).value_counts().reindex(items["item"], fill_value=0).to_numpy()
    rows = items["training_rows"].to_numpy()
    top = np.lexsort((items["item"].to_numpy(), -rows))[:MOST_POPULAR]
    strata = item_strata(items)
    rare = items["item"].isin(strata.get("tail", set()) | strata.get("cold", set())).to_numpy()
    places = counts.sum()
    return {
        "coverage": float((counts > 0).mean()),
        "gini": gini(counts),
        "entropy": _entropy(counts / places),
        "popularity": float(counts @ rows / places),
        "tail share": float(counts[rare].sum() / places),
        "top share": float(counts[top].sum() / places),
    }


def gini(counts: np.ndarray) -> float:
    """Gini's index of how often each item is recommended, items never recommended included."""
    ordered = np.sort(counts).astype(float)
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * ordered.sum()))


def _entropy(shares: np.ndarray) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum())
