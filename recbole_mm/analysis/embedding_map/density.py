"""How evenly items spread: the Gaussian kernel density of their embeddings on the unit circle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.analysis.command import write_csv
from recbole_mm.analysis.figures import panel_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = np.linspace(-1.3, 1.3, 53)  # steps of 0.05, half the bandwidth of tens of thousands of points
MOST_COLUMNS = 4  # of panels side by side
ANGLES = np.linspace(-np.pi, np.pi, 361)


@dataclass(frozen=True)
class ItemDensity:
    """Item embeddings on the unit circle and their density there.

    The embeddings are projected on their first two principal components and divided by their length.

    Attributes:
        label: name of the checkpoint.
        ids: original item ids, ``[n]``.
        projected: on the principal components, ``[n, 2]``.
        points: on the unit circle, ``[n, 2]``.
        plane: density over the plane, ``[len(GRID), len(GRID)]``, first axis y.
        angle: density over the angle at ANGLES, in radians, ``[len(ANGLES)]``; integrates to 1.
    """

    label: str
    ids: np.ndarray
    projected: np.ndarray
    points: np.ndarray
    plane: np.ndarray
    angle: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, ids: np.ndarray, label: str) -> ItemDensity:
        """Of item embeddings ``[n, width]``; raises ValueError where they lie on a line or in a point."""
        projected = principal_components(vectors)
        spread = projected.std(axis=0)
        if len(spread) < 2 or spread[1] <= 1e-6 * max(spread[0], np.abs(vectors).max()):
            raise ValueError(
                f"the vectors of {label} lie on a line or in a point, which has no density on the "
                "circle; is the model trained, with an embedding_size of at least 2?"
            )
        # an item exactly in the middle has no direction; it stays there
        points = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
        return cls(label, ids, projected, points, plane_density(points), angle_density(angles_of(points)))


def principal_components(vectors: np.ndarray) -> np.ndarray:
    """The centred vectors ``[n, width]`` on their first two principal components, ``[n, 2]``.

    The sign of a component is that of its largest coefficient, so that it does not depend on the solver.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending eigenvalues
    axes = axes[:, :-3:-1]
    return centred @ (axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]))


def angles_of(points: np.ndarray) -> np.ndarray:
    """Angles of ``[n, 2]`` points in radians, ``[n]``, in (-pi, pi]."""
    return np.arctan2(points[:, 1], points[:, 0])


def plane_density(points: np.ndarray) -> np.ndarray:
    """Gaussian kernel density (Scott's bandwidth) of ``[n, 2]`` points over GRID x GRID, first axis y."""
    from scipy.stats import gaussian_kde

    x, y = np.meshgrid(GRID, GRID)
    return gaussian_kde(points.T)(np.stack([x.ravel(), y.ravel()])).reshape(x.shape)


def angle_density(angles: np.ndarray) -> np.ndarray:
    """Gaussian kernel density of ``[n]`` angles at ANGLES, closed around the circle.

    The circle is cut opposite the mean direction before Scott's bandwidth is taken, so that turning the
    points only turns the density.
    """
    from scipy.stats import gaussian_kde

    middle = np.angle(np.exp(1j * angles).mean())
    density = gaussian_kde(_wrapped(angles - middle))
    places = _wrapped(ANGLES - middle)
    return sum(density(places + turn) for turn in (-2 * np.pi, 0, 2 * np.pi))


def _wrapped(angles: np.ndarray) -> np.ndarray:
    return (angles + np.pi) % (2 * np.pi) - np.pi


def density_figure(densities: list[ItemDensity], what: str = "Item embeddings") -> Figure:
    """Above the density over the plane, one colour scale for all; below the density over the angle."""
    from matplotlib.figure import Figure

    columns = min(len(densities), MOST_COLUMNS)
    rows = -(-len(densities) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.8, 6.6 * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False, sharey="row", height_ratios=(2.2, 1) * rows)
    upper, lower = panels[::2], panels[1::2]
    highest = max(density.plane.max() for density in densities)
    for above, below, density in zip(upper.ravel(), lower.ravel(), densities, strict=False):
        image = above.pcolormesh(GRID, GRID, density.plane, cmap="Blues", vmin=0, vmax=highest, shading="gouraud")
        image.set_rasterized(True)  # thousands of triangles where a figure is drawn by lines
        panel_title(above, density.label, 4.6)
        above.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel="component 1")
        below.plot(ANGLES, density.angle)
        below.fill_between(ANGLES, density.angle, alpha=0.25)
        below.set(xlim=(-np.pi, np.pi), xlabel="angle in radians")
    for above, below in zip(upper[:, 0], lower[:, 0], strict=True):
        below.set(ylim=(0, None), ylabel="density")
        above.set_ylabel("component 2")
    for unused in (*upper.ravel()[len(densities) :], *lower.ravel()[len(densities) :]):
        unused.set_axis_off()
    figure.suptitle(f"{what} on their principal components, at unit length")
    figure.colorbar(image, ax=list(upper.ravel()), label="density", shrink=0.8 / rows)
    return figure


def write_densities(densities: list[ItemDensity], out: Path) -> list[Path]:
    """Write items, plane density and angle density as three tables; gives their paths."""
    files = [out / f"embedding-{name}.csv" for name in ("items", "density", "angle-density")]
    header = ["checkpoint", "item_id", "component_1", "component_2", "circle_x", "circle_y", "angle"]
    write_csv(files[0], header, _item_rows(densities))
    write_csv(files[1], ["checkpoint", "x", "y", "density"], _plane_rows(densities))
    angles = ([density.label, *pair] for density in densities for pair in zip(ANGLES, density.angle, strict=True))
    write_csv(files[2], ["checkpoint", "angle", "density"], angles)
    return files


def _item_rows(densities: list[ItemDensity]) -> Iterator[list[Any]]:
    for density in densities:
        columns = (density.ids, density.projected, density.points, angles_of(density.points))
        for item, projected, point, angle in zip(*columns, strict=True):
            yield [density.label, item, *projected, *point, angle]


def _plane_rows(densities: list[ItemDensity]) -> Iterator[list[Any]]:
    for density in densities:
        for y, row in zip(GRID, density.plane, strict=True):
            for x, value in zip(GRID, row, strict=True):
                yield [density.label, x, y, value]
