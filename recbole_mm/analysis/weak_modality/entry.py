"""Figure 3 of the POWERec paper: how each modality, and the hard negative, separates training triplets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed
from torch import Tensor
from tqdm import tqdm

from recbole_mm.analysis.command import by_label, write_csv
from recbole_mm.analysis.figures import count_upwards, described, panel_title, save_figure
from recbole_mm.analysis.options import analysis
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.late_fusion import ModalityRatings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 60
Series = list[tuple[str, dict[str, dict[str, np.ndarray]]]]  # checkpoint, histogram, name, values


def triplet_margins(opened: OpenedCheckpoint) -> tuple[np.ndarray, np.ndarray]:
    """Margins and ratings of one epoch of training triplets (u, i, k), with a full-graph forward.

    Returns:
        ``d^m = y^m_ui - y^m_uk``, ``[n_triplets, M]``, and the positive's rating ``y_ui``, ``[n_triplets]``.

    Raises:
        ValueError: the model has no rating per modality.
    """
    model = opened.model
    if not isinstance(model, ModalityRatings):
        raise ValueError(
            f"{opened.path}: {type(model).__name__} has no rating per modality; weak-modality needs a "
            "late-fusion model such as POWERec"
        )
    init_seed(opened.config["seed"], True)  # negatives and order are the same at every call
    opened.train_data.generator.manual_seed(opened.config["seed"])
    with torch.no_grad():
        users, items = model.encode()
        batches = [
            _batch_ratings(model, users, items, batch.to(model.device))
            for batch in tqdm(opened.train_data, desc=f"Triplets of {opened.path.name}", ncols=100)
        ]
    positive, negative = (torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True))
    return positive - negative, positive.sum(axis=1)


def _batch_ratings(model: ModalityRatings, users: Tensor, items: Tensor, batch: Interaction) -> tuple[Tensor, Tensor]:
    user, positive, negative = model.batch(batch)
    rows = users[user]
    return (rows * items[positive]).sum(dim=-1), (rows * items[negative]).sum(dim=-1)


@analysis("weak-modality", help="margins per modality, positive against hard-negative ratings (POWERec)")
def write_weak_modality(checkpoints: list[OpenedCheckpoint], out: Path) -> list[Path]:
    """Write `weak-modality.png` (SVG, PDF) and `weak-modality.csv` into `out`; gives their paths.

    Per checkpoint two histograms: the margin of each modality, and the ratings of positive and hard negative
    items (the hard negative's is ``y_ui - min_m d^m``). All checkpoints share the bins.
    """
    series: Series = []
    for label, opened in by_label(checkpoints).items():
        margins, positive = triplet_margins(opened)
        named = dict(zip(opened.model.rated_modalities, margins.T, strict=True))
        ratings = {"positive": positive, "hard negative": positive - margins.min(axis=1)}
        series.append((label, {"margin": named, "rating": ratings}))
    edges = {kind: _shared_bins([s[kind] for _, s in series]) for kind in ("margin", "rating")}
    table = out / "weak-modality.csv"
    figures = save_figure(_figure(series, edges), out / "weak-modality.png")
    _write_csv(series, edges, table)
    return [*figures, table]


def _shared_bins(groups: list[dict[str, np.ndarray]]) -> np.ndarray:
    values = np.concatenate([study for group in groups for study in group.values()])
    low, high = np.quantile(values, [0.001, 0.999])
    return np.linspace(low, high, BINS + 1)


def _figure(series: Series, edges: dict[str, np.ndarray]) -> Figure:
    """A row of panels per checkpoint; a matplotlib Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4 * len(series)), layout="constrained")
    axes = figure.subplots(len(series), 2, squeeze=False, sharex="col")
    labels = {"margin": r"$d^m = y^m_{ui} - y^m_{uk}$", "rating": r"rating $y$"}
    for row, (checkpoint, groups) in zip(axes, series, strict=True):
        for axis, kind in zip(row, ("margin", "rating"), strict=True):
            # margins are differences of numbers of this size
            size = max(np.abs(values).max() for values in groups["rating"].values())
            for name, values in groups[kind].items():
                label = described(name, values, f"mean {values.mean():.3g}", scale=size)
                axis.hist(values, edges[kind], histtype="step", linewidth=1.5, label=label)
            panel_title(axis, checkpoint, 5)
            axis.set(ylabel="training triplets", xlabel=labels[kind])
            count_upwards(axis)
            axis.axvline(0, color="0.7", linewidth=0.8, zorder=0)
            axis.legend(fontsize="small")
    return figure


def _write_csv(series: Series, edges: dict[str, np.ndarray], file: Path) -> None:
    header = ["checkpoint", "histogram", "series", "mean", "share_below_zero", "bin_from", "bin_to", "count"]
    write_csv(file, header, _csv_rows(series, edges))


def _csv_rows(series: Series, edges: dict[str, np.ndarray]) -> Iterator[list[Any]]:
    for name, groups in series:
        for kind, group in groups.items():
            for label, values in group.items():
                counts, bins = np.histogram(values, edges[kind])
                summary = [name, kind, label, float(values.mean()), float((values < 0).mean())]
                for count, low, high in zip(counts, bins[:-1], bins[1:], strict=True):
                    yield [*summary, float(low), float(high), count]
