"""Pictures prepared ahead: the same rows with and without processes and cache, whatever is damaged or missing."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features
from recbole_mm.encoder import load_image_encoder, open_picture
from recbole_mm.extraction import Pictures
from recbole_mm.extraction import prepared_pictures as module
from recbole_mm.extraction.contents import MissingContent
from recbole_mm.extraction.pixel_cache import PixelCache, read_pixels
from recbole_mm.extraction.prepared_pictures import PixelRows, prepared
from recbole_mm.extraction.preparing import Workers
from tests.extraction.shop import write_shop
from tests.tiny_clip import write_dual_clip

CACHE = Path("saved") / "pictures"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_dual_clip(tmp_path_factory.mktemp("clip"))


def write_unlike(file: Path, table: pa.Table, damage: str) -> None:
    """A cache's table as :func:`write_pixels` does not write it."""
    digests, options = table["digest"].combine_chunks(), pa.ipc.IpcWriteOptions()
    if damage == "packed":
        options = pa.ipc.IpcWriteOptions(compression="zstd")
    elif damage == "words":
        table = table.set_column(0, "digest", pa.array(range(len(digests))))
    elif damage == "meant often":
        table = table.set_column(0, "digest", digests.dictionary_encode())
    elif damage == "no digest":
        table = table.set_column(0, "digest", pa.array([None, *digests.to_pylist()[1:]], pa.string()))
    else:
        places = np.frombuffer(digests.buffers()[1], np.int32).copy()
        places[1] = 1 << 30
        table = table.set_column(0, "digest", pa.Array.from_buffers(
            pa.string(), len(digests), [None, pa.py_buffer(places), digests.buffers()[2]]
        ))  # fmt: skip
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


@pytest.fixture
def preparation(clip):
    return load_image_encoder(str(clip)).preparation


def extract(shop: Path, clip: Path, options: str = "") -> bytes:
    command = f"extract --dataset {shop} --modality visual --images images --encoder {clip} {options}"
    assert main(shlex.split(command)) == 0
    return (shop / "shop.visual.arrow").read_bytes()


def expected(preparation, item: str) -> np.ndarray:
    """By the processor, and not by our own resizing."""
    found = preparation.processor(
        images=[open_picture(Path("images") / f"{item}.png")], return_tensors="np", do_rescale=False, do_normalize=False
    )
    return found["pixel_values"][0]


