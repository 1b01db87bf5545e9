"""`analyse modality-map`: whose features it shows, where they lie, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from safetensors.numpy import load_file

from recbole_mm.__main__ import main
from recbole_mm.analysis.embedding_map.density import principal_components
from recbole_mm.analysis.embedding_map.user_map import tsne
from recbole_mm.analysis.modality_map.entry import map_figure
from recbole_mm.analysis.modality_map.vectors import FeatureMap, FeatureView, draw_items
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.analyses import AnalysisConformance


class TestConformance(AnalysisConformance):
    analysis = "modality-map"
    model = "FREEDOM"
    settings = {"knn_k": 4, "feature_adapter": "befa"}
    options = ("--items", "12")


@pytest.fixture(scope="module")
def lora(train) -> Path:
    return train("BM3", feature_adapter="lora")


@pytest.fixture(scope="module")
def plain(train) -> Path:
    return train("BM3")


def run(*arguments) -> int:
    return main(["analyse", "modality-map", *map(str, arguments)])


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


@pytest.fixture(scope="module")
def out(lora, plain, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("map")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["pytest"])
        assert run(lora, plain, "--items", 20, "--out", folder) == 0
    return folder


def features_of(checkpoint: Path, ids: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """By stage and modality from the saved weights, in double precision."""
    opened = open_checkpoint(checkpoint)
    rows = [opened.dataset.field2token_id["item_id"][item] for item in ids]
    weights = {name: raw.astype(np.float64) for name, raw in load_file(checkpoint.with_suffix(".safetensors")).items()}
    found = {}
    for place, name in enumerate(opened.model.modalities):
        feature = weights[f"{name}_feature"][rows]
        projected = feature @ weights[f"projections.{place}.weight"].T + weights[f"projections.{place}.bias"]
        found["projected", name] = projected
        if f"feature_adapters.{name}.down.weight" in weights:
            down, up = (weights[f"feature_adapters.{name}.{part}.weight"] for part in ("down", "up"))
            found["adapted", name] = projected + projected @ down.T @ up.T
    return found


def test_the_same_items_of_every_checkpoint_projected_and_adapted(out):
    rows = table(out / "modality-map.csv")
    groups: dict[tuple, list[str]] = {}
    for row in rows:
        groups.setdefault((row["checkpoint"], row["stage"], row["modality"]), []).append(row["item_id"])
    stages = [("BM3 + lora", "projected"), ("BM3 + lora", "adapted"), ("BM3", "projected")]
    assert list(groups) == [(*stage, modality) for stage in stages for modality in ("visual", "textual")]
    (shown,) = {tuple(items) for items in groups.values()}
    assert len(shown) == len(set(shown)) == 20 and "i29" not in shown  # which has no features


def test_directions_are_those_of_the_saved_weights(out, lora):
    """On their principal components, at unit length."""
    rows = [row for row in table(out / "modality-map.csv") if row["checkpoint"] == "BM3 + lora"]
    ids = [row["item_id"] for row in rows[:20]]
    for (stage, modality), vectors in features_of(lora, ids).items():
        mine = [row for row in rows if (row["stage"], row["modality"]) == (stage, modality)]
        points = np.array([[float(row["circle_x"]), float(row["circle_y"])] for row in mine])
        expected = principal_components(vectors)
        np.testing.assert_allclose(points, expected / np.linalg.norm(expected, axis=1)[:, None], atol=1e-3)
        angles = [float(row["angle"]) for row in mine]
        np.testing.assert_allclose(np.cos(angles), points[:, 0], atol=1e-5)


def test_modalities_of_a_panel_share_one_tsne(out, plain):
    rows = [row for row in table(out / "modality-map.csv") if row["checkpoint"] == "BM3"]
    opened = open_checkpoint(plain)
    items = [opened.dataset.field2token_id["item_id"][row["item_id"]] for row in rows[:20]]
    model = opened.model
    vectors = [model.project_features(name, model.feature(name)[items]).detach().numpy() for name in model.modalities]
    expected = tsne(np.concatenate(vectors), seed=0)
    np.testing.assert_allclose([[float(row["x"]), float(row["y"])] for row in rows], expected, rtol=1e-4)


def test_densities_integrate_to_one(out):
    rows = table(out / "modality-angle-density.csv")
    labels = dict.fromkeys(row["features"] for row in rows)
    assert len(labels) == 6 and "BM3 + lora, adapted: visual" in labels
    for label in labels:
        angles, density = np.array(
            [[float(row["angle"]), float(row["density"])] for row in rows if row["features"] == label]
        ).T
        assert np.trapezoid(density, angles) == pytest.approx(1, abs=1e-3)


def test_draws_of_the_items_with_features(plain):
    opened = open_checkpoint(plain)
    everything = draw_items(opened, ["visual", "textual"], 500, seed=0)
    assert len(everything) == 29 and "i29" not in everything
    some = [draw_items(opened, ["visual"], 9, seed) for seed in (0, 0, 1)]
    assert list(some[0]) == list(some[1]) != list(some[2])


def test_panels_do_not_overlap():
    def panel(label: str) -> FeatureMap:
        facts = "projected", np.array(["a"]), np.zeros((1, 2))
        views = [FeatureView(label, name, *facts) for name in ("visual", "text")]
        return FeatureMap(views, [np.zeros((1, 2)), np.ones((1, 2))], False)

    long = "PTMRec over FREEDOM (transfer_weight: 0.5, encoder_learning_rate: 0.001, seed: 2024)"
    figure = map_figure([panel(f"{long} {number}") for number in range(6)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = [axis.get_tightbbox() for axis in figure.axes if axis.axison]
    assert len(shown) == 6
    boxes = [*shown, figure._suptitle.get_window_extent(), figure.legends[0].get_window_extent()]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["visual", "text"]


@pytest.mark.parametrize(
    ("model", "settings", "given", "message"),
    [
        ("BUIR", {}, [], "BUIR uses no projected features"),
        ("VBPR", {}, [], "VBPR projects its modalities together"),
        ("BM3", {}, ["--modality", "sound"], "has no modality 'sound'; those it has: visual, textual"),
    ],
)
def test_clear_errors(train, tmp_path, monkeypatch, capsys, model, settings, given, message):
    monkeypatch.chdir(tmp_path)
    assert run(train(model, **settings), *given) == 2
    assert message in capsys.readouterr().err
    assert not Path("analysis").exists()
