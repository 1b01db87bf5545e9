"""Figures of `analyse attribution`: heat maps over pictures, and deletion and insertion curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recbole_mm.analysis.attribution.becam import PERTURBATIONS, RANKINGS, SCORES, Attribution
from recbole_mm.analysis.attribution.score_cam import min_max, upsample
from recbole_mm.analysis.figures import is_constant, panel_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "turbo"  # matplotlib's name
WIDTH = 3.6  # inches of a panel


def heat_map(colours: np.ndarray, importance: np.ndarray, scale: float = 0.0) -> np.ndarray:
    """A map ``[h, w]``, scaled to its own range, in colours over a picture, uint8 ``[H, W, 3]``; red is most.

    It is grey where the map is the same everywhere within rounding, beside numbers of the size `scale`.
    """
    from matplotlib import colormaps

    heat = min_max(upsample(torch.from_numpy(importance).unsqueeze(0), colours.shape[:2]))[0].numpy()
    shown = np.full_like(colours, 0.5, float) if is_constant(importance, scale) else colormaps[COLOURS](heat)[..., :3]
    mixed = 0.5 * colours / 255 + 0.5 * shown
    return (mixed * 255).round().astype(np.uint8)


def draw_curves(results: list[Attribution], labels: list[str]) -> Figure:
    """Means over the items, one row of panels per checkpoint; a matplotlib Figure."""
    from matplotlib.figure import Figure

    kinds = [(p, s) for p in range(len(PERTURBATIONS)) for s in range(len(SCORES))]
    figure = Figure(figsize=(WIDTH * len(kinds), 3.2 * len(labels) + 0.4), layout="constrained")
    panels = figure.subplots(len(labels), len(kinds), squeeze=False)
    for row, label in zip(panels, labels, strict=True):
        mean = np.mean([result.curves for result in results if result.label == label], axis=0)
        for axis, (perturbation, score) in zip(row, kinds, strict=True):
            for name, curve in zip(RANKINGS, mean[perturbation, :, score], strict=True):
                style = {"color": "0.5", "linestyle": "--"} if name == "random" else {}
                axis.plot(np.linspace(0, 1, len(curve)), curve, label=name, **style)
            verb = "deleted" if perturbation == 0 else "inserted"
            axis.set(xlabel=f"share of pixels {verb}", ylabel=f"cosine {SCORES[score]} the adapter")
            curves = mean[perturbation, :, score]
            panel_title(axis, label, WIDTH, [f"constant: {curves.mean():.3g}"] if is_constant(curves) else [])
            if is_constant(curves):
                axis.set_ylim(curves.mean() - 0.5, curves.mean() + 0.5)
            axis.ticklabel_format(axis="y", useOffset=False)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RANKINGS))
    return figure
