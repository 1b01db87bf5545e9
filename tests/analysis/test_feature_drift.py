"""`analyse feature-drift`: the cosines, the most changed items, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from recbole_mm.__main__ import main
from recbole_mm.analysis.feature_drift.drift import PARTS, Drift, parts_of
from recbole_mm.analysis.feature_drift.figures import histograms, part_histograms
from recbole_mm.load import open_checkpoint


@pytest.fixture(scope="module")
def lora(train) -> Path:
    return train("BM3", feature_adapter="lora")


@pytest.fixture(scope="module")
def befa(train) -> Path:
    return train("MGCN", feature_adapter="befa", knn_k=4)


def run(*arguments) -> int:
    return main(["analyse", "feature-drift", *map(str, arguments)])


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def row_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.fixture(scope="module")
def out(lora, befa, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["pytest"])
        assert run(lora, befa, "--top", 3, "--out", folder) == 0
    return folder


class TestCosines:
    @pytest.mark.parametrize("modality", ["visual", "textual"])
    def test_are_those_of_the_saved_weights(self, out, lora, modality):
        """LoRA by hand; tables have six digits, and the model computes in single precision."""
        opened = open_checkpoint(lora)
        saved = load_file(lora.with_suffix(".safetensors"))
        weights = {name: values.astype(np.float64) for name, values in saved.items()}
        place = opened.model.modalities.index(modality)
        shown = opened.dataset.modality_mask(modality).numpy()[1:]
        feature, items = weights[f"{modality}_feature"][1:][shown], weights["item_embedding"][1:][shown]
        rows = [row for row in table(out / "feature-drift.csv")
                if (row["checkpoint"], row["modality"]) == ("BM3 + lora", modality)]  # fmt: skip
        assert [row["item_id"] for row in rows] == list(opened.dataset.field2id_token["item_id"][1:][shown])
        for end, given in (("", feature), ("_swapped", np.roll(feature, len(feature) // 2, axis=0))):
            projected = given @ weights[f"projections.{place}.weight"].T + weights[f"projections.{place}.bias"]
            down, up = (weights[f"feature_adapters.{modality}.{part}.weight"] for part in ("down", "up"))
            adapted = projected + projected @ down.T @ up.T
            np.testing.assert_allclose(column(rows, f"before{end}"), row_cosines(projected, items), atol=1e-5)
            np.testing.assert_allclose(column(rows, f"after{end}"), row_cosines(adapted, items), atol=1e-5)
        assert np.abs(column(rows, "change")).max() > 1e-3

    def test_a_gate_on_behaviour_is_like_it_whatever_the_feature(self, out):
        rows = [row for row in table(out / "feature-drift.csv") if row["checkpoint"] == "MGCN + befa"]
        assert column(rows, "after").min() > 0
        assert column(rows, "after_swapped").min() > 0

    def test_summary(self, out):
        rows = [row for row in table(out / "feature-drift.csv")
                if (row["checkpoint"], row["modality"]) == ("MGCN + befa", "textual")]  # fmt: skip
        (summary,) = (row for row in table(out / "feature-drift-summary.csv")
                      if (row["checkpoint"], row["modality"]) == ("MGCN + befa", "textual"))  # fmt: skip
        assert (summary["items"], summary["left_out"]) == ("29", "1")  # i29 has no features
        assert "i29" not in [row["item_id"] for row in rows]
        for name in ("before", "after", "before_swapped", "after_swapped", "change"):
            values = column(rows, name)
            np.testing.assert_allclose(float(summary[f"{name}_mean"]), values.mean(), atol=1e-5)
            np.testing.assert_allclose(float(summary[f"{name}_sd"]), values.std(ddof=1), atol=1e-5)

    def test_most_changed_items(self, out):
        def mine(row):
            return (row["checkpoint"], row["modality"]) == ("BM3 + lora", "visual")

        rows = list(filter(mine, table(out / "feature-drift.csv")))
        largest = sorted(rows, key=lambda row: -abs(float(row["change"])))[:3]
        shown = list(filter(mine, table(out / "feature-drift-items.csv")))
        assert [row["rank"] for row in shown] == ["1", "2", "3"]
        assert [row["item_id"] for row in shown] == [row["item_id"] for row in largest]
        assert shown[0]["title"].endswith(f"of item {shown[0]['item_id'][1:]}, $2")


class TestParts:
    def test_by_hand(self):
        """One along, one across and longer, one opposite: the mean ID vector is 2 long."""
        features = np.array([[1.0, 0.0], [3.0, 4.0], [0.0, -1.0]])
        behaviour = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
        angle, projection, omission, drift = parts_of(features, behaviour)
        np.testing.assert_allclose(angle, [0, np.degrees(np.arccos(3 / 5)), 180])
        np.testing.assert_allclose(2 * projection, [1, 3, -1])
        np.testing.assert_allclose(2 * omission, [1, -2, 4])
        np.testing.assert_allclose(2 * drift, [0, 4, 0], atol=1e-12)

    def test_the_two_misses_are_the_distance(self):
        features, behaviour = np.random.default_rng(0).standard_normal((2, 50, 8)) * [[[3.0]], [[0.2]]]
        angle, projection, omission, drift = parts_of(features, behaviour)
        unit = np.linalg.norm(behaviour, axis=1).mean()
        distance = np.linalg.norm(features - behaviour, axis=1) / unit
        np.testing.assert_allclose(drift**2 + omission**2, distance**2, rtol=1e-10)
        np.testing.assert_allclose(np.cos(np.radians(angle)), row_cosines(features, behaviour), rtol=1e-10, atol=1e-12)

    def test_of_each_item_before_and_after_in_the_tables(self, out, lora):
        opened = open_checkpoint(lora)
        weights = {name: raw.astype(np.float64) for name, raw in load_file(lora.with_suffix(".safetensors")).items()}
        shown = opened.dataset.modality_mask("visual").numpy()[1:]
        projected = weights["visual_feature"][1:][shown] @ weights["projections.0.weight"].T
        projected = projected + weights["projections.0.bias"]
        down, up = (weights[f"feature_adapters.visual.{part}.weight"] for part in ("down", "up"))
        items = weights["item_embedding"][1:][shown]
        rows = [row for row in table(out / "feature-drift.csv")
                if (row["checkpoint"], row["modality"]) == ("BM3 + lora", "visual")]  # fmt: skip
        for when, vectors in (("before", projected), ("after", projected + projected @ down.T @ up.T)):
            for part, values in zip(PARTS, parts_of(vectors, items), strict=True):
                np.testing.assert_allclose(column(rows, f"{part}_{when}"), values, rtol=1e-4, atol=1e-5)

    def test_the_gate_of_befa_and_of_no_other(self, out, befa):
        opened = open_checkpoint(befa)
        model = opened.model
        items = opened.dataset.modality_mask("visual").nonzero().flatten()
        adapter = model.feature_adapters["visual"].double()
        w = {name: parameter.detach().numpy() for name, parameter in adapter.named_parameters()}
        feature = model.feature("visual")[items[items > 0]].detach()
        x = model.project_features("visual", feature).detach().double().numpy()
        a = np.tanh(np.maximum(x @ w["decouple.weight"].T + w["decouple.bias"], 0))
        b = np.maximum(a @ w["filter.weight"].T + w["filter.bias"], 0)
        gate = 1 / (1 + np.exp(-(b @ w["recombine.weight"].T + w["recombine.bias"])))
        rows = {(row["checkpoint"], row["modality"]): row for row in table(out / "feature-drift-summary.csv")}
        mine = rows["MGCN + befa", "visual"]
        assert float(mine["gate_mean"]) == pytest.approx(gate.mean(), rel=1e-4)
        assert float(mine["gate_sd"]) == pytest.approx(gate.std(axis=0).mean(), rel=1e-3)
        assert rows["BM3 + lora", "visual"]["gate_mean"] == ""

    def test_the_figure_keeps_drift_and_omission_apart(self):
        values = np.tile(np.linspace(-0.2, 0.4, 7), (4, 1))
        parts = np.random.default_rng(0).random((2, 4, 7))
        drift = Drift("MGCN + befa", "visual", True, np.arange(7).astype(str), 0, {}, values, parts, (0.98765, 2e-5))
        upper, lower = part_histograms([drift]).axes
        assert upper.get_title() == "MGCN + befa: visual\ngate: mean 0.9877, SD over items 2e-05"
        assert (upper.get_xlabel().split(",")[0], lower.get_xlabel().split(",")[0]) == ("drift", "omission")
        for axis, place in ((upper, 3), (lower, 2)):
            before, after = axis.get_legend_handles_labels()[1]
            assert before.startswith(f"before: mean {parts[0, place].mean():.3f}")
            assert after.startswith(f"after: mean {parts[1, place].mean():.3f}")


class TestNoChange:
    @pytest.mark.parametrize("feature_adapter", ["none", "soft_prompt"])
    def test_is_not_ranked(self, train, caplog, feature_adapter):
        """The prompt cancels in the difference of two items, all that FREEDOM's modality loss sees."""
        assert run(train("FREEDOM", feature_adapter=feature_adapter, knn_k=4), "--modality", "visual") == 0
        assert table(Path("analysis/feature-drift-items.csv")) == []
        expected = {"none": "there is no feature adapter", "soft_prompt": "the adapter changes nothing measurable"}
        assert f"{expected[feature_adapter]}, so that no items are ranked" in caplog.text
        assert "as they have no features: 1" in caplog.text


