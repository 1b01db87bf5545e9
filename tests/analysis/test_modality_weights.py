"""Modality weights: the numbers, the items at their ends, the page and its pictures."""

from __future__ import annotations

import csv
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from recbole_mm.__main__ import main
from recbole_mm.analysis.contact_sheet import Card, contact_sheet
from recbole_mm.analysis.items import item_pictures, item_titles
from recbole_mm.analysis.modality_weights import write_modality_weights
from recbole_mm.analysis.modality_weights.figures import histograms
from recbole_mm.analysis.modality_weights.weight_tables import ModalityWeights, extreme_items, modality_weights
from recbole_mm.io.pictures import PICTURE_SUFFIXES
from recbole_mm.io.run_files import RunFiles
from recbole_mm.load import open_checkpoint


@pytest.fixture(scope="module")
def opened(margo):
    return open_checkpoint(margo)


@pytest.fixture(scope="module")
def written(opened, tmp_path_factory) -> Path:
    """The folder of an analysis without pictures, three items at each end."""
    out = tmp_path_factory.mktemp("written")
    write_modality_weights([opened], out, top=3)
    return out


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A picture of every item but i0 and i1: the first has none, the second's is cut short."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    for number in range(1, 30):
        Image.fromarray(noise).save(folder / f"i{number}.{'png' if number % 2 else 'jpg'}")
    whole = (folder / "i1.png").read_bytes()
    (folder / "i1.png").write_bytes(whole[: len(whole) // 2])
    return folder


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def run(*arguments) -> int:
    return main(["analyse", "modality-weights", *map(str, arguments)])


def softmax_of_logits(checkpoint: Path) -> np.ndarray:
    logits = load_file(checkpoint.with_suffix(".safetensors"))["item_logits"][1:]
    exponential = np.exp(logits.astype(np.float64))
    return exponential / exponential.sum(axis=1, keepdims=True)


class TestTables:
    def test_weights_are_the_softmax_of_the_logits(self, opened, margo, written):
        rows = table(written / "modality-weights.csv")
        names = list(opened.dataset.field2id_token["item_id"][1:])
        assert [row["id"] for row in rows] == [name for name in names for _ in range(3)]
        assert [row["modality"] for row in rows[:3]] == ["id", "visual", "textual"]
        assert rows[0]["title"] == f"The <i>$1 & 'Co'</i> of item {names[0][1:]}, $2"
        written = np.array([float(row["weight"]) for row in rows]).reshape(30, 3)
        np.testing.assert_allclose(written, softmax_of_logits(margo), rtol=1e-5)  # six digits

    def test_attention_of_items_and_of_users(self, train, tmp_path):
        """LUDP's: a table of each side, whose rows are the softmax that the model fuses by."""
        opened = open_checkpoint(train("LUDP", knn_k=3))
        write_modality_weights([opened], tmp_path)
        rows = table(tmp_path / "modality-weights.csv")
        with torch.no_grad():
            expected = opened.model.attention_weights()
        for of, weights in expected.items():
            mine = np.array([float(row["weight"]) for row in rows if row["of"] == of]).reshape(-1, 2)
            np.testing.assert_allclose(mine, weights[1:].numpy(), rtol=1e-5)  # six digits
            np.testing.assert_allclose(mine.sum(axis=1), 1, rtol=1e-5)
        assert set(expected) == {"item", "user"}
        ranked = table(tmp_path / "modality-weights-items.csv")
        assert {row["modality"] for row in ranked} == {"visual", "textual"}

    def test_a_model_without_attention_says_what_it_needs(self, train, capsys):
        assert run(train("LUDP", knn_k=3, fusion="sum")) == 2
        assert "LUDP has no attention over modalities with these settings" in capsys.readouterr().err

    def test_interactions_are_those_of_training(self, data_path, written):
        lines = (data_path / "toy" / "toy.train.inter").read_text().splitlines()[1:]
        items = [line.split("\t")[1] for line in lines]
        for row in table(written / "modality-weights.csv"):
            assert int(row["training_interactions"]) == items.count(row["id"])

    def test_histogram_mean_and_spread(self, margo, written):
        rows = table(written / "modality-weights-histogram.csv")
        for modality, weights in zip(("id", "visual", "textual"), softmax_of_logits(margo).T, strict=True):
            mine = [row for row in rows if row["modality"] == modality]
            counts = np.bincount((weights / 0.02).astype(int), minlength=50)
            assert [int(row["count"]) for row in mine] == counts.tolist()
            assert [float(mine[25][key]) for key in ("bin_from", "bin_to")] == [0.5, 0.52]
            np.testing.assert_allclose(float(mine[0]["mean"]), weights.mean(), rtol=1e-4)
            np.testing.assert_allclose(float(mine[0]["sd"]), weights.std(), rtol=1e-4)
            assert mine[0]["outside"] == "0"

    def test_ends_are_the_largest_and_smallest(self, opened, margo, written):
        names = opened.dataset.field2id_token["item_id"][1:]
        rows = table(written / "modality-weights-items.csv")
        assert len(rows) == 3 * 2 * 3
        for modality, weights in zip(("id", "visual", "textual"), softmax_of_logits(margo).T, strict=True):
            by_weight = names[np.argsort(weights)].tolist()
            for end, expected in (("most", by_weight[::-1][:3]), ("least", by_weight[:3])):
                mine = [row for row in rows if (row["modality"], row["end"]) == (modality, end)]
                assert [row["item_id"] for row in mine] == expected
                assert [row["rank"] for row in mine] == ["1", "2", "3"]

    def test_ties_keep_their_order_and_untrained_items_are_not_ranked(self):
        values = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
        ids, interactions = np.array(list("abcd")), np.array([0, 1, 1, 1])
        weights = ModalityWeights("x", "item", ["v", "t"], ids, values, interactions, np.ones((4, 2), bool))
        found = extreme_items(weights, {"b": "B"}, {"c": Path("c.jpg")}, top=2)
        ends = [[extreme.item for extreme in found if (extreme.modality, extreme.end) == end]
                for end in (("v", "most"), ("v", "least"), ("t", "most"), ("t", "least"))]  # fmt: skip
        assert ends == [["b", "c"], ["d", "b"], ["d", "b"], ["b", "c"]]
        assert (found[0].title, found[1].title, found[1].picture) == ("B", "", Path("c.jpg"))

    def test_items_without_features_are_marked_and_not_ranked_by_the_modality(self, opened, written):
        rows = table(written / "modality-weights.csv")  # i29 has no features
        assert {(row["id"], row["modality"]) for row in rows if row["has_features"] == "0"} == {
            ("i29", "visual"), ("i29", "textual")
        }  # fmt: skip
        ranked = extreme_items(modality_weights(opened, "x"), {}, {}, top=30)
        assert {extreme.modality for extreme in ranked if extreme.item == "i29"} == {"id"}

    def test_user_weights_are_divided_by_their_sum(self, train, tmp_path):
        opened = open_checkpoint(train("DRAGON", knn_k=3, user_graph_width=5))
        weights = modality_weights(opened, "DRAGON")
        assert (weights.of, len(weights.ids)) == ("user", 40)
        free = opened.model.user_fusion.detach().numpy()[1:]
        visual = weights.modalities.index("visual")
        np.testing.assert_allclose(weights.values[:, visual], free[:, visual] / free.sum(axis=1), rtol=1e-6)
        write_modality_weights([opened], tmp_path)
        assert {row["of"] for row in table(tmp_path / "modality-weights.csv")} == {"user"}
        assert "free parameters" in (tmp_path / "modality-weights.html").read_text()
        assert table(tmp_path / "modality-weights-items.csv") == []
        with pytest.raises(ValueError, match="user weights rank no items"):
            write_modality_weights([opened], tmp_path, images=tmp_path)

    @pytest.mark.parametrize(
        ("model", "sizes"),
        [
            ("COHESION", {"knn_k": 3, "user_graph_width": 5}),
            ("MENTOR", {"knn_k": 3}),
            ("DualGNN", {"user_graph_width": 5}),
        ],
    )
    def test_user_weights_are_of_the_modalities_alone(self, train, model, sizes):
        """Not of COHESION's IDs, which it rates too."""
        opened = open_checkpoint(train(model, **sizes))
        weights = modality_weights(opened, model)
        free = opened.model.user_fusion.detach().numpy()[1:]
        assert weights.modalities == ["visual", "textual"]
        np.testing.assert_allclose(weights.values, free / free.sum(axis=1, keepdims=True), rtol=1e-6)

    def test_shares_outside_0_and_1_are_counted_apart(self):
        values = np.array([[1.2, -0.2], [0.25, 0.75], [np.nan, np.nan]])
        weights = ModalityWeights("x", "user", ["v", "t"], np.array(list("abc")), values, np.ones(3, int), values > 0)
        assert weights.in_range.tolist() == [False, True, False]
        assert weights.column("t").tolist() == [0.75]

    def test_histogram_shows_shares(self, opened):
        (axis, *_) = histograms([modality_weights(opened, "MARGO")]).axes
        assert axis.get_ylabel() == "share of items"
        assert axis.patches[0].get_data().values.sum() == pytest.approx(1)


class _Links(HTMLParser):
    """Gathers what a page points to, its elements and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.links, self.tags, self.text = [], set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.text += data


class TestPage:
    def test_shows_titles_as_text_and_links_what_is_there(self, margo, pictures, tmp_path, capsys):
        out = tmp_path / "out"
        assert run(margo, "--out", out, "--images", pictures, "--top", 2) == 0
        printed = [Path(line.removeprefix("wrote ")) for line in capsys.readouterr().out.splitlines()]
        assert set(printed) == set(out.iterdir())
        source = (out / "modality-weights.html").read_text()
        assert source.count("The &lt;i&gt;$1 &amp; &#39;Co&#39;&lt;/i&gt; of item ") == 3 * 2 * 2
        page = _Links(source)
        assert "i" not in page.tags
        assert "The <i>$1 & 'Co'</i> of item" in page.text
        assert {(out / link).resolve() for link in page.links} == {file.resolve() for file in printed[1:]}

    def test_texts_stand_beside_the_pictures(self, margo, pictures, tmp_path, capsys):
        out = tmp_path / "out"
        assert run(margo, "--out", out, "--images", pictures, "--top", 1, "--text-fields", "year,title") == 0
        rows = table(out / "modality-weights-items.csv")
        assert [row["text"] for row in rows] == [f"1999. {row['title']}" for row in rows] and rows[0]["title"]
        assert "1999. The &lt;i&gt;" in (out / "modality-weights.html").read_text()
        svg = (out / "modality-weights-pictures-1.svg").read_text()
        with_texts = svg.count("<!-- 1999. The")
        assert with_texts == len(rows)
        assert run(margo, "--out", tmp_path / "other", "--text-fields", "plot") == 2
        assert "has no text 'plot'; those it has: title, year" in capsys.readouterr().err

    def test_checkpoints_share_a_figure_and_have_their_own_pictures(self, opened, train, pictures, tmp_path):
        other = open_checkpoint(train("MARGO", backbone="POWERec", n_layers=1, two_stage=True, calibration_weight=0.0))
        files = write_modality_weights([opened, other], tmp_path, pictures, top=2)
        sheets = [file.name for file in files if "pictures" in file.name]
        forms = ("png", "svg", "pdf")
        assert sheets == [f"modality-weights-pictures-{number}.{form}" for number in (1, 2) for form in forms]
        shown = dict.fromkeys(row["checkpoint"] for row in table(tmp_path / "modality-weights.csv"))
        weights = opened.config["calibration_weight"], 0.0
        assert list(shown) == [f"MARGO over POWERec (calibration_weight: {weight})" for weight in weights]

    def test_without_pictures_it_says_so(self, written):
        assert not any("pictures" in file.name for file in written.iterdir())
        assert "No pictures" in (written / "modality-weights.html").read_text()


class TestPictures:
    def test_a_card_with_a_text_is_taller_and_holds_it(self, pictures):
        plain, *_ = contact_sheet([("visual", [Card("title", "0.5", pictures / "i3.png")])])
        text = "a long description of many words " * 20
        figure, _ = contact_sheet([("visual", [Card("title", "0.5", pictures / "i3.png", text)] * 2)] * 2)
        figure.draw_without_rendering()
        assert figure.get_figheight() > 2 * plain.get_figheight()
        boxes = [label.get_window_extent() for label in figure.axes[0].texts if label.get_text()]
        assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[place + 1 :])
        assert min(box.y0 for box in boxes) >= 0

    def test_sheet_has_every_picture_that_can_be_read(self, pictures):
        cards = [Card(f"title {number} $", "0.5", pictures / name) for number, name in
                 enumerate(["i1.png", "i2.jpg", "i3.png"])]  # fmt: skip
        rows = [("visual: most", cards), ("visual: least", [cards[1], Card("", "", None)])]
        figure, unreadable = contact_sheet(rows)
        assert unreadable == [pictures / "i1.png"]
        (axis,) = figure.axes
        assert len(axis.images) == 3
        texts = [text.get_text() for text in axis.texts]
        assert texts.count("unreadable") == texts.count("no picture") == 1
        assert "title 0 $\n0.5" in texts

    def test_headings_are_whole_and_apart(self):
        heading = "MARGO over POWERec + lora (calibration_weight: 0.01, temperature: 0.5): visual"
        figure, _ = contact_sheet([(f"{heading} {number}", [Card("", "", None)] * 2) for number in range(2)])
        figure.canvas.draw()
        shown = [text for text in figure.axes[0].texts if "MARGO" in text.get_text()]
        assert [" ".join(text.get_text().split()) for text in shown] == [f"{heading} 0", f"{heading} 1"]
        boxes = [text.get_window_extent() for text in shown]
        assert all(0 <= box.x0 and box.x1 <= figure.bbox.width for box in boxes)
        cards = 2.5 * figure.dpi
        assert boxes[0].y0 >= boxes[1].y1 + cards

    def test_unreadable_ones_are_told_and_the_others_shown(self, opened, pictures, tmp_path, caplog):
        first = extreme_items(modality_weights(opened, "MARGO"), {}, {}, top=1)[0].item
        for file in pictures.glob(f"{first}.*"):
            file.unlink()
        (pictures / f"{first}.jpg").write_text("no picture")
        files = write_modality_weights([opened], tmp_path / "out", pictures, top=1)
        assert str(pictures / f"{first}.jpg") in caplog.text
        assert f"Unreadable, left out: {first}.jpg" in files[0].read_text()
        assert files[4].name == "modality-weights-pictures-1.png"

    def test_beside_the_data_they_are_found_by_item_id(self, opened, monkeypatch, pictures, tmp_path):
        pictures.rename(tmp_path / "images")
        monkeypatch.setattr(opened.dataset, "dataset_path", str(tmp_path))
        found = item_pictures(opened.dataset, ["i0", "i2", "i3"], None)
        assert found == {"i2": tmp_path / "images" / "i2.jpg", "i3": tmp_path / "images" / "i3.png"}

    def test_they_are_of_every_kind_that_extraction_takes(self, opened, tmp_path):
        folder = tmp_path / "kinds"
        folder.mkdir()
        for number, suffix in enumerate(PICTURE_SUFFIXES):
            (folder / f"i{number}{suffix}").write_bytes(b"one")
        items = [f"i{number}" for number in range(len(PICTURE_SUFFIXES))]
        found = item_pictures(opened.dataset, items, folder)
        assert [found[item].suffix for item in items] == list(PICTURE_SUFFIXES)

    def test_no_item_id_leads_out_of_the_folder(self, opened, pictures):
        Image.new("RGB", (2, 2)).save(pictures.parent / "secret.png")
        assert item_pictures(opened.dataset, ["../secret", "i2"], pictures).keys() == {"i2"}

    def test_missing_pillow_gives_the_line_to_type(self, margo, pictures, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "PIL", None)
        assert run(margo, "--images", pictures) == 2
        assert "pip install pillow" in capsys.readouterr().err
        assert not Path("analysis").exists()

    def test_folders_without_them_are_refused(self, margo, tmp_path, capsys):
        assert run(margo, "--images", tmp_path / "none") == 2
        assert "there is no folder" in capsys.readouterr().err
        assert run(margo, "--images", tmp_path) == 2
        assert "has no picture of an item of 'toy'" in capsys.readouterr().err


class TestTitles:
    @pytest.mark.parametrize(
        "header, expected",
        [
            ("item_id:token\tname:token\ttitle:token_seq", "NA"),
            ("item_id:token\tname:token\tmovie_title:float", "5"),
            ("item_id:token\tLabel:token\tName:token_seq", "NA"),
            ("item_id:token\tTitle:token\ttitle:token", "NA"),
            ("item_id:token\ttitle:token\tTitle:token", "5"),
            ("item_id:token\tlabel:token\tgenre:token", None),
        ],
    )
    def test_column_is_chosen_by_name_and_type(self, opened, monkeypatch, tmp_path, header, expected):
        (tmp_path / "toy.item").write_text(f"{header}\ni3\t5\tNA\n")
        monkeypatch.setattr(opened.dataset, "dataset_path", str(tmp_path))
        assert item_titles(opened.dataset) == ({} if expected is None else {"i3": expected})

    def test_damaged_file_is_named(self, opened, monkeypatch, tmp_path):
        (tmp_path / "toy.item").write_bytes(b"item_id:token\ttitle:token\ni3\tCaf\xe9\n")
        monkeypatch.setattr(opened.dataset, "dataset_path", str(tmp_path))
        with pytest.raises(ValueError, match="toy.item, line 2, byte 7: no utf-8 text"):
            item_titles(opened.dataset)


def test_models_without_weights_are_refused(margo, train, capsys):
    assert run(RunFiles(margo).stage("one").pickle) == 2
    assert "MARGO in stage one weights no modalities" in capsys.readouterr().err
    assert run(train("POWERec", n_layers=1)) == 2
    assert "POWERec weights no modalities" in capsys.readouterr().err
    assert not Path("analysis").exists()


def test_top_has_limits(margo, capsys):
    with pytest.raises(SystemExit):
        run(margo, "--top", 0)
    assert "must be at least 1" in capsys.readouterr().err
    assert run(margo, "--top", 101) == 2
    assert "--top: 101 is more than the 100" in capsys.readouterr().err
