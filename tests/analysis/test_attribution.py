"""`analyse attribution` as a whole: its files, what it leaves out, what it refuses, and real posters."""

from __future__ import annotations

import csv
import logging
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from recbole_mm.__main__ import main
from recbole_mm.analysis.attribution.becam import MAPS, RANKINGS, Becam
from recbole_mm.analysis.attribution.figures import heat_map
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.encoder import load_encoder, open_picture
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import write_dataset
from tests.tiny_clip import write_clip, write_clip_resnet

pytest.importorskip("transformers")

TITLE = "The <i>$1 & 'Co'</i> of item 0, $2"


@pytest.fixture(scope="module")
def befa(train) -> Path:
    return train("MGCN", feature_adapter="befa", knn_k=4)


@pytest.fixture(scope="module")
def lora(train) -> Path:
    return train("BM3", feature_adapter="lora")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Features six wide, as the data set's visual ones."""
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Pictures of i0 to i3; that of i3 is cut short."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(4):
        colours = generator.integers(0, 255, (9, 6, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((60, 90)).save(folder / f"i{number}.png")
    whole = (folder / "i3.png").read_bytes()
    (folder / "i3.png").write_bytes(whole[: len(whole) // 2])
    return folder


def run(*arguments) -> int:
    return main(["analyse", "attribution", *map(str, arguments)])


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


@pytest.fixture(scope="module")
def out(befa, lora, clip, images, tmp_path_factory) -> Path:
    """The folder of an analysis of two checkpoints and five items, two of which have no usable picture."""
    folder = tmp_path_factory.mktemp("out") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["pytest"])
        given = ["--items", "i0,i3, i2,i9,i1,i0", "--images", images, "--out", folder, "--steps", 4]
        assert run(befa, lora, "--encoder", clip, *given) == 0
    return folder


class TestFiles:
    def test_raw_maps_are_those_of_becam(self, out, befa, lora, clip, images):
        encoder = load_encoder(clip)
        targets = [BehaviourCosines(open_checkpoint(file), file.stem, "visual") for file in (befa, lora)]
        becam = Becam(encoder, targets, steps=4)
        with np.load(out / "attribution-maps.npz") as raw:
            assert raw["item_ids"].tolist() == ["i0", "i2", "i1"]
            assert raw["checkpoint_names"].tolist() == ["MGCN + befa", "BM3 + lora"]
            assert raw["map_names"].tolist() == list(RANKINGS)
            for place, item in enumerate(raw["item_ids"]):
                pixels = encoder.preprocess([open_picture(images / f"{item}.png")])[0]
                for checkpoint, expected in enumerate(becam.attribute(pixels, item)):
                    for name in ("maps", "curves", "cosines"):
                        np.testing.assert_array_equal(raw[name][checkpoint, place], getattr(expected, name))

    def test_areas_and_their_spread(self, out):
        with np.load(out / "attribution-maps.npz") as raw:
            curves = raw["curves"][0, :, :, MAPS.index("plain centred"), 1].astype(np.float64)  # items, deletion first
        areas = (curves[..., 1:] + curves[..., :-1]).mean(axis=-1) / 2

        def wanted(row):
            return (row["checkpoint"], row["map"], row["score"]) == ("MGCN + befa", "plain centred", "after")

        rows = [row for row in table(out / "attribution.csv") if wanted(row)]
        assert [row["item_id"] for row in rows] == ["i0", "i2", "i1"]
        assert rows[0]["title"] == TITLE
        shown = [[float(row[f"{name}_area"]) for name in ("deletion", "insertion")] for row in rows]
        np.testing.assert_allclose(shown, areas, rtol=1e-5)  # six digits
        (row,) = filter(wanted, table(out / "attribution-summary.csv"))
        assert row["items"] == "3"
        for number, name in enumerate(("deletion", "insertion")):
            np.testing.assert_allclose(float(row[f"{name}_mean"]), areas[:, number].mean(), rtol=1e-5)
            spread = areas[:, number].std(ddof=1)
            # of single-precision areas near 1 that differ in the fourth digit
            np.testing.assert_allclose(float(row[f"{name}_sd"]), spread, rtol=1e-2)

    def test_what_was_left_out(self, out):
        rows = table(out / "attribution-left-out.csv")
        assert [row["item_id"] for row in rows] == ["i3", "i9"]
        assert "truncated" in rows[0]["reason"]
        assert rows[1]["reason"] == "there is no picture of it"

    def test_page_shows_files_that_are_there(self, out):
        class Sources(HTMLParser):
            def handle_starttag(self, tag, attributes):
                found = dict(attributes).get("src") or dict(attributes).get("href")
                sources.extend([found] if found else [])

        sources: list[str] = []
        text = (out / "attribution.html").read_text(encoding="utf-8")
        Sources().feed(text)
        assert len(sources) == 3 * 2 * 5 + 3 + 3 + 5  # maps and originals, sheet, curves (each in three forms), data
        assert all((out / unquote(source)).is_file() for source in sources)
        assert "The &lt;i&gt;$1 &amp; &#39;Co&#39;&lt;/i&gt; of item 0, $2 (item i0)" in text
        assert "truncated" in text

    def test_page_tells_what_was_analysed_and_warns(self, out, befa, clip):
        text = (out / "attribution.html").read_text(encoding="utf-8")
        assert "Warning: MGCN + befa: the encoder&#39;s features of these pictures are unlike " in text
        assert f"Pictures as {clip} sees them" in text
        assert f"<td>{befa.with_suffix('.pth')}</td><td>toy</td><td>befa</td>" in text
        assert "adapter_expansion: 4, " in text

    def test_sheet_and_heat_maps(self, out, clip, images):
        with Image.open(out / "attribution-sheet-1.png") as sheet:
            # a colour bar below an original and two maps of two checkpoints, in two rows an item: inches, 150 dots each
            assert sheet.size == (round(150 * (2 * 0.1 + 5 * 1.75)), round(150 * (3 * 2 * (2.5 + 0.19 + 0.1) + 0.6)))
        folder = out / "attribution-pictures"
        assert len(list(folder.iterdir())) == 3 * (1 + 2 * 4)
        encoder = load_encoder(clip)
        seen = encoder.to_colours(encoder.preprocess([open_picture(images / "i0.png")]))[0]
        with np.load(out / "attribution-maps.npz") as raw, Image.open(folder / "0001-i0.png") as original:
            np.testing.assert_array_equal(np.asarray(original), seen)
            expected = heat_map(seen, raw["maps"][1, 0, 3])
        with Image.open(folder / "0001-i0-2-adapted-centred.png") as shown:
            np.testing.assert_array_equal(np.asarray(shown), expected)

    def test_nothing_else_is_left(self, out):
        assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_heat_is_red_where_a_map_is_highest_and_blue_where_lowest():
    shown = heat_map(np.zeros((2, 4, 3), np.uint8), np.array([[-3.0, 5.0], [-3.0, 5.0]], np.float32)).astype(int)
    red, blue = shown[0, 3], shown[0, 0]
    assert red[0] > red[2] and blue[2] > blue[0]


class TestRefused:
    def refuse(self, capsys, *arguments) -> str:
        assert run(*arguments, "--out", "refused") == 2
        assert not Path("refused").exists() or not any(Path("refused").iterdir())
        return capsys.readouterr().err

    def test_encoder_of_another_width(self, capsys, befa, tmp_path, images):
        wide = write_clip(tmp_path / "wide", width=10)
        message = self.refuse(capsys, befa, "--encoder", wide, "--items", "i0", "--images", images)
        assert "features are 10 wide, and checkpoint" in message
        assert "trained on 'visual' features of width 6; give the encoder that made them" in message

    @pytest.mark.parametrize(
        ("model", "settings", "message"),
        [
            ("VBPR", {"feature_adapter": "befa"}, "VBPR projects its modalities together"),
            ("DRAGON", {"feature_adapter": "lora", "knn_k": 4}, "DRAGON has no ID vectors of items"),
            ("BUIR", {}, "BUIR uses no projected features"),
        ],
    )
    def test_checkpoints_that_do_not_fit(self, capsys, train, clip, images, model, settings, message):
        checkpoint = train(model, **settings)
        assert message in self.refuse(capsys, checkpoint, "--encoder", clip, "--items", "i0", "--images", images)

    def test_unknown_modality(self, capsys, befa, clip, images):
        given = ["--encoder", clip, "--items", "i0", "--images", images, "--modality", "sound"]
        assert "has no modality 'sound'; those it has: visual, textual" in self.refuse(capsys, befa, *given)

    def test_unknown_and_no_items(self, capsys, befa, clip, images):
        given = [befa, "--encoder", clip, "--images", images, "--items"]
        assert "has no item j1, j2; its ids are such as i" in self.refuse(capsys, *given, "i0,j1,j2")
        assert "give at least one item id" in self.refuse(capsys, *given, " ,")

    def test_no_usable_picture_at_all(self, capsys, befa, clip, images):
        message = self.refuse(capsys, befa, "--encoder", clip, "--images", images, "--items", "i3")
        assert "no item has a picture that can be used (i3: " in message
        assert "has no picture of an item" in self.refuse(
            capsys, befa, "--encoder", clip, "--images", images, "--items", "i9"
        )

    def test_damaged_encoder(self, capsys, befa, images, tmp_path):
        (tmp_path / "config.json").write_text("{")
        message = self.refuse(capsys, befa, "--encoder", tmp_path, "--images", images, "--items", "i0")
        assert f"encoder {tmp_path} cannot be loaded" in message


def test_an_encoder_that_did_not_make_the_features_is_noticed(befa, clip, images, caplog):
    """The tiny encoder's weights are random."""
    with caplog.at_level(logging.WARNING):
        assert run(befa, "--encoder", clip, "--images", images, "--items", "i0,i3") == 0
    assert "unless it made them, the maps mean nothing" in caplog.text
    assert "item i3 is left out" in caplog.text


def test_checkpoints_without_an_adapter_stand_beside_others(befa, train, clip, images):
    plain = train("MGCN", knn_k=4)
    given = ["--encoder", clip, "--images", images, "--items", "i0", "--steps", 2]
    assert run(plain, befa, *given) == 0
    with np.load("analysis/attribution-maps.npz") as raw:
        assert raw["checkpoint_names"].tolist() == ["MGCN", "MGCN + befa"]
        for kind in ("", " centred"):
            before, after = (MAPS.index(name + kind) for name in ("plain", "adapted"))
            np.testing.assert_array_equal(raw["maps"][0, :, before], raw["maps"][0, :, after])
            assert (raw["maps"][1, :, before] != raw["maps"][1, :, after]).any()
    page = Path("analysis/attribution.html").read_text(encoding="utf-8")
    assert "<td>none: its adapted maps are the plain ones</td>" in page
    assert "nan" not in page and "<td>–</td>" in page  # the SD over one item


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("MARGO", {"backbone": "GRCN", "feature_adapter": "befa"}),
        ("VBPR", {"modalities": ["visual"], "feature_adapter": "lora"}),
    ],
)
def test_wrapped_and_single_modality_models(train, clip, images, model, settings):
    given = ["--encoder", clip, "--images", images, "--items", "i0", "--steps", 2]
    assert run(train(model, **settings), *given) == 0


def test_sheets_of_an_earlier_run_go(befa, clip, images):
    kept = Path("analysis/attribution-sheet-2-of-mine.png")
    for file in (kept, kept.with_name("attribution-sheet-2.png"), kept.with_name("attribution-sheet-2.pdf")):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert run(befa, "--encoder", clip, "--images", images, "--items", "i0", "--steps", 2) == 0
    sheets = sorted(path.name for path in kept.parent.glob("attribution-sheet-*"))
    assert sheets == [*(f"attribution-sheet-1.{form}" for form in ("pdf", "png", "svg")), kept.name]


def test_a_resnet(train, images, tmp_path):
    checkpoint = train("FREEDOM", feature_adapter="befa", knn_k=4)
    given = ["--encoder", write_clip_resnet(tmp_path / "resnet"), "--images", images, "--items", "i0,i1"]
    assert run(checkpoint, *given) == 0
    with np.load("analysis/attribution-maps.npz") as raw:
        assert raw["maps"].shape == (1, 2, 4, 2, 2)  # 64 pixels by 32 a side
        assert (raw["maps"].std(axis=(-2, -1)) > 0).all()


class TestPosters:
    def test_posters(self, train, shared_data, tmp_path):
        """Features from the very encoder; its weights are random, so that only the way is tested, not what is seen.

        Five of sixteen, which fill a sheet and begin another.
        """
        source = shared_data / "ml-100k-mm" / "images"
        posters = sorted(source.glob("*.jpg"))[:16] if source.is_dir() else []
        if len(posters) < 16:
            pytest.skip("the posters are not on this machine")
        clip, items = write_clip(tmp_path / "clip", side=224, patch=32), [f"i{number}" for number in range(16)]
        encoder = load_encoder(clip)
        folder, images = tmp_path / "data", tmp_path / "images"
        images.mkdir()
        for item, poster in zip(items, posters, strict=True):
            (images / f"{item}.jpg").symlink_to(poster)
        features = encoder(encoder.preprocess([open_picture(poster) for poster in posters]))
        write_poster_data(folder, dict(zip(items, features.numpy(), strict=True)))
        checkpoint = train("LATTICE", folder, feature_adapter="befa", knn_k=4)
        given = ["--encoder", clip, "--images", images, "--items", ",".join(items[:5]), "--steps", 2]
        assert run(checkpoint, *given) == 0
        out = Path("analysis")
        with np.load(out / "attribution-maps.npz") as raw:
            assert raw["maps"].shape == (1, 5, 4, 7, 7)
            assert np.isfinite(raw["maps"]).all()
        assert len(list(out.glob("attribution-sheet-*.png"))) == 2
        same = [float(row["cosine_with_data_set"]) for row in table(out / "attribution-features.csv")]
        np.testing.assert_allclose(same, 1, atol=1e-5)


def write_poster_data(folder: Path, features: dict[str, np.ndarray]) -> None:
    """Eight users of sixteen items, with the posters' features."""
    pairs = [(f"u{user}", f"i{item}") for user in range(8) for item in range(16) if (user + item) % 2 == 0]
    held_out = [(f"u{user}", f"i{(user + 1) % 16}") for user in range(8)]
    splits = {"train": pairs, "valid": held_out, "test": held_out}
    write_dataset(folder, splits, {"visual": features})
