"""Figures of a report: names that hide nothing, and the spreads of the tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from recbole_mm.experiment import plots
from recbole_mm.experiment.identity import knock_out_name
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from tests.experiment.test_report import names, result

N_ROWS, SEEDS = 14, 3
KEPT = "shuffle at evaluation, graphs kept"


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> DatasetResults:
    """Fourteen rows that are much alike, the last one compared with; a knock-out of the first one's own models."""
    store = Store(tmp_path_factory.mktemp("plots") / "store")
    for row, seed in itertools.product(range(N_ROWS), range(SEEDS)):
        store.add(result(f"r{row}", f"a row with a long name, {row}", seed, 0.6 - row / 500))
    for seed in range(SEEDS):
        audit = {"row": "a row with a long name, 0", "modality": "textual", "kind": KEPT}
        again = result("r0", f"{audit['row']}, textual {KEPT}", seed, 0.6, audit=json.dumps(audit))
        run, row = (knock_out_name(name, ["textual", "shuffle", "kept"]) for name in names("r0", "r0", seed))
        store.add(replace(again, record=replace(again.record, run=run, row=row)))
    store.write_tables()
    return DatasetResults(read_store(store.folder), "toy", [f"a row with a long name, {N_ROWS - 1}"])


@pytest.fixture
def figures(found, monkeypatch) -> dict[str, Figure]:
    """By the beginning of their captions, drawn."""
    drawn: dict[str, Figure] = {}

    def keep(dataset: str, captions: dict[str, Figure], folder: Path) -> Iterator[plots.Plot]:
        for caption, figure in captions.items():
            FigureCanvasAgg(figure).draw()
            drawn[caption] = figure
        return iter(())

    monkeypatch.setattr(plots, "_written", keep)
    assert not list(plots.plots_of(found, Path()))
    return drawn


def figure_with(figures: dict[str, Figure], text: str) -> Figure:
    (figure,) = (figure for caption, figure in figures.items() if text in caption)
    return figure


def test_names_of_points_hide_none_of_the_others(figures):
    figure = figure_with(figures, "Cost")
    names = [child for child in figure.axes[0].get_children() if isinstance(child, Annotation)]
    boxes = [super(Annotation, name).get_window_extent() for name in names]  # of the texts, without their lines
    assert len(boxes) == N_ROWS
    frame, page = figure.axes[0].get_window_extent(), figure.bbox
    assert all(box.x0 > frame.x1 and box.x1 <= page.x1 and page.y0 <= box.y0 for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("text", ["Validation", "of each kind"])
def test_legends_stand_beside_what_is_drawn_and_captions_say_which_rows(found, figures, text):
    (caption,) = (caption for caption in figures if text in caption)
    assert "; 10 of 14 rows: the best, and those compared with" in caption
    axis = figures[caption].axes[0]
    names = [name.get_text() for name in axis.get_legend().get_texts()]
    best = [row for row in found.rows if row != found.bases[0]][:9]
    assert names == [row for row in found.rows if row in (*best, found.bases[0])]
    legend = axis.get_legend().get_window_extent()
    assert legend.x0 >= axis.get_window_extent().x1 - 1 and legend.x1 <= figures[caption].bbox.x1 + 1


def test_bars_have_the_spread_of_the_tables(found, figures):
    axis = figure_with(figures, "of each kind").axes[0]
    bars = next(container for container in axis.containers if isinstance(container, BarContainer))
    (segments,), seeds = bars.errorbar.lines[2], found.strata.set_index("row").iloc[0]
    lengths = [(end - start)[1] / 2 for start, end in segments.get_segments()]
    assert lengths == pytest.approx([np.std(values, ddof=1) for values in seeds])


def test_a_map_of_knock_outs_has_room_beside_its_names(figures):
    figure = figure_with(figures, "where a modality is replaced")
    frame = figure.axes[0].get_window_extent()
    assert frame.height / figure.dpi > 0.8
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == [f"textual {KEPT}"]
    assert labels[0].get_window_extent().y0 >= 0


def test_models_that_were_tested_twice_with_one_result_have_lost_nothing(found):
    ((_, own),) = found.audits.items()
    (comparison,) = own.values()
    assert (comparison.difference, comparison.low, comparison.high, comparison.detectable) == (0, 0, 0, 0)
