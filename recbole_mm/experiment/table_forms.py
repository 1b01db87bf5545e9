"""What the columns of a store's Parquet tables hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from recbole_mm.host.candidates import CANDIDATES

Kind = Literal["text", "number", "finite number", "count", "flag", "list"]


@dataclass(frozen=True)
class TableForm:
    """The columns that a table must have, and what all others hold.

    Attributes:
        columns: by name.
        others: None where others hold anything.
        by_prefix: what others hold whose names begin so.
    """

    columns: dict[str, Kind]
    others: Kind | None = None
    by_prefix: Mapping[str, Kind] = field(default_factory=dict)

    def kind(self, name: str) -> Kind | None:
        """What a column holds."""
        known = [self.columns.get(name), *(kind for start, kind in self.by_prefix.items() if name.startswith(start))]
        return next(filter(None, known), self.others)


OF_CANDIDATES = tuple(f"{name}_" for name in CANDIDATES)
PER_USER = TableForm({"run": "text", "user": "text"}, "finite number", dict.fromkeys(OF_CANDIDATES, "number"))
LISTS = TableForm({"run": "text", "user": "text", "items": "list"})
USERS_OF_A_RUN = replace(PER_USER, columns={"user": "text", "items": "list"})
CURVES = TableForm({"run": "text", "stage": "text", "epoch": "count", "name": "text", "value": "number"})
TRIALS = TableForm(
    {
        "dataset": "text", "row": "text", "label": "text", "trial": "count", "settings": "text", "metric": "text",
        "value": "number", "evaluations": "count", "status": "text", "error": "text", "chosen": "flag",
    }
)  # fmt: skip
LEAKS = TableForm(
    {
        "check": "text", "dataset": "text", "modality": "text", "seed": "count", "verdict": "text",
        "excess": "finite number", "of_all": "finite number", "of_training": "finite number",
        "reference": "finite number", "n_items": "count", "error": "text",
    }
)  # fmt: skip
DATA = {
    "items": TableForm({"item": "text", "training_rows": "count"}, by_prefix={"imputed_": "flag", "title": "text"}),
    "users": TableForm({"user": "text", "training_rows": "count"}),
    "train": TableForm({"user": "text", "item": "text"}),
    "test": TableForm({"user": "text", "item": "text"}),
}
