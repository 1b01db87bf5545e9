"""Small files that unpack to large ones are refused by their headers, before the memory is asked for."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbole_mm.__main__ import main
from recbole_mm.data.arrow_form import read_arrow, write_arrow
from recbole_mm.data.npy import load_npy
from recbole_mm.io.arrow_sizes import unpacked_size
from recbole_mm.io.memory import free_memory

VALUES = np.zeros((50, 8), dtype=np.float32)
IDS = [f"i{row}" for row in range(50)]
PETABYTE = 10**15
REFUSED = "MB unpacks to 1e[+]06 GB, more than half of the [0-9.e+]+ GB of memory that are left; save it unpacked"


def write_archive(file: Path, size: int | None = None) -> None:
    """An archive of one array, whose header says that it unpacks to `size`."""
    np.savez_compressed(file.with_suffix(".whole.npz"), values=VALUES)
    with zipfile.ZipFile(file.with_suffix(".whole.npz")) as whole, zipfile.ZipFile(file, "w", 8) as archive:
        archive.writestr("values.npy", whole.read("values.npy"))
        if size is not None:
            archive.infolist()[0].file_size = size


def compressed_arrow(compression: str, n_columns: int = 1) -> bytes:
    table = pa.table({
        "item_id": IDS, "visual": pa.FixedSizeListArray.from_arrays(pa.array(VALUES.reshape(-1)), 8),
        **{f"words{n}": pa.array(["a", "b"] * 25).dictionary_encode() for n in range(n_columns - 1)},
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=20)
    return sink.getvalue().to_pybytes()


def test_linux_says_how_much_memory_is_left():
    if not Path("/proc/meminfo").is_file():
        pytest.skip("this is no Linux")
    assert 1 << 20 < free_memory() < 1 << 50


def test_an_archive(tmp_path):
    write_archive(tmp_path / "small.npz")
    np.testing.assert_array_equal(load_npy(tmp_path / "small.npz"), VALUES)
    write_archive(tmp_path / "large.npz", PETABYTE)
    with pytest.raises(ValueError, match=f"large.npz of [0-9.]+ {REFUSED}"):
        load_npy(tmp_path / "large.npz")


def test_an_archive_whose_array_says_more_than_it_holds(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 256), }".ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", 8) as archive:
        archive.writestr(
            "a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 4096
        )
    with pytest.raises(ValueError, match="a.npz is a damaged .npz archive .*; save it again"):
        load_npy(tmp_path / "a.npz")


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_an_arrow_file(tmp_path, compression):
    file, content = tmp_path / "toy.visual.arrow", compressed_arrow(compression)
    file.write_bytes(content)
    np.testing.assert_array_equal(read_arrow(file).values, VALUES)
    size = struct.pack("<q", 20 * 8 * 4)  # of a chunk's numbers, before its packed bytes
    assert content.count(size) >= 2
    file.write_bytes(content.replace(size, struct.pack("<q", PETABYTE)))
    with pytest.raises(ValueError, match="toy.visual.arrow of [0-9.]+ MB unpacks to [12]e[+]06 GB, more than half of"):
        read_arrow(file)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_all_buffers_of_an_arrow_file_count(compression):
    """Of three chunks: numbers, texts with their places, and dictionaries with the places in them."""
    numbers, texts, places = 50 * 8 * 4, sum(map(len, IDS)), (50 + 3) * 4
    alone = unpacked_size(memoryview(compressed_arrow(compression)))
    padding = 6 * 8
    assert 0 <= alone - (numbers + texts + places) <= padding
    more = unpacked_size(memoryview(compressed_arrow(compression, n_columns=3))) - alone
    indices, words = 50 * 4, 2 + 3 * 4
    assert 0 <= more - 2 * (indices + words) <= 2 * padding


def test_an_arrow_file_of_ours_is_not_packed(tmp_path):
    write_arrow(tmp_path / "toy.visual.arrow", IDS, VALUES)
    assert unpacked_size(memoryview((tmp_path / "toy.visual.arrow").read_bytes())) == 0


@pytest.mark.parametrize("keeps_type", [True, False])
def test_a_text_that_stands_once_and_is_meant_often(capsys, keeps_type):
    items = pa.DictionaryArray.from_arrays(np.zeros(70_000, dtype=np.int32), ["x" * 20_000])
    table = pa.table({"user": ["u1"] * 70_000, "item": items})
    pq.write_table(table, "t.parquet", store_schema=keeps_type)
    assert Path("t.parquet").stat().st_size < 10**6
    assert main("convert auto t.parquet --name toy --out data".split()) == 2
    error = capsys.readouterr().err
    assert "error: t.parquet: 70000 rows hold 1.4 GB of texts in 'item'; shorten them, or leave the column out" in error