class TestRows:
    @pytest.mark.slow
    def test_processes_and_caches_change_no_byte(self, tmp_path, clip):
        shop = write_shop(tmp_path, 100)
        without = extract(shop, clip, "--no-picture-cache --workers 0")
        assert not CACHE.exists() and [path.name for path in shop.iterdir() if "pictures" in path.name] == []
        for options in ("--workers 2", "--workers 0", "--workers 3 --no-picture-cache", "--picture-memory 1"):
            assert extract(shop, clip, options) == without

    def test_are_the_encoders_of_whole_pictures(self, tmp_path, clip):
        shop = write_shop(tmp_path)
        extract(shop, clip, "--workers 2")
        table, encoder = read_features(shop, "shop", "visual"), load_image_encoder(str(clip))
        pixels = encoder.tower.processor(
            images=[open_picture(Path("images") / f"{item}.png") for item in table.ids], return_tensors="pt"
        )
        with torch.no_grad():
            whole = encoder.tower(pixels["pixel_values"])
        np.testing.assert_allclose(table.values, whole.numpy(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_what_cannot_be_read_is_missing(self, tmp_path, preparation, workers):
        contents = Pictures(write_shop(tmp_path), tmp_path / "images")
        Path("images/b.png").write_bytes(b"no picture")
        Path("images/d.png").unlink()
        with prepared(contents, preparation, CACHE, workers) as pictures:
            assert list(pictures.prepare(pictures.items)) == [5]
            for item, reason in (("b", "it is no picture"), ("d", "no file")):
                with pytest.raises(MissingContent, match=reason):
                    pictures.read(item)
            for item in "ace":
                np.testing.assert_array_equal(pictures.read(item)[0], expected(preparation, item))


class TestCache:
    def test_a_picture_is_prepared_once_whatever_its_name(self, tmp_path, preparation, monkeypatch):
        contents = Pictures(write_shop(tmp_path), tmp_path / "images")
        with prepared(contents, preparation, CACHE, 0) as pictures:
            list(pictures.prepare(pictures.items))
        Path("images/b.png").write_bytes(Path("images/a.png").read_bytes())
        monkeypatch.setattr(module, "prepare_pictures", lambda *_: pytest.fail("prepared again"))
        with prepared(contents, preparation, CACHE, 0) as pictures:
            list(pictures.prepare(pictures.items))
            np.testing.assert_array_equal(pictures.read("b")[0], pictures.read("a")[0])

    def test_a_changed_picture_is_prepared_again(self, tmp_path, clip, preparation):
        shop = write_shop(tmp_path)
        extract(shop, clip)
        Image.new("RGB", (50, 40), "red").save("images/c.png")
        with prepared(Pictures(shop, Path("images")), preparation, CACHE, 0) as pictures:
            list(pictures.prepare(pictures.items))
            np.testing.assert_array_equal(pictures.read("c")[0], expected(preparation, "c"))

    def test_other_sizes_lie_apart(self, tmp_path, clip, preparation):
        shop = write_shop(tmp_path)
        extract(shop, clip)
        assert len(PixelCache(CACHE, preparation)) == 5
        extract(shop, write_dual_clip(tmp_path / "wider", width=9))  # the same pictures for another encoder
        assert len(list(CACHE.iterdir())) == 1

    @pytest.mark.parametrize("damage", [b"", b"ARROW1", None])
    def test_a_damaged_file_is_made_again(self, tmp_path, clip, preparation, damage):
        shop = write_shop(tmp_path)
        whole = extract(shop, clip)
        (file,) = CACHE.rglob("*.arrow")
        file.write_bytes(file.read_bytes()[:3000] if damage is None else damage)
        assert extract(shop, clip) == whole
        assert len(PixelCache(CACHE, preparation)) == 5

    @pytest.mark.parametrize("place", ["pixels", "digests"])
    def test_a_file_with_a_changed_bit_is_made_again(self, tmp_path, clip, preparation, place):
        """Of a picture, or of the digest that says whose picture it is."""
        shop = write_shop(tmp_path)
        whole = extract(shop, clip)
        (file,) = CACHE.rglob("*.arrow")
        digests, pixels = read_pixels(file, preparation.shape)
        content = bytearray(file.read_bytes())
        part = pixels[2].tobytes() if place == "pixels" else digests[2].encode()
        content[content.index(part)] ^= 1
        file.write_bytes(content)
        assert extract(shop, clip) == whole
        assert not file.exists() and len(PixelCache(CACHE, preparation)) == 5

    @pytest.mark.parametrize("damage", ["packed", "words", "meant often", "no digest", "out of bounds"])
    def test_a_file_that_this_never_writes_is_made_again(self, tmp_path, clip, preparation, damage):
        """One that is packed or says a text a million times would fill the memory, another be read out of bounds."""
        shop = write_shop(tmp_path)
        whole = extract(shop, clip)
        (file,) = CACHE.rglob("*.arrow")
        table = pa.ipc.open_file(pa.py_buffer(file.read_bytes())).read_all()
        write_unlike(file, table, damage)
        assert extract(shop, clip) == whole
        assert not file.exists() and len(PixelCache(CACHE, preparation)) == 5

    def test_no_more_is_mapped_than_allowed(self, tmp_path, preparation):
        """Files of 32 pictures of 3 x 32 x 32 bytes: of four, two fit into 200,000 bytes."""
        contents = Pictures(write_shop(tmp_path, 128), tmp_path / "images")
        with prepared(contents, preparation, CACHE, 0, memory=200_000) as pictures:
            list(pictures.prepare(pictures.items))
        digests = [pictures.digest(f"i{number}") for number in range(128)]
        rows = PixelRows(pictures.cache, digests)[torch.tensor([127, 0, 64, 32, 1])]
        assert len(pictures.cache._mapped) == 2
        for row, item in zip(rows, ("i127", "i0", "i64", "i32", "i1"), strict=True):
            np.testing.assert_array_equal(row.numpy(), expected(preparation, item))


class TestProcesses:
    def test_a_few_pictures_start_none(self, tmp_path, clip, monkeypatch):
        monkeypatch.setattr(module, "Workers", lambda *_: pytest.fail("started processes"))
        extract(write_shop(tmp_path), clip)

    def test_many_start_one_for_each_processor(self, tmp_path, clip, monkeypatch):
        monkeypatch.setattr(module, "WORTH_PROCESSES", 5)
        started = []

        class Noting(Workers):
            def __init__(self, n, *rest):
                started.append(n)
                super().__init__(n, *rest)

        monkeypatch.setattr(module, "Workers", Noting)
        extract(write_shop(tmp_path), clip)
        assert started == [len(os.sched_getaffinity(0))]

    def test_the_death_of_one_is_one_line(self, tmp_path, preparation):
        contents = Pictures(write_shop(tmp_path, 300), tmp_path / "images")
        with prepared(contents, preparation, CACHE, 1) as pictures:
            chunks = pictures.prepare(pictures.items)
            next(chunks)
            for process in pictures._workers._pool._processes.values():
                os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(ValueError, match="was killed, such as for its memory; set fewer workers"):
                list(chunks)

    def test_they_run_no_further_ahead_than_allowed(self, tmp_path, preparation):
        contents = Pictures(write_shop(tmp_path, 400), tmp_path / "images")
        with prepared(contents, preparation, CACHE, 1) as pictures:
            next(pictures.prepare(pictures.items))
            pictures._workers.stop()
            assert len(list(CACHE.rglob("*.arrow"))) <= 1 + 2 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--workers -1", "--workers: -1 must be from 0 to 256"),
        ("--workers 1000000", "--workers: 1000000 must be from 0 to 256"),
        ("--picture-memory 0", "--picture-memory: 0 must be from 1 to"),
        ("--picture-cache /proc/nowhere", "cannot be written"),
    ],
)
def test_bad_input_is_one_line(tmp_path, clip, capsys, options, message):
    shop = write_shop(tmp_path)
    command = f"extract --dataset {shop} --modality visual --images images --encoder {clip} {options}"
    assert main(shlex.split(command)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
