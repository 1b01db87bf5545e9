"""What was found on one data set of a store, each thing computed once for all tables and figures that show it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from recbole_mm.experiment.audit import ALL
from recbole_mm.experiment.plan_terms import AT_EVALUATION, AUDITS, ID_ONLY
from recbole_mm.experiment.statistics import Comparison, compare
from recbole_mm.experiment.strata import beyond_accuracy, item_strata, recall_and_ndcg, user_strata
from recbole_mm.experiment.tables import StoreTables
from recbole_mm.model.backbone_model import id_only_model


@dataclass(frozen=True)
class DatasetResults:
    """The rows on one data set with what tests, strata and audits say of them.

    Attributes:
        tables: of the store.
        dataset: name of one of theirs.
        compare_with: labels of rows that all others are compared with; those that the data set has not are left out.
    """

    tables: StoreTables
    dataset: str
    compare_with: list[str] = field(default_factory=list)
    _compared: dict[str, dict[str, Comparison]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def metric(self) -> str:
        """The metric that chose the epochs, where it was measured by user; else the first."""
        chosen = str(self.tables.runs["chosen_by"].iloc[0]).lower()
        return chosen if chosen in self.tables.metrics else self.tables.metrics[0]

    @property
    def k(self) -> int:
        """Length of the lists that :attr:`metric` counts."""
        return int(self.metric.rpartition("@")[2])

    @cached_property
    def rows(self) -> dict[str, pd.DataFrame]:
        """The runs of each row of the table by its label, the best row by :attr:`metric` first."""
        groups = dict(iter(self.tables.rows(self.dataset).groupby("label", sort=False)))
        return dict(sorted(groups.items(), key=lambda group: -group[1][f"test_{self.metric}"].mean()))

    @cached_property
    def bases(self) -> list[str]:
        """Rows that the others are compared with: the best row if none is asked for."""
        return [label for label in self.compare_with if label in self.rows] or [self.best]

    @property
    def best(self) -> str:
        """Label of the best row."""
        return next(iter(self.rows))

    def against(self, base: str) -> dict[str, Comparison]:
        """Every other row against one, in :attr:`metric`."""
        if base not in self._compared:
            values = {label: self.tables.values(runs, self.metric) for label, runs in self.rows.items()}
            other = values.pop(base)
            self._compared[base] = compare(values, other)
        return self._compared[base]

    @cached_property
    def strata(self) -> pd.DataFrame:
        """:attr:`metric` of each row for each kind of items and users: lists of the seeds' values, and the ``row``.

        Other metrics than Recall and NDCG are not taken apart; NDCG stands for them.
        """
        lines = []
        for label, runs in self.rows.items():
            values: dict[str, list[float]] = {}
            for _, run in runs.iterrows():
                for stratum, value in self._strata_of(run).items():
                    values.setdefault(stratum, []).append(value)
            lines.append({"row": label, **values})
        return pd.DataFrame(lines)

    def _strata_of(self, run: pd.Series) -> dict[str, float]:
        name = self.metric.partition("@")[0]
        column = name if name in ("recall", "ndcg") else "ndcg"
        lists, test = self.tables.lists_of(run["run"]), self.tables.data(run, "test")
        values = {}
        for stratum, items in item_strata(self.tables.data(run, "items")).items():
            values[f"items: {stratum}"] = float(recall_and_ndcg(lists, test, self.k, items)[column].mean())
        for stratum, users in user_strata(self.tables.data(run, "users")).items():
            own = recall_and_ndcg(lists[lists.index.isin(users)], test, self.k)[column]
            values[f"users: {stratum}"] = float(own.mean())
        return values

    @cached_property
    def beyond(self) -> dict[str, pd.DataFrame]:
        """What the lists of each row are like beyond accuracy: a line for each run."""
        return {label: self.beyond_of(runs) for label, runs in self.rows.items()}

    def beyond_of(self, runs: pd.DataFrame) -> pd.DataFrame:
        """What the lists of some runs are like beyond accuracy, a line for each."""
        return pd.DataFrame(
            [
                beyond_accuracy(self.tables.lists_of(run["run"]), self.tables.data(run, "items"), self.k)
                for _, run in runs.iterrows()
            ]
        )

    @cached_property
    def audits(self) -> dict[str, dict[tuple[str, str], Comparison]]:
        """Of each row what replacing a modality does to it, by modality and kind, corrected over the row's own.

        Beside them the model of IDs alone that it stands on, where the table has it.
        """
        found = {}
        for label, runs in self.tables.audits(self.dataset).items():
            if label in self.rows:
                real = self.rows[label].sort_values("seed")
                by_kind = runs.sort_values("seed").groupby(["modality", "kind"], sort=False)
                kinds = {(str(stratum), str(kind)): own for (stratum, kind), own in by_kind}
                values = {key: self.tables.values(own, self.metric) for key, own in kinds.items()}
                retested = {key: own for key, own in kinds.items() if AT_EVALUATION in key[1]}
                same_models = {key for key, own in retested.items() if list(own["seed"]) == list(real["seed"])}
                backbone = self.id_only_row(label)
                if backbone is not None:
                    values[ALL, ID_ONLY] = self.tables.values(self.rows[backbone], self.metric)
                in_order = dict(sorted(values.items(), key=lambda item: _place(*item[0])))
                found[label] = compare(in_order, self.tables.values(real, self.metric), paired=same_models)
        return found

    def id_only_row(self, label: str) -> str | None:
        """Label of the best row of the model of IDs alone that a row's model stands on; None where there is none."""
        run = self.rows[label].iloc[0]
        model = id_only_model(run["model"], json.loads(run["settings"]))
        return next((other for other, runs in self.rows.items() if runs["model"].iloc[0] == model), None)

    @property
    def leaks(self) -> pd.DataFrame:
        """What the leak sentinel said of the data set's modalities, a row each."""
        leaks = self.tables.leaks
        return leaks[(leaks["dataset"] == self.dataset) & (leaks["error"] == "")].sort_values("modality")

    @cached_property
    def sweeps(self) -> dict[str, pd.DataFrame]:
        """The runs of each study of parameters, by its row and keys; a column ``sweep.KEY`` for each key."""
        return self.tables.sweeps(self.dataset)


def _place(modality: str, kind: str) -> tuple[object, ...]:
    """Of a knock-out in a table: modality by modality, all at once last, the kinds in the order of plans' keys."""
    name, _, at_evaluation = kind.partition(AT_EVALUATION)
    return modality == ALL, modality, bool(at_evaluation), AUDITS.index(name) if name in AUDITS else -1, at_evaluation
