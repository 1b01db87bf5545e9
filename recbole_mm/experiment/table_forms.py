"""What the columns of a store's Parquet tables hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recbole_mm.host.candidates import CANDIDATES

Kind = Literal["text", "number", "finite number", "flag", "list"]


@dataclass(frozen=True)
class TableForm:
    """The columns that a table must have, and what all others hold.

    Attributes:
        columns: by name.
        others: None where others hold anything.
        incomplete: what the names of others begin with that may hold numbers that are none.
    """

    columns: dict[str, Kind]
    others: Kind | None = None
    incomplete: tuple[str, ...] = ()

    def without(self, *names: str) -> dict[str, Kind]:
        """The columns but some."""
        return {name: kind for name, kind in self.columns.items() if name not in names}


OF_CANDIDATES = tuple(f"{name}_" for name in CANDIDATES)
PER_USER = TableForm({"run": "text", "user": "text"}, others="finite number", incomplete=OF_CANDIDATES)
LISTS = TableForm({"run": "text", "user": "text", "items": "list"})
CURVES = TableForm({"run": "text", "stage": "text", "epoch": "number", "name": "text", "value": "number"})
TRIALS = TableForm(
    {
        "dataset": "text", "row": "text", "label": "text", "trial": "number", "settings": "text", "metric": "text",
        "value": "number", "evaluations": "number", "status": "text", "error": "text", "chosen": "flag",
    }
)  # fmt: skip
LEAKS = TableForm(
    {
        "check": "text", "dataset": "text", "modality": "text", "seed": "number", "verdict": "text",
        "excess": "finite number", "of_all": "finite number", "of_training": "finite number",
        "reference": "finite number", "n_items": "number", "error": "text",
    }
)  # fmt: skip
DATA = {
    "items": TableForm({"item": "text", "training_rows": "finite number"}),
    "users": TableForm({"user": "text", "training_rows": "finite number"}),
    "train": TableForm({"user": "text", "item": "text"}),
    "test": TableForm({"user": "text", "item": "text"}),
}
