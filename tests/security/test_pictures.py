"""Picture folders made to hang, to run programs, or to read what is no picture."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_mm.analysis.contact_sheet import read_picture
from recbole_mm.data.feature_file import find_modalities, read_features
from recbole_mm.data.npy import load_npy, read_ids
from recbole_mm.extraction import Pictures, Texts, extract
from recbole_mm.extraction.contents import MissingContent
from recbole_mm.io import pictures
from recbole_mm.io.pictures import PictureError, open_picture
from recbole_mm.io.reading import open_regular, read_npz
from tests.extraction.shop import write_shop
from tests.extraction.test_extract import Counting

KINDS = ("pipe", "link to a pipe", "socket", "device", "link to a device", "folder", "dangling link", "loop of links")


@pytest.fixture(autouse=True)
def never_hangs():
    """SIGALRM ends a test that waits for a pipe's other end."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def make(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("the-pipe"))
        path.symlink_to("the-pipe")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(os.path.relpath(path))
    elif kind == "device":
        try:
            os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # /dev/zero
        except PermissionError:
            pytest.skip("this user makes no devices")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link to a device": "/dev/zero", "dangling link": "nowhere"}.get(kind, path.name))


@pytest.mark.parametrize("kind", KINDS)
def test_is_listed_as_unreadable_and_never_opened(tmp_path, kind):
    shop = write_shop(tmp_path)
    make(tmp_path / "images" / "b.png", kind)
    contents = Pictures(shop, tmp_path / "images")
    with pytest.raises(MissingContent):
        contents.digest("b")
    with pytest.raises(MissingContent):
        contents.read("b")
    result = extract(shop, "visual", contents, Counting())
    assert result.n_rows == 4 and list(result.missing) == ["b"]
    assert "b.png" in (shop / "shop.visual.missing.tsv").read_text()


def test_a_link_to_a_picture_is_a_picture(tmp_path):
    shop = write_shop(tmp_path)
    (tmp_path / "images" / "b.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "elsewhere.png")
    assert extract(shop, "visual", Pictures(shop, tmp_path / "images"), Counting()).n_rows == 5


def test_a_huge_file_is_neither_hashed_nor_read(tmp_path, monkeypatch):
    shop = write_shop(tmp_path)
    file = tmp_path / "images" / "b.png"
    os.truncate(file, pictures.MOST_BYTES + 1)  # sparse
    with pytest.raises(PictureError, match="1.1 GB"):
        open_picture(file)
    with pytest.raises(MissingContent, match="1.1 GB"):
        Pictures(shop, tmp_path / "images").digest("b")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".eps"])
def test_formats_that_run_programs_are_no_pictures(tmp_path, monkeypatch, suffix):
    """Pillow hands PostScript to Ghostscript, whatever the suffix says."""
    file = tmp_path / f"a{suffix}"
    Image.new("RGB", (4, 4)).save(file, format="EPS")
    monkeypatch.setattr(subprocess, "check_call", lambda *command, **options: pytest.fail(f"ran {command}"))
    with pytest.raises(PictureError, match="it is no picture"):
        open_picture(file)


@pytest.mark.parametrize("form", ["PPM", "WEBP", "TIFF", "BMP", "GIF", "JPEG", "PNG", "MPO"])
def test_formats_of_pixels_are(tmp_path, form):
    Image.new("RGB", (4, 4), "white").save(tmp_path / "a.jpg", format=form)
    assert open_picture(tmp_path / "a.jpg").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", KINDS)
def test_is_unreadable_on_a_contact_sheet(tmp_path, kind):
    make(tmp_path / "a.png", kind)
    assert read_picture(tmp_path / "a.png") is None


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "link to a device", "folder"])
class TestOtherFiles:
    """All readers of a user's file: one line instead of waiting."""

    @pytest.mark.parametrize("read", [load_npy, read_ids, open_regular, read_npz])
    def test_by_name(self, tmp_path, kind, read):
        make(tmp_path / "a", kind)
        with pytest.raises(OSError, match="a is a .*; give a regular file"):
            read(tmp_path / "a")

    @pytest.mark.parametrize("name", ["shop.inter", "shop.item", "shop.visual", "shop.visual.arrow"])
    def test_of_a_data_set(self, tmp_path, kind, name):
        shop = write_shop(tmp_path)
        make(shop / name, kind)
        if "visual" in name:
            with pytest.raises(ValueError, match=f"{name} is a (pipe|device|folder), so it cannot be read"):
                find_modalities(shop, "shop")  # not passed over
            with pytest.raises((OSError, ValueError), match=f"no features in|{name} is a"):
                read_features(shop, "shop", "visual")
        else:
            with pytest.raises((OSError, ValueError), match="shop.i"):
                Texts(shop, ["title"])

    def test_a_split(self, tmp_path, kind):
        shop = write_shop(tmp_path)
        make(shop / "shop.train.inter", kind)
        with pytest.raises(OSError, match="give a regular file"):
            Texts(shop, ["title"])

    def test_rows_of_an_interrupted_extraction(self, tmp_path, kind):
        shop = write_shop(tmp_path)
        contents = Pictures(shop, tmp_path / "images")
        with pytest.raises(KeyboardInterrupt):
            extract(shop, "visual", contents, Counting(dies_at=4), batch_size=2)
        store = next(shop.glob(".shop.visual.extracting-*"))
        make(store / "00000007.npz", kind)
        assert extract(shop, "visual", contents, Counting(), batch_size=2).n_reused == 4
        np.testing.assert_array_equal(read_features(shop, "shop", "visual").ids, ["a", "b", "c", "d", "e"])
