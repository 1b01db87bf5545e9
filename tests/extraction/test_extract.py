"""The command `extract`: what it writes, that it goes on after a kill, and what it leaves out."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.__main__ import main
from recbole_mm.data.arrow_form import read_arrow
from recbole_mm.data.feature_file import read_features
from recbole_mm.encoder import load_image_encoder, load_text_encoder, open_picture
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.extraction import Pictures, Texts, extract
from recbole_mm.extraction.tfidf import _reduce
from tests.commands import start
from tests.extraction.shop import PLOTS, write_shop
from tests.tiny_clip import write_dual_clip
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture
def shop(tmp_path) -> Path:
    return write_shop(tmp_path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_dual_clip(tmp_path_factory.mktemp("clip"))


class TestPictures:
    def test_rows_are_the_encoders(self, shop, clip, capsys):
        assert run(f"extract --dataset {shop} --modality visual --images images --encoder {clip} --batch-size 2") == 0
        table = read_features(shop, "shop", "visual")
        encoder = load_image_encoder(str(clip))
        with torch.no_grad():
            expected = encoder([open_picture(Path("images") / f"{item}.png") for item in PLOTS])
        assert table.ids == list(PLOTS)
        np.testing.assert_allclose(table.values, expected.numpy(), rtol=1e-5, atol=1e-6)  # other batches
        assert (table.encoder, table.source) == (str(clip), "images")
        assert table.metadata["revision"] == encoder.facts["revision"]
        assert json.loads(table.metadata["preprocessing"])["settings"]["size"] == {"shortest_edge": 32}
        assert sorted(path.name for path in shop.iterdir()) == ["shop.inter", "shop.item", "shop.visual.arrow"]
        assert "describe" in capsys.readouterr().out.splitlines()[-1]

    def test_histograms_need_no_weights(self, shop):
        assert run(f"extract --dataset {shop} --modality visual --images images --encoder histograms") == 0
        table = read_features(shop, "shop", "visual")
        expected = load_image_encoder("histograms")([open_picture(Path("images") / f"{item}.png") for item in PLOTS])
        assert (table.ids, table.encoder) == (list(PLOTS), "histograms")
        np.testing.assert_array_equal(table.values, expected.numpy())

    def test_bad_and_missing_pictures_are_listed_and_left_out(self, shop, clip, capsys):
        Path("images/b.png").unlink()
        Path("images/d.png").write_bytes(b"no picture")
        Image.new("RGB", (1, 1_000_000)).save("images/e.png")
        run(f"extract --dataset {shop} --modality visual --images images --encoder {clip}")
        table = read_features(shop, "shop", "visual")
        assert table.ids == ["a", "c"]
        assert (np.abs(table.values).max(axis=1) > 0).all()
        listed = (shop / "shop.visual.missing.tsv").read_text().splitlines()
        assert listed[:2] == ["item_id\treason", "b\tno picture"]
        assert listed[2].startswith("d\t") and "it is no picture" in listed[2]
        assert listed[3].startswith("e\t") and "1 x 1000000 pixels" in listed[3]
        assert "3 items have no features" in capsys.readouterr().out
        for item in "bde":
            Image.new("RGB", (9, 9)).save(f"images/{item}.png")
        run(f"extract --dataset {shop} --modality visual --images images --encoder {clip}")
        assert not (shop / "shop.visual.missing.tsv").exists()

    def test_half_precision(self, shop, clip):
        command = f"extract --dataset {shop} --modality visual --images images --encoder {clip}"
        run(command)
        single = read_features(shop, "shop", "visual").values.copy()
        run(f"{command} --float16")
        half = read_features(shop, "shop", "visual").values
        assert half.dtype == np.float16
        assert np.array_equal(half, single.astype(np.float16))


class TestTexts:
    def test_rows_are_the_encoders_and_cut_texts_are_counted(self, shop, clip, capsys):
        command = f"extract --dataset {shop} --modality textual --fields title,plot --encoder {clip}"
        assert run(command) == 0
        table = read_features(shop, "shop", "textual")
        texts = ["A A cowboy doll", "B A doll in space", "C", "D space and a cowboy and a very long way", "E zebra"]
        with torch.no_grad():
            expected = load_text_encoder(str(clip))(texts)
        assert np.array_equal(table.values, expected.numpy())
        facts = json.loads(table.metadata["preprocessing"])
        assert (facts["fields"], facts["context"]) == (["title", "plot"], 16)
        assert "1 text was longer than the encoder's context" in capsys.readouterr().out

    def test_an_item_without_text_is_left_out(self, shop, clip):
        run(f"extract --dataset {shop} --modality textual --fields plot --encoder {clip}")
        assert read_features(shop, "shop", "textual").ids == ["a", "b", "d", "e"]

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        ("texts", "expected"),
        [
            (["mild cheese"] * 3, [[1, 0], [1, 0], [1, 0]]),
            (["red car", "red bus", "tea"], [[1], [1], [0]]),
        ],
    )
    def test_tfidf_of_texts_that_are_alike_or_share_a_word(self, texts, expected):
        values, _ = _reduce(texts, 384)
        np.testing.assert_allclose(np.abs(values), expected, atol=1e-12)

    def test_tfidf_with_all_components_keeps_the_angles(self, shop):
        """By hand: with 4 texts a word in n of them weighs (1 + ln count) (1 + ln (5 / (1 + n)))."""
        (shop / "shop.item").write_text(
            "item_id:token\tplot:token_seq\na\tcowboy doll\nb\tCowboy cowboy, doll\nd\tdoll\ne\tzebra\n"
        )
        assert run(f"extract --dataset {shop} --modality textual --fields plot --encoder tfidf --width 2") == 0
        table = read_features(shop, "shop", "textual")
        assert table.ids == ["a", "b", "d"]
        cowboy, doll = 1 + np.log(5 / 3), 1 + np.log(5 / 4)
        weights = np.array([[cowboy, doll], [(1 + np.log(2)) * cowboy, doll], [0, doll]])
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        np.testing.assert_allclose(table.values @ table.values.T, weights @ weights.T, rtol=1e-5)
        listed = (shop / "shop.textual.missing.tsv").read_text().splitlines()[1:]
        assert listed == ["c\tno text", "e\tnone of its words is in another text"]
        assert (table.encoder, table.metadata["revision"].split()[0]) == ("tfidf", "scikit-learn")


class Counting(ContentEncoder):
    """The mean colour, as often as it is asked; ends the run at a given call as a kill would."""

    def __init__(self, dies_at: int = 10**6):
        super().__init__({"encoder": "mean colour", "revision": "1", "preprocessing": {}})
        self.seen: list = []
        self.dies_at = dies_at

    def forward(self, contents):
        if len(self.seen) + len(contents) > self.dies_at:
            raise KeyboardInterrupt
        self.seen += contents
        return torch.stack([torch.from_numpy(np.asarray(content) / 255.0).mean(dim=(0, 1)) for content in contents])


class TestResume:
    def test_finished_rows_are_not_computed_again(self, shop):
        with pytest.raises(KeyboardInterrupt):
            extract(shop, "visual", Pictures(shop, Path("images")), Counting(dies_at=4), batch_size=2)
        assert not (shop / "shop.visual.arrow").exists()
        Image.new("RGB", (8, 8), "white").save("images/b.png")  # finished, but another picture now
        encoder = Counting()
        result = extract(shop, "visual", Pictures(shop, Path("images")), encoder, batch_size=2)
        assert (len(encoder.seen), result.n_rows, result.n_reused) == (2, 5, 3)
        np.testing.assert_array_equal(read_features(shop, "shop", "visual").values[1], [1, 1, 1])

    def test_other_settings_do_not_take_the_rows(self, shop):
        with pytest.raises(KeyboardInterrupt):
            extract(shop, "visual", Pictures(shop, Path("images")), Counting(dies_at=4), batch_size=2)
        result = extract(shop, "visual", Pictures(shop, Path("images")), Counting(), half=True)
        assert result.n_reused == 0

    def test_a_damaged_batch_is_computed_again(self, shop):
        with pytest.raises(KeyboardInterrupt):
            extract(shop, "visual", Pictures(shop, Path("images")), Counting(dies_at=4), batch_size=2)
        (file, _) = sorted(next(shop.glob(".shop.visual.*")).iterdir())
        file.write_bytes(file.read_bytes()[:50])
        assert extract(shop, "visual", Pictures(shop, Path("images")), Counting()).n_reused == 2

    @pytest.mark.slow
    def test_after_a_kill_the_file_is_the_same(self, tmp_path, clip):
        """SIGKILL once some of the 300 rows are finished: the next run takes them and ends in the same bytes."""
        shop = write_shop(tmp_path, 300)
        command = f"extract --dataset {shop} --modality visual --images images --encoder {clip} --batch-size 1"
        run(command)
        whole = (shop / "shop.visual.arrow").read_bytes()
        (shop / "shop.visual.arrow").unlink()
        with open("output.txt", "w") as output:
            process = start(["-m", "recbole_mm", *shlex.split(command)], output, output)
        wait_until(lambda: len(list(shop.glob(".shop.visual.*/0*.npz"))) >= 5, process, Path("output.txt"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (shop / "shop.visual.arrow").exists()
        pictures, encoder = Pictures(shop, Path("images")), load_image_encoder(str(clip))
        result = extract(shop, "visual", pictures, encoder, batch_size=1)
        assert 5 <= result.n_reused < 300
        assert (shop / "shop.visual.arrow").read_bytes() == whole


    def test_rows_of_other_settings_are_deleted_at_the_end_and_those_of_other_modalities_stay(self, shop):
        for modality, half in (("visual", False), ("visual", True), ("visual_2", False)):
            with pytest.raises(KeyboardInterrupt):
                extract(shop, modality, Pictures(shop, Path("images")), Counting(dies_at=4), batch_size=2, half=half)
        assert len(list(shop.glob(".shop.visual.extracting-*"))) == 2
        extract(shop, "visual", Pictures(shop, Path("images")), Counting())
        assert [path.name[:26] for path in shop.glob(".shop*")] == [".shop.visual_2.extracting-"]


class TestItems:
    """Beside the items with interactions those that the `.item` file alone has, such as new products."""

    @pytest.fixture
    def with_new(self, shop) -> Path:
        with (shop / "shop.item").open("a") as file:
            file.write("new\tNEW\tA doll in space\nbare\tBARE\t\n")
        rows = (shop / "shop.item").read_text().splitlines(keepends=True)
        (shop / "shop.item").write_text("".join(row for row in rows if not row.startswith("d\t")))
        Image.new("RGB", (9, 9), "white").save("images/new.png")
        return shop

    def test_pictures(self, with_new):
        result = extract(with_new, "visual", Pictures(with_new, Path("images")), Counting())
        assert read_features(with_new, "shop", "visual").ids == ["a", "b", "c", "d", "e", "new"]
        assert (result.missing, result.n_without_interactions) == ({"bare": "no picture"}, 1)

    def test_texts(self, with_new, clip, capsys):
        assert run(f"extract --dataset {with_new} --modality textual --fields plot --encoder {clip}") == 0
        assert read_features(with_new, "shop", "textual").ids == ["a", "b", "e", "new"]
        assert "4 items (" in (shown := capsys.readouterr().out)
        assert "1 of them has no interactions" in shown and "3 items have no features" in shown

    def test_tfidf(self, with_new):
        assert run(f"extract --dataset {with_new} --modality textual --fields plot --encoder tfidf --width 2") == 0
        assert read_features(with_new, "shop", "textual").ids == ["a", "b", "new"]

    def test_pictures_without_an_item_file(self, shop, capsys):
        (shop / "shop.item").unlink()
        assert extract(shop, "visual", Pictures(shop, Path("images")), Counting()).n_without_interactions == 0
        assert read_features(shop, "shop", "visual").ids == list(PLOTS)


class TestTwoAtOnce:
    @pytest.mark.parametrize("second", ["tfidf", "pictures"])
    def test_the_second_says_that_the_first_runs(self, shop, capsys, second):
        class Slow(Counting):
            def forward(self, contents):
                outcomes.append(main(shlex.split(f"extract --dataset {shop} --modality visual {options}")))
                return super().forward(contents)

        options = "--fields plot --encoder tfidf --width 1"
        if second == "pictures":
            options = f"--images images --encoder {write_dual_clip(Path('clip'))}"
        outcomes = []
        extract(shop, "visual", Pictures(shop, Path("images")), Slow())
        assert outcomes == [2]
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"shop.visual.arrow: process {os.getpid()} on " in error and "does this already; wait" in error
        assert run(f"extract --dataset {shop} --modality visual {options}") == 0
        assert not list(shop.glob(".*"))


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--modality visual --images nowhere", "there is no folder nowhere"),
            ("--modality visual --images shop", "has a picture of no item"),
            ("--modality inter --images images", "'inter' cannot name a modality"),
            ("--modality textual --fields title,actors", "no text field 'actors'; it has title, plot"),
            ("--modality visual --images images --batch-size 0", "--batch-size: 0 must be at least 1"),
            ("--modality visual --images images --device nothing", "--device: nothing cannot be used"),
            ("--modality visual --images images --dataset /sys/kernel", "kernel.visual.arrow cannot be written (Perm"),
        ],
    )
    def test_one_line(self, shop, clip, capsys, options, message):
        assert run(f"extract --dataset shop --encoder {clip} {options}") == 2
        shown = capsys.readouterr()
        assert message in shown.err and shown.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--images images", "tfidf reads texts"),
            ("--fields plot --width 0", "--width: 0 must be at least 1"),
            ("--fields title", "no word that two of the 5 texts share"),
        ],
    )
    def test_tfidf(self, shop, capsys, options, message):
        assert run(f"extract --dataset shop --modality textual --encoder tfidf {options}") == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("", "there is nothing to encode; give --images, --fields, --audio or --videos"),
            ("--images images --fields plot --modality visual", "--modality: --images and --fields are two modalities"),
            ("--images images --fields plot --encoder tfidf", "--encoder: --images and --fields are two modalities"),
            ("--images images --fields plot --files title", "--files: --images and --fields are two modalities"),
            ("--audio images", "--encoder: --audio has none without weights; name a folder or a model on the hub"),
            ("--images images --fields plott", "no text field 'plott'; it has title, plot"),
            ("--fields plot --images nowhere", "--images: there is no folder nowhere"),
        ],
    )
    def test_what_is_not_given(self, shop, capsys, options, message):
        assert run(f"extract --dataset shop {options}") == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not list(shop.glob("*.arrow"))

    def test_each_kind_has_its_name_and_encoder(self, shop):
        assert run("extract --dataset shop --fields plot --images images") == 0
        made = [read_arrow(shop / f"shop.{modality}.arrow").encoder for modality in ("visual", "textual")]
        assert made == ["histograms", "tfidf"]

    def test_tfidf_is_as_wide_as_its_texts_allow(self, shop, caplog):
        assert run("extract --dataset shop --modality textual --encoder tfidf --fields plot --width 9") == 0
        (message,) = [record.getMessage() for record in caplog.records if "wide instead of 9" in record.getMessage()]
        width = int(message.split()[3])
        assert read_arrow(shop / "shop.textual.arrow").values.shape[1] == width < 9

    @pytest.mark.parametrize(
        ("rows", "found"),
        [(torch.zeros(1, 3), r"\[1, 3\]"), (torch.zeros(4), r"\[4\]"), ([[0.0]] * 4, "list"), (None, "NoneType")],
    )
    def test_what_an_encoder_gives_is_looked_at(self, shop, rows, found):
        class Own(ContentEncoder):
            def forward(self, contents):
                return rows

        own = Own({"encoder": "own", "revision": "1", "preprocessing": {}})
        said = rf"encoder own: forward of Own gave {found} of \d contents; it is to give a tensor \[\d, width\]"
        with pytest.raises(ValueError, match=said):
            extract(shop, "textual", Texts(shop, ["title"]), own)

    def test_a_row_that_half_precision_cannot_hold(self, shop):
        class Large(Counting):
            def forward(self, contents):
                return super().forward(contents) * 1e6

        with pytest.raises(ValueError, match="item 'a' is not finite in float16; leave out --float16"):
            extract(shop, "visual", Pictures(shop, Path("images")), Large(), half=True)

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
    def test_out_of_memory_names_the_option(self, shop, error):
        class Greedy(Counting):
            def forward(self, contents):
                raise error

        with pytest.raises(ValueError, match="out of memory; lower --batch-size"):
            extract(shop, "visual", Pictures(shop, Path("images")), Greedy())

    def test_an_item_with_two_texts(self, shop):
        with (shop / "shop.item").open("a") as file:
            file.write("a\tA\tanother\n")
        with pytest.raises(ValueError, match="item 'a' has two rows"):
            Texts(shop, ["plot"])
