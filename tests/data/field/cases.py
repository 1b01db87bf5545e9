"""Inputs as people have them, each with its right outcome: what is read, or the one line that refuses it.

A kind is a list of cases; the page docs/inputs.md has a row for each (``python -m tests.data.field.page`` writes it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

N_USERS, N_ITEMS, EACH = 10, 12, 6
PAIRS = [(user, (user + 2 * place) % N_ITEMS, place) for user in range(N_USERS) for place in range(EACH)]
HEADER = "user_id:token\titem_id:token\ttimestamp:float"
BY_TIME = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"}}
LOADED = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
ALL = {"load_col": None}


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        what: the input, for the page.
        outcome: what it is read as, for the page; of what is refused the end of the message.
        files: of the data set ``shop``, by what follows ``shop.`` in their names, or by the whole name after a slash.
        settings: of the run.
        expect: checks the data set and the test split; None where the input is refused.
        model: of the run.
        described: whether `describe`, which reads no numbers and has no settings of runs, must agree.
    """

    what: str
    outcome: str
    files: dict[str, str | bytes] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=lambda: LOADED)
    expect: Callable[[Any, Any], None] | None = None
    model: str = "VBPR"
    described: bool = True


def inter(
    time: Callable[[int, int], str] = lambda user, place: str(100 * user + place),
    *,
    header: str = HEADER,
    user: Callable[[int], str] = "u{}".format,
    item: Callable[[int], str] = "i{}".format,
    separator: str = "\t",
    end: str = "\n",
    more: str = "",
    newest_first: bool = False,
) -> str:
    """Interactions whose times rise with their place in the file, of each user."""
    rows = [separator.join((user(who), item(what), time(who, place))) for who, what, place in PAIRS]
    rows = rows[::-1] if newest_first else rows
    return end.join([header.replace("\t", separator), *rows]) + end + more


def visual(
    row: Callable[[int], str] = lambda item: f"{item} {item % 3} 0.25",
    *,
    header: str = "item_id:token\tvisual_feature:float_seq",
    item: Callable[[int], str] = "i{}".format,
    separator: str = "\t",
    end: str = "\n",
    more: str = "",
) -> str:
    """Vectors whose first value is the item's number."""
    rows = [f"{item(number)}{separator}{row(number)}" for number in range(N_ITEMS)]
    return end.join([header.replace("\t", separator), *rows]) + end + more


def items(cells: list[str], header: str = "item_id:token\ttitle:token_seq", end: str = "\n", more: str = "") -> str:
    """An `.item` with a cell for each of the first items, and ``t5`` and the like for the others."""
    rows = [f"i{number}\t{cells[number] if number < len(cells) else f't{number}'}" for number in range(N_ITEMS)]
    return end.join([header, *rows]) + end + more


def tokens(dataset: Any, name: str) -> list[str]:
    """Ids as the data set has them, padding left out."""
    return [str(token) for token in dataset.field2id_token[name][1:]]


def counted(dataset: Any, test: Any) -> None:
    """All interactions."""
    assert (dataset.user_num - 1, dataset.item_num - 1, dataset.inter_num) == (N_USERS, N_ITEMS, len(PAIRS))


def whole(dataset: Any, test: Any) -> None:
    """All interactions, and each item's own vector."""
    counted(dataset, test)
    own_vectors(dataset, test)


def own_vectors(dataset: Any, test: Any) -> None:
    """Each item has the vector whose first value is its number."""
    features, field_ = dataset.modality_feature("visual"), dataset.iid_field
    assert dataset.modality_mask("visual")[1:].all()
    for number in range(1, dataset.item_num):
        assert features[number, 0] == float(str(dataset.id2token(field_, number))[1:])


def last_by_time(dataset: Any, test: Any) -> None:
    """Each user's test item is the one of the greatest time."""
    found = test._dataset.inter_feat
    users, held_out = (dataset.id2token(name, found[name]) for name in ("user_id", "item_id"))
    expected = {f"u{user}": f"i{item}" for user, item, place in PAIRS if place == EACH - 1}
    assert dict(zip(users, held_out, strict=True)) == expected


def titled(expected: dict[str, str]) -> Callable[[Any, Any], None]:
    """Items have these titles, and the others ``t5`` and the like."""

    def check(dataset: Any, test: Any) -> None:
        table = dataset.item_feat
        found = {
            str(dataset.id2token("item_id", int(item))): " ".join(
                str(dataset.id2token("title", int(word))) for word in words if word
            )
            for item, words in zip(table["item_id"], table["title"], strict=True)
            if int(item)
        }
        assert found == {f"i{number}": expected.get(f"i{number}", f"t{number}") for number in range(N_ITEMS)}

    return check


def write(case: Case, parent: Path) -> Path:
    """The folder ``shop`` of a case."""
    folder = parent / "shop"
    folder.mkdir(parents=True)
    for name, content in case.files.items():
        content = content.encode() if isinstance(content, str) else content
        (folder / (name[1:] if name.startswith("/") else f"shop.{name}")).write_bytes(content)
    return folder
