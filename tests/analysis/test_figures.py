"""Figures: three forms of each, the same each time; titles within their panels; constants said to be so."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from recbole_mm.analysis.attribution.becam import Attribution
from recbole_mm.analysis.attribution.figures import draw_curves, heat_map
from recbole_mm.analysis.contact_sheet import Card, contact_sheet
from recbole_mm.analysis.embedding_map.entry import SAME, map_figure
from recbole_mm.analysis.embedding_map.user_map import UserMap
from recbole_mm.analysis.feature_drift.drift import Drift
from recbole_mm.analysis.feature_drift.figures import histograms as drift_histograms
from recbole_mm.analysis.figures import described, is_constant, panel_title, save_figure
from recbole_mm.analysis.modality_weights.figures import histograms
from recbole_mm.analysis.modality_weights.weight_tables import ModalityWeights

THIRD = np.full(9, 1 / 3, np.float32)


def drawn() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], label="a $ b $")
    return figure


def test_png_svg_and_pdf_are_the_same_each_time(tmp_path):
    first = save_figure(drawn(), tmp_path / "one.png")
    assert [file.name for file in first] == ["one.png", "one.svg", "one.pdf"]
    starts = (b"\x89PNG", b"<?xml", b"%PDF")
    assert all(file.read_bytes().startswith(start) for file, start in zip(first, starts, strict=True))
    second = save_figure(drawn(), tmp_path / "two.png")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.parametrize("width", [3.6, 5.0])
def test_long_titles_stay_within_their_panels(width):
    figure = Figure(figsize=(3 * width, 3), layout="constrained")
    panels = figure.subplots(1, 3)
    label = "MARGO over POWERec + soft_prompt (feature_adapter: lora, learning_rate: 0.0005, seed: 2024)"
    for axis in panels:
        panel_title(axis, label, width, ["the adapter changes nothing measurable"])
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in panels]
    assert all(left.x1 < right.x0 for left, right in zip(boxes[:-1], boxes[1:], strict=True))
    assert boxes[0].x0 > 0 and boxes[-1].x1 < figure.bbox.x1


def test_users_ids_stay_within_the_picture_and_apart_however_close_the_users():
    users = [f"somebody {number}" for number in range(8)]
    items = {"a": np.zeros(2), "b": np.array([40.0, 30.0])}
    corner = np.array([40.0, 30.0]) + 1e-3 * np.arange(16).reshape(8, 2)
    figure = map_figure([UserMap("LUDP", users, [["a", "b"]] * 8, corner, items)])
    figure.draw_without_rendering()
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == users
    boxes = [Text.get_window_extent(text) for text in axis.texts]
    frame = axis.get_window_extent()
    assert all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max))
    assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place])


def test_rounding_is_constant_and_a_result_is_not():
    assert is_constant(THIRD + np.float32(1e-7) * (np.arange(9) % 2))
    assert is_constant(np.array([]))
    assert not is_constant(THIRD + np.float32(1e-4) * (np.arange(9) % 2))
    assert not is_constant(np.array([0.0, 1e-9]))  # tiny numbers may differ
    assert is_constant(np.array([0.0, 1e-9]), scale=1.0)  # unless they are differences of larger ones
    assert described("visual", THIRD, "mean 0.333") == "visual: constant, 0.333"
    assert described("visual", np.arange(3.0), "mean 1", "SD 0.8") == "visual: mean 1, SD 0.8"
    assert described("visual", np.array([]), "mean nan") == "visual: no values"


def test_a_map_of_rounding_is_grey():
    black = np.zeros((4, 4, 3), np.uint8)
    noise = np.float32(1e-8) * np.arange(16, dtype=np.float32).reshape(4, 4)
    assert len(np.unique(heat_map(black, noise, scale=1.0))) == 1
    assert len(np.unique(heat_map(black, noise))) > 1


def attribution(curves: np.ndarray) -> Attribution:
    return Attribution("mine", "i0", np.ones(2), np.zeros((4, 2, 2)), curves, 1.0, np.ones(2))


def test_curves_that_do_not_move_are_said_to_be_constant():
    curves = np.ones((2, 5, 2, 4), np.float32)
    curves[:, :, 1] -= np.float32(6e-8) * np.arange(4)
    curves[0, :, 0] = np.linspace(0.9, 0.1, 4)
    moving, flat, *_ = draw_curves([attribution(curves)], ["mine"]).axes
    assert moving.get_title() == "mine"
    assert flat.get_title() == "mine\nconstant: 1"
    assert np.ptp(flat.get_ylim()) > 0.5


def test_heat_maps_have_a_colour_bar():
    plain, _ = contact_sheet([("heading", [Card("title", "note", None)])])
    heat, _ = contact_sheet([("heading", [Card("title", "note", None)])], "turbo")
    assert len(heat.axes) == len(plain.axes) + 1
    shown = [label.get_text() for label in heat.axes[0].get_xticklabels()]
    assert shown == ["least of the map", "most"]


def labels(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_histograms_of_rounding_are_said_to_be_constant():
    ids, values = np.arange(9).astype(str), np.stack([THIRD + np.float32(3e-8) * np.arange(9), THIRD], axis=1)
    weights = ModalityWeights("mine", "item", ["id", "visual"], ids, values, np.ones(9), values > 0)
    assert [labels(axis) for axis in histograms([weights]).axes] == [["mine: constant, 0.333"]] * 2
    cosines = np.stack([np.linspace(-1, 1, 9), 1 - 1e-7 * np.arange(9), np.linspace(-1, 1, 9), np.ones(9)])
    (axis,) = drift_histograms([Drift("mine", "visual", True, ids, 0, {}, cosines, np.zeros((2, 4, len(ids))))]).axes
    assert labels(axis)[:2] == ["before: mean 0.000", "after: constant, 1"]


@pytest.mark.parametrize("same", [True, False])
def test_a_map_of_vectors_that_are_all_alike_says_so(same):
    points = np.arange(4.0).reshape(2, 2)
    (axis,) = map_figure([UserMap("mine", ["u", "w"], [["a"], ["a"]], points, {"a": np.zeros(2)}, same)]).axes
    assert ("within rounding" in axis.get_title().replace("\n", " ")) == same
    assert "within rounding" in SAME
