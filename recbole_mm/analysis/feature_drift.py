"""``analyse feature-drift``: how far features are from behaviour, before and after the feature adapter (BeFA)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from recbole_mm.analysis.behaviour_cosines import BehaviourCosines, projected_modalities
from recbole_mm.analysis.command import checkpoint_labels, positive_int, save_figure, write_csv
from recbole_mm.analysis.contact_sheet import Card, contact_sheet
from recbole_mm.analysis.items import item_ids, item_pictures, item_titles
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.registry import register_analysis

EDGES = np.linspace(-1, 1, 81)  # bins of 0.025
MOST_ITEMS = 100  # matplotlib draws at most 65,536 pixels
COSINES = ("before", "after", "before_swapped", "after_swapped")
STYLES = (  # what is before lies thin on what is after, and is seen where they are the same
    {"color": "tab:blue", "linewidth": 1.2, "zorder": 3},
    {"color": "tab:orange", "linewidth": 3.0, "zorder": 2, "alpha": 0.8},
    {"color": "tab:green", "linewidth": 0.8, "zorder": 3, "linestyle": "--"},
    {"color": "tab:red", "linewidth": 2.0, "zorder": 1, "linestyle": "--", "alpha": 0.4},
)
MEASURABLE = 1e-3  # change of a cosine; what rounding makes is smaller


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modality", help="default: every modality of a checkpoint")
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures <item_id>.jpg or .png, for a sheet")
    parser.add_argument(
        "--top", type=positive_int, default=10, help="items with the largest change shown (default: %(default)s)"
    )


@register_analysis(
    "feature-drift",
    help="cosines of items' features with their behaviour before and after the feature adapter (BeFA)",
    options=_options,
)
def run_feature_drift(checkpoints: list[OpenedCheckpoint], arguments: argparse.Namespace) -> list[Path]:
    """:func:`write_feature_drift` with the options of `analyse feature-drift`."""
    return write_feature_drift(
        checkpoints, arguments.out, modality=arguments.modality, images=arguments.images, top=arguments.top
    )


@dataclass(frozen=True)
class Drift:
    """One checkpoint's cosines in one modality.

    Attributes:
        has_adapter: whether anything can change.
        items: original ids ``[n]`` of those that have features of their own.
        left_out: how many have none.
        titles: by original id.
        values: ``[4, n]`` in the order of COSINES.
    """

    label: str
    modality: str
    has_adapter: bool
    items: np.ndarray
    left_out: int
    titles: dict[str, str]
    values: np.ndarray

    @property
    def name(self) -> str:
        """What a reader knows it by."""
        return f"{self.label}: {self.modality}"

    @property
    def change(self) -> np.ndarray:
        """After less before, ``[n]``."""
        return self.values[1] - self.values[0]

    @property
    def no_change(self) -> str | None:
        """Why no items are ranked by their change; None where they are."""
        if not self.has_adapter:
            return "there is no feature adapter"
        return None if np.abs(self.change).max() >= MEASURABLE else "the adapter changes nothing measurable"

    def most_changed(self, top: int) -> np.ndarray:
        """Places of the items with the largest change, up or down, the largest first; at most `top`, or none."""
        if self.no_change:
            return np.empty(0, int)
        return np.argsort(-np.abs(self.change), kind="stable")[:top]


def write_feature_drift(
    checkpoints: list[OpenedCheckpoint],
    out: Path,
    *,
    modality: str | None = None,
    images: Path | None = None,
    top: int = 10,
) -> list[Path]:
    """Write the distributions, tables of all items and of the most changed, and their contact sheet; gives all paths.

    What BeFA calls information drift (the feature tells what behaviour does not follow) and omission (it lacks what
    behaviour follows) both lower the cosine of projected feature and ID vector. An adapter that gates the ID vector
    raises it for any feature: the columns `swapped`, with another item's feature, show how much of it is that.
    Items whose features are imputed are left out.

    Args:
        checkpoints: of models that project features; without a feature adapter, nothing changes.
        out: folder, made where it does not exist.
        modality: one; None takes every modality that a checkpoint has.
        images: folder of pictures by item id; None takes the data set's own, if it has one.
        top: most changed items listed per checkpoint and modality.

    Raises:
        ValueError: a checkpoint that has no item ID vectors or no such projected modality; `top` above 100.
        FileNotFoundError: `images` does not exist or is of other items.
    """
    if top > MOST_ITEMS:
        raise ValueError(f"--top: {top} is more than the {MOST_ITEMS} that fit a sheet; feature-drift.csv has all")
    drifts = [
        drift
        for opened, label in zip(checkpoints, checkpoint_labels(checkpoints), strict=True)
        for drift in _drifts(opened, label, modality)
    ]
    logger = logging.getLogger(__name__)
    for drift in drifts:
        if drift.left_out:
            logger.warning("%s: items left out, as they have no features: %d", drift.name, drift.left_out)
        if drift.no_change:
            logger.warning("%s: %s, so that no items are ranked", drift.name, drift.no_change)
    pictures = item_pictures(checkpoints[0].dataset, item_ids(checkpoints[0].dataset), images)
    out.mkdir(parents=True, exist_ok=True)
    figure, *tables = (out / f"feature-drift{end}" for end in (".png", ".csv", "-summary.csv", "-items.csv"))
    save_figure(histograms(drifts), figure)
    write_csv(tables[0], ["checkpoint", "modality", "item_id", "title", *COSINES, "change"], _item_rows(drifts))
    spread = [f"{name}_{kind}" for name in (*COSINES, "change") for kind in ("mean", "sd")]
    write_csv(tables[1], ["checkpoint", "modality", "items", "left_out", *spread], map(_summary_row, drifts))
    header = ["checkpoint", "modality", "rank", "item_id", "title", "before", "after", "change"]
    write_csv(tables[2], header, _changed_rows(drifts, top))
    return [figure, *_write_sheet(drifts, pictures, top, out / "feature-drift-pictures.png"), *tables]


def _drifts(opened: OpenedCheckpoint, label: str, modality: str | None) -> Iterator[Drift]:
    ids, titles = item_ids(opened.dataset), item_titles(opened.dataset)
    for name in [modality] if modality is not None else projected_modalities(opened, label):
        cosines = BehaviourCosines(opened, label, name)
        items = cosines.items_with_features()
        values = np.concatenate([cosines.of_items(items, swapped).cpu().numpy() for swapped in (False, True)])
        shown = ids[items.numpy() - 1]
        yield Drift(label, name, cosines.has_adapter, shown, len(ids) - len(shown), titles, values)


# ---------------------------------------------------------------- figures


def histograms(drifts: list[Drift]):
    """One panel per checkpoint and modality; a matplotlib Figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(len(drifts), 3)
    rows = -(-len(drifts) // columns)
    figure = Figure(figsize=(4.6 * columns, 4.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, drift in zip(panels, drifts, strict=False):
        for name, values, style in zip(COSINES, drift.values, STYLES, strict=True):
            label = f"{name.replace('_', ', ')}: mean {values.mean():.3f}"
            axis.stairs(np.histogram(values.clip(-1, 1), EDGES)[0], EDGES, label=label, **style)
        notes = [f"left out, without features: {drift.left_out}"] if drift.left_out else []
        notes += [drift.no_change] if drift.no_change else []
        axis.set_title("\n".join([fill(drift.name, 60), *notes]), fontsize="small", parse_math=False)
        axis.set(xlabel="cosine of feature and ID vector", ylabel="items", xticks=np.linspace(-1, 1, 5))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        # below, because the cosines can gather anywhere in the panel
        axis.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)
    for axis in panels[len(drifts) :]:
        axis.set_axis_off()
    return figure


def _write_sheet(drifts: list[Drift], pictures: dict[str, Path], top: int, file: Path) -> list[Path]:
    """The pictures of the most changed items; none is written where there are no pictures or no changes."""
    rows = [(drift.name, list(_cards(drift, pictures, top))) for drift in drifts if not drift.no_change]
    if not pictures or not rows:
        file.unlink(missing_ok=True)  # of an earlier run
        return []
    figure, unreadable = contact_sheet(rows)
    save_figure(figure, file)
    if unreadable:
        names = ", ".join(str(one) for one in dict.fromkeys(unreadable))
        logging.getLogger(__name__).warning("left out, as they cannot be read as pictures: %s", names)
    return [file]


def _cards(drift: Drift, pictures: dict[str, Path], top: int) -> Iterator[Card]:
    for place in drift.most_changed(top):
        item = str(drift.items[place])
        note = f"{drift.values[0, place]:.3f} to {drift.values[1, place]:.3f}"
        yield Card(drift.titles.get(item, "") or item, note, pictures.get(item))


# ---------------------------------------------------------------- tables


def _item_rows(drifts: list[Drift]) -> Iterator[list]:
    for drift in drifts:
        for item, values, change in zip(drift.items, drift.values.T, drift.change, strict=True):
            yield [drift.label, drift.modality, item, drift.titles.get(item, ""), *values, change]


def _summary_row(drift: Drift) -> list:
    columns = [*drift.values, drift.change]
    numbers = [number for one in columns for number in (one.mean(), one.std(ddof=1))]
    return [drift.label, drift.modality, len(drift.items), drift.left_out, *numbers]


def _changed_rows(drifts: list[Drift], top: int) -> Iterator[list]:
    for drift in drifts:
        for rank, place in enumerate(drift.most_changed(top), start=1):
            item = drift.items[place]
            numbers = [*drift.values[:2, place], drift.change[place]]
            yield [drift.label, drift.modality, rank, item, drift.titles.get(item, ""), *numbers]
