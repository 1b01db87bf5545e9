"""Examples: some users with what they had, what was held out, and what each row recommends them, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recbole_mm.experiment.item_cards import ItemCard, ItemCards
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.io.names import closest

LENGTH = 10  # of a list, and the last items of a history
MOST_ROWS = 5  # of an experiment, side by side

Shares = Callable[[str, str, list[str]], list[str]]  # of a row's label, a user and items: a text for each item


@dataclass(frozen=True)
class Example:
    """One user.

    Attributes:
        user: original id.
        history: the last :data:`LENGTH` items of training, in the order of the data.
        n_history: how many there are.
        held_out: items of the test split.
        lists: the first :data:`LENGTH` recommended items by the row's label.
    """

    user: str
    history: list[ItemCard]
    n_history: int
    held_out: list[ItemCard]
    lists: dict[str, list[ItemCard]]


def parse_users(text: str) -> int | list[str]:
    """What ``--users`` asks for: a number of users, or ids separated by commas (one id ends in a comma).

    Raises ValueError for a number below 1, and for no id.
    """
    if text.strip().lstrip("-").isdecimal():
        if int(text) < 1:
            raise ValueError(f"--users: {text} must be at least 1; or give ids separated by commas")
        return int(text)
    ids = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not ids:
        raise ValueError(f"--users: {text!r} names no user; give a number, or ids separated by commas")
    return ids


def check_users(asked: int | list[str], results: list[DatasetResults]) -> None:
    """Raise ValueError for an id that no data set has held-out items of."""
    known = {user for result in results for user in _test_users(result)}
    for user in asked if isinstance(asked, list) else []:
        if user not in known:
            names = ", ".join(result.dataset for result in results)
            raise ValueError(f"--users: {names} has no user {user!r}{closest(user, known)} with held-out items")


def examples_of(
    results: DatasetResults, asked: int | list[str], cards: ItemCards, rows: list[str], shares: Shares | None = None
) -> Iterator[Example]:
    """Some users of a data set; a number is drawn from the test users, the same in every report.

    Args:
        results: of the data set, in whose store its training interactions are.
        asked: as of :func:`parse_users`; ids of other data sets are left out.
        cards: of its items.
        rows: labels, in the order of the columns.
        shares: of the modalities in a score.
    """
    run = _first_run(results)
    same_data = {
        label: results.rows[label][results.rows[label]["data"] == run["data"]]["run"].head(1) for label in rows
    }
    lists = {label: results.tables.lists_of(runs.iloc[0]) for label, runs in same_data.items() if len(runs)}
    users = _chosen(asked, _test_users(results))
    history, test = (_by_user(results.tables.data(run, name), users) for name in ("train", "test"))
    for user in users:
        held_out, known = test.get(user, []), history.get(user, [])
        yield Example(
            user,
            [cards.card(item) for item in known[-LENGTH:]],
            len(known),
            [cards.card(item) for item in held_out],
            {
                label: _listed(cards, list(user_lists[user][:LENGTH]), set(held_out), label, user, shares)
                for label, user_lists in lists.items()
                if user in user_lists.index
            },
        )


def _listed(
    cards: ItemCards, items: list[str], held_out: set[str], label: str, user: str, shares: Shares | None
) -> list[ItemCard]:
    texts = [""] * len(items) if shares is None else shares(label, user, items)
    return [cards.card(item, item in held_out, text) for item, text in zip(items, texts, strict=True)]


def _first_run(results: DatasetResults) -> pd.Series:
    return results.rows[results.best].iloc[0]


def _test_users(results: DatasetResults) -> list[str]:
    return list(results.tables.lists_of(_first_run(results)["run"]).index)


def _by_user(table: pd.DataFrame, users: list[str]) -> dict[str, list[str]]:
    own = table[table["user"].isin(users)].astype(str)
    return {str(user): list(items) for user, items in own.groupby("user")["item"]}


def _chosen(asked: int | list[str], users: list[str]) -> list[str]:
    if isinstance(asked, list):
        there = set(users)
        return [user for user in asked if user in there]
    drawn = np.random.default_rng(0).choice(len(users), min(asked, len(users)), replace=False)
    return [users[place] for place in sorted(drawn)]
