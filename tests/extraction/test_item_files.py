"""Which file is of which item, in the layouts that people have."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features
from recbole_mm.extraction import Pictures, extract
from recbole_mm.extraction.item_files import item_files, mapped_files
from tests.extraction.shop import write_shop
from tests.extraction.test_extract import Counting
from tests.extraction.test_prepared_pictures import clip  # noqa: F401


def found(files: list[str], items: list[str]) -> dict[str, list[str]]:
    for name in files:
        Path("files", name).parent.mkdir(parents=True, exist_ok=True)
        Path("files", name).touch()
    base = Path("files").absolute()
    listed = item_files(Path("files"), items, (".jpg", ".png"))
    return {item: [path.relative_to(base).as_posix() for path in paths] for item, paths in listed.items()}


@pytest.mark.parametrize(
    ("files", "items", "expected"),
    [
        (["42.jpg", "42.png", "43.txt"], ["42", "43"], {"42": ["42.jpg"]}),
        (["42_1.jpg", "42_2.png", "42_x.jpg"], ["42"], {"42": ["42_1.jpg", "42_2.png"]}),
        (["42.jpg", "42_1.jpg"], ["42"], {"42": ["42.jpg", "42_1.jpg"]}),
        (["Ka\u0308se.JPG"], ["K\u00e4se"], {"K\u00e4se": ["Ka\u0308se.JPG"]}),  # as a Mac writes it
        (["Ka\u0308se.jpg", "K\u00e4se.jpg"], ["Ka\u0308se", "K\u00e4se"],
         {"Ka\u0308se": ["Ka\u0308se.jpg"], "K\u00e4se": ["K\u00e4se.jpg"]}),
        (["42_1.jpg", "42.jpg"], ["42", "42_1"], {"42": ["42.jpg"], "42_1": ["42_1.jpg"]}),
        (["42/a.jpg", "42/b.png", "43/c.jpg"], ["42", "43"], {"42": ["42/a.jpg", "42/b.png"], "43": ["43/c.jpg"]}),
        (["a/b/42.jpg", "a/43.jpg"], ["42", "43"], {"42": ["a/b/42.jpg"], "43": ["a/43.jpg"]}),
        (["a/b.jpg", "b.jpg"], ["a/b", "b"], {"a/b": ["a/b.jpg"], "b": ["b.jpg"]}),
        (["a/b_1.jpg", "a/b_2.jpg"], ["a/b"], {"a/b": ["a/b_1.jpg", "a/b_2.jpg"]}),
        (["42.v2.jpg"], ["42.v2"], {"42.v2": ["42.v2.jpg"]}),
        (["a/42.jpg", "43.JPG"], ["42.jpg", "43.JPG", "42"], {"42.jpg": ["a/42.jpg"], "43.JPG": ["43.JPG"]}),
        ([".42.jpg", ".hidden/42.jpg"], ["42", ".42"], {}),
    ],
)
def test_layouts(files, items, expected):
    assert found(files, items) == expected


def test_files_that_are_not_read_are_told(tmp_path, capsys):
    shop, files = write_shop(tmp_path), Path("files")
    files.mkdir()
    for name, form in {"a.jfif": "JPEG", "b.avif": "AVIF", "d.JP2": "JPEG2000", "A (1).jpg": "JPEG"}.items():
        Image.new("RGB", (40, 30), (200, 10, 10)).save(files / name, format=form)
    (files / "c.heic").touch()
    command = f"extract --dataset {shop} --modality visual --images files --encoder histograms"
    assert main(shlex.split(command)) == 0
    shown = capsys.readouterr().out
    assert "2 files of files not read for any item, such as A (1).jpg" in shown
    assert "c: no picture, but c.heic, whose suffix is none of .jpg, .avif, " in shown
    assert read_features(shop, "shop", "visual").ids == ["a", "b", "d"]
    for name in ("a.jfif", "b.avif", "d.JP2"):
        (files / name).unlink()
    assert main(shlex.split(command)) == 2
    assert "such as a.jpg, and it has A (1).jpg, c.heic" in capsys.readouterr().err


def test_no_id_leads_out_of_the_folder(tmp_path):
    (tmp_path / "x.jpg").touch()
    assert found(["a.jpg"], ["../x", str(tmp_path / "x"), "a"]) == {"a": ["a.jpg"]}


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "42.jpg").touch()
    Path("files").mkdir()
    Path("files/more").symlink_to(tmp_path / "elsewhere")
    assert found([], ["42"]) == {}


class TestColumn:
    def test_names_one_or_several_with_or_without_blanks(self):
        found(["p/1.jpg", "p/2.jpg", "my cat.jpg"], [])
        names = {"a/x": "p/1.jpg", "b": "p/1.jpg p/2.jpg", "c": "my cat.jpg", "d": "", "e": "gone.jpg"}
        listed = mapped_files(Path("files"), names, "--images")
        assert {item: [path.name for path in paths] for item, paths in listed.items()} == {
            "a/x": ["1.jpg"], "b": ["1.jpg", "2.jpg"], "c": ["my cat.jpg"],
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["../x.jpg", "p/../../x.jpg", "/etc/passwd"])
    def test_not_outside(self, name):
        Path("files").mkdir()
        with pytest.raises(ValueError, match="--images: item 'a' names .*, which is not below files"):
            mapped_files(Path("files"), {"a": name}, "--images")

    def test_command(self, tmp_path, clip):  # noqa: F811
        shop = write_shop(tmp_path)
        Path("images/a.png").rename("images/cover.png")
        (shop / "shop.item").write_text("item_id:token\tcover:token_seq\na\tcover.png\nb\tcover.png b.png\nc\t\n")
        command = f"extract --dataset {shop} --modality visual --images images --encoder {clip}"
        assert main(shlex.split(f"{command} --files cover")) == 0
        table = read_features(shop, "shop", "visual")
        assert table.ids == ["a", "b"]
        assert main(shlex.split(f"{command} --files nothing")) == 2


class TestSeveral:
    @pytest.fixture
    def shop(self, tmp_path) -> Path:
        shop = write_shop(tmp_path)
        for number, colour in enumerate([(255, 0, 0), (0, 51, 0)]):
            Image.new("RGB", (9, 9), colour).save(f"images/b_{number}.png")
        Path("images/b.png").unlink()
        return shop

    def test_features_are_averaged(self, shop):
        result = extract(shop, "visual", Pictures(shop, Path("images")), Counting(), batch_size=2)
        np.testing.assert_allclose(read_features(shop, "shop", "visual").values[1], [0.5, 0.1, 0], rtol=1e-6)
        assert (result.n_rows, result.partly) == (5, {})

    def test_prepared_ones_too(self, shop, clip):  # noqa: F811
        def features() -> np.ndarray:
            main(shlex.split(f"extract --dataset {shop} --modality visual --images images --encoder {clip}"))
            return read_features(shop, "shop", "visual").values.copy()

        both = features()
        alone = []
        for kept in ("b_0", "b_1"):
            (other,) = {"b_0", "b_1"} - {kept}
            content = Path(f"images/{other}.png").read_bytes()
            Path(f"images/{other}.png").unlink()
            alone.append(features()[1])
            Path(f"images/{other}.png").write_bytes(content)
        np.testing.assert_allclose(both[1], np.mean(alone, axis=0), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("encoder", ["clip", "histograms"])
    def test_one_that_cannot_be_read_is_listed_and_the_others_count(self, shop, clip, capsys, encoder):  # noqa: F811
        Path("images/b_1.png").write_bytes(b"no picture")
        Path("images/c.png").write_bytes(b"no picture")
        encoder = clip if encoder == "clip" else encoder
        main(shlex.split(f"extract --dataset {shop} --modality visual --images images --encoder {encoder}"))
        assert read_features(shop, "shop", "visual").ids == ["a", "b", "d", "e"]
        rows = dict(row.split("\t") for row in (shop / "shop.visual.missing.tsv").read_text().splitlines()[1:])
        assert set(rows) == {"b", "c"} and rows["b"].startswith("1 of 2 files left out: ") and "b_1.png" in rows["b"]
        assert "1 item lacks some of its files" in capsys.readouterr().out