class TestFigures:
    def test_distribution_without_pictures(self, out):
        with Image.open(out / "feature-drift.png") as figure:
            assert figure.size[0] == 3 * 4.6 * 150
        assert not (out / "feature-drift-pictures.png").exists()

    def test_before_is_seen_where_nothing_changes(self):
        values = np.tile(np.linspace(-0.2, 0.4, 7), (4, 1))
        facts = np.arange(7).astype(str), 2, {}, values, np.zeros((2, 4, 7))
        drift = Drift("FREEDOM + soft_prompt", "visual", True, *facts)
        (axis,) = histograms([drift]).axes
        assert "left out, without features: 2\nthe adapter changes nothing measurable" in axis.get_title()
        before, after = axis.patches[:2]
        assert before.get_zorder() > after.get_zorder()
        assert before.get_linewidth() < after.get_linewidth()
        assert all(float(tick).is_integer() for tick in axis.get_yticks())

    def test_sheet_of_the_most_changed(self, lora, tmp_path):
        images = tmp_path / "images"
        images.mkdir()
        for number in range(30):
            Image.new("RGB", (20, 30), (8 * number, 0, 0)).save(images / f"i{number}.png")
        assert run(lora, "--modality", "textual", "--top", 2, "--images", images) == 0
        with Image.open("analysis/feature-drift-pictures.png") as sheet:
            assert sheet.size == (555, 418)  # (2 * 0.1 + 2 * 1.75) and (0.1 + 0.19 + 2.5) inches, 150 dots each
        assert {row["modality"] for row in table(Path("analysis/feature-drift.csv"))} == {"textual"}


class TestRefused:
    @pytest.mark.parametrize(
        ("model", "settings", "given", "message"),
        [
            ("MMGCN", {"content_widths": {}}, [], "leaves 'visual' features 6 wide, which is not the width"),
            ("BUIR", {}, [], "BUIR uses no projected features"),
            ("BM3", {"feature_adapter": "lora"}, ["--modality", "sound"], "has no modality 'sound'"),
            ("BM3", {"feature_adapter": "lora"}, ["--top", 101], "--top: 101 is more than the 100"),
            ("VBPR", {"feature_adapter": "befa"}, [], "VBPR projects its modalities together"),
        ],
    )
    def test_clear_errors(self, capsys, train, model, settings, given, message):
        assert run(train(model, **settings), *given) == 2
        assert message in capsys.readouterr().err
        assert not Path("analysis").exists()
