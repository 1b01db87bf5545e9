"""The report of single checkpoints: tests, strata, settings, and what they recommend to some users."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_mm.analysis.command import checkpoint_labels
from recbole_mm.analysis.items import item_fields, item_ids, item_pictures, item_titles
from recbole_mm.experiment.cold_section import cold_sections
from recbole_mm.experiment.examples import Shares, check_users, examples_of
from recbole_mm.experiment.identity import row_name, run_name
from recbole_mm.experiment.item_cards import ItemCards
from recbole_mm.experiment.measured import (
    check_full_sort,
    data_tables,
    evaluate_checkpoint,
    lists_beyond,
    per_user_table,
)
from recbole_mm.experiment.plots import plots_of_checkpoints
from recbole_mm.experiment.published_section import published_sections
from recbole_mm.experiment.record import Record, RunResult
from recbole_mm.experiment.report import N_EXAMPLES, Report
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.run_end import run_end
from recbole_mm.experiment.sections import Section, beyond_section, strata_section
from recbole_mm.experiment.single_runs import differences_section, headline_section
from recbole_mm.experiment.statistics import ALPHA
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from recbole_mm.host.datasets import data_set
from recbole_mm.io.names import check_known
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.late_fusion import ModalityRatings
from recbole_mm.trainer.checkpoint import OF_THE_RUN, settings
from recbole_mm.trainer.fingerprints import fingerprint

_WORDS = (
    f"These are single trained models: intervals ({1 - ALPHA:.0%}, bootstrap) and paired tests are over the test users "
    "alone, and say whether these weights differ on such users. Whether one model is better than another needs several "
    "seeds: recbole-mm experiment."
)
_SHARES = (
    "Below an item of a list: each modality's part of its score, as a share of the sum of the parts' sizes; a negative "
    "part speaks against the item."
)


def write_checkpoint_report(
    checkpoints: list[OpenedCheckpoint],
    folder: Path,
    users: int | list[str] = N_EXAMPLES,
    images: Path | None = None,
    fields: list[str] | None = None,
    compare_with: list[str] | None = None,
) -> tuple[Path, list[str]]:
    """Write the report of checkpoints; gives the page's path and the names of pictures that could not be read.

    All are tested in the metrics and lengths of any of them.

    Args:
        checkpoints: of one data set, split in one way.
        folder: made where it does not exist.
        users: shown as examples; how many, or which.
        images: folder of pictures by item id; None takes the data set's own, if it has one.
        fields: of the ``.item`` file, the first as the title; None takes the title alone, if there is one.
        compare_with: labels that all others are compared with; the first if not given.

    Raises:
        ValueError: checkpoints of other data, or tested on sampled items; an unknown user, label or field.
        FileNotFoundError: `images` does not exist or is of other items.
    """
    labels = checkpoint_labels(checkpoints)
    _check_same_data(checkpoints)
    check_known(compare_with or [], labels, "--compare_with", "checkpoint")
    cards = _cards(checkpoints[0], images, fields)
    by_label = dict(zip(labels, checkpoints, strict=True))
    with tempfile.TemporaryDirectory() as place:
        results = _results(by_label, Path(place) / "store", compare_with or labels[:1])
        check_users(users, [results])
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        page = _report(results, by_label, users, cards, folder / "figures").write(folder)
    return page, cards.unreadable


def _report(
    results: DatasetResults,
    checkpoints: dict[str, OpenedCheckpoint],
    users: int | list[str],
    cards: ItemCards,
    figures: Path,
) -> Report:
    """Sections, plots, which are written into `figures`, and examples."""
    labels = list(checkpoints)
    parts = {
        label: checkpoint for label, checkpoint in checkpoints.items() if isinstance(checkpoint.model, ModalityRatings)
    }
    return Report(
        ", ".join(labels),
        [_WORDS, *([_SHARES] if parts else [])],
        list(_sections(results, checkpoints)),
        list(plots_of_checkpoints(results, figures)),
        {results.dataset: list(examples_of(results, users, cards, labels, _shares(parts)))},
        cards.unreadable,
        made_with=list(_made_with(checkpoints)),
    )


def _check_same_data(checkpoints: list[OpenedCheckpoint]) -> None:
    first, *others = checkpoints
    for checkpoint in checkpoints:
        check_full_sort(checkpoint)
    for checkpoint in others:
        if checkpoint.dataset.dataset_name != first.dataset.dataset_name:
            names = f"'{checkpoint.dataset.dataset_name}', and {first.path} '{first.dataset.dataset_name}'"
            raise ValueError(f"{checkpoint.path} is of data set {names}; one report is of one data set")
        histories = [opened.config["eval_history"] or "train_valid" for opened in (checkpoint, first)]
        if histories[0] != histories[1]:
            raise ValueError(
                f"{checkpoint.path} leaves other items out of its lists than {first.path} (eval_history: "
                f"{' and '.join(histories)}); their metrics do not compare"
            )
        if _splits(checkpoint) != _splits(first):
            raise ValueError(
                f"{checkpoint.path} was trained or tested on other interactions than {first.path} (data, eval_args or "
                "seed); "
                "their metrics do not compare"
            )


def _splits(opened: OpenedCheckpoint) -> list[str]:
    return [fingerprint(data_set(loader)) for loader in (opened.train_data, opened.test_data)]


def _results(checkpoints: dict[str, OpenedCheckpoint], folder: Path, compare_with: list[str]) -> DatasetResults:
    """As those of an experiment with a run of each."""
    store = Store(folder)
    measured = {
        "metrics": _union(checkpoint.config["metrics"] for checkpoint in checkpoints.values()),
        "topk": sorted(_union(checkpoint.config["topk"] for checkpoint in checkpoints.values())),
    }
    runs = []
    for label, opened in checkpoints.items():
        for key, value in measured.items():
            opened.config[key] = value
        found = _run_result(label, opened)
        store.add(found)
        runs.append(found.record.run)
    store.write_tables(runs)
    tables = read_store(folder)
    return DatasetResults(tables, tables.datasets[0], compare_with)


def _union(lists: Iterable[Any]) -> list[Any]:
    found = {str(name).lower(): name for values in lists for name in (values if isinstance(values, list) else [values])}
    return list(found.values())


def _run_result(label: str, opened: OpenedCheckpoint) -> RunResult:
    users, config = evaluate_checkpoint(opened), opened.config
    train, end = data_set(opened.train_data), run_end(opened)
    dataset, model, seed = opened.dataset.dataset_name, config["model"], config["seed"]
    own = {**settings(config), "checkpoint": label}  # in which two of one model may differ alone
    row = row_name(dataset, model, own)
    record = Record(
        run_name(row, seed), row, dataset, label, model, seed, json.dumps(own), chosen_by=config["valid_metric"],
        test=users.averages, best_epoch=end.best_epoch, ended=end.ended,
        beyond=lists_beyond(users, opened.train_data, opened.test_data), data="data",
    )  # fmt: skip
    return RunResult(record, per_user_table(users, train), [], data_tables(opened.train_data, opened.test_data))


def _sections(results: DatasetResults, checkpoints: dict[str, OpenedCheckpoint]) -> Iterator[Section]:
    yield headline_section(results)
    if len(checkpoints) > 1:
        for base in results.bases:
            yield differences_section(results, base)
    yield strata_section(results)
    yield from cold_sections(results)
    yield beyond_section(results)
    yield from published_sections(results)
    yield from _settings_sections(
        results.dataset, {name: settings(checkpoint.config) for name, checkpoint in checkpoints.items()}
    )


def _settings_sections(dataset: str, values: dict[str, dict[str, Any]]) -> Iterator[Section]:
    keys = sorted({key for own in values.values() for key in own} - OF_THE_RUN)
    table = pd.DataFrame(
        [{"key": key, **{name: str(own.get(key, "")) for name, own in values.items()}} for key in keys]
    )
    differ = table[table[list(values)].nunique(axis=1) > 1]
    if len(differ):
        yield Section(dataset, f"{dataset}-differ", "Settings that differ", "", differ)
    yield Section(dataset, f"{dataset}-settings", "Settings", "", table, is_folded=True)


def _cards(opened: OpenedCheckpoint, images: Path | None, fields: list[str] | None) -> ItemCards:
    dataset = opened.dataset
    texts = {item: [title] for item, title in item_titles(dataset).items()} if fields is None else (
        item_fields(dataset, fields)
    )  # fmt: skip
    return ItemCards(texts, item_pictures(dataset, item_ids(dataset), images))


def _shares(checkpoints: dict[str, OpenedCheckpoint]) -> Shares:
    """Texts of the parts of scores, of checkpoints with a rating per modality."""

    @torch.no_grad()
    def shares(label: str, user: str, items: list[str]) -> list[str]:
        if label not in checkpoints:
            return [""] * len(items)
        model, dataset = checkpoints[label].model, checkpoints[label].dataset
        ids = torch.from_numpy(np.asarray(dataset.token2id(dataset.iid_field, items))).to(model.device)
        users = torch.full_like(ids, int(dataset.token2id(dataset.uid_field, user)))
        parts = model.score_parts(users, ids).double()
        rows = (parts / parts.abs().sum(dim=1, keepdim=True).clamp(min=1e-30)).tolist()
        names = model.rated_modalities
        return [", ".join(f"{name} {share:.0%}" for name, share in zip(names, row, strict=True)) for row in rows]

    return shares


def _made_with(checkpoints: dict[str, OpenedCheckpoint]) -> Iterator[str]:
    for label, checkpoint in checkpoints.items():
        config = checkpoint.config
        name = checkpoint.dataset.dataset_name
        yield f"{label}: {checkpoint.path.name}, {config['model']} on {name}, seed {config['seed']}"
    yield "tested with " + ", ".join(f"{name} {version(name)}" for name in ("recbole-mm", "recbole", "torch", "numpy"))
    yield f"on {platform.machine()}, {next(iter(checkpoints.values())).config['device']}"
