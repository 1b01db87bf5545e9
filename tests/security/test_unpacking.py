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
from recbole_mm.data.conversion.arrow_tables import ParquetTable
from recbole_mm.data.npy import load_npy
from recbole_mm.io import memory
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


@pytest.mark.parametrize("fixed", [True, False])
def test_lists_of_a_number_that_stands_once_and_is_meant_often(capsys, monkeypatch, fixed):
    """Of 160 MB in lists, where 100 MB of memory are left."""
    values = pa.array(np.full(40_000_000, 0.5, dtype=np.float32))
    places = pa.array(np.arange(0, 40_000_001, 40_000, dtype=np.int32))
    vectors = pa.FixedSizeListArray.from_arrays(values, 40_000) if fixed else pa.ListArray.from_arrays(places, values)
    pq.write_table(pa.table({"item": [f"i{row}" for row in range(1000)], "vector": vectors}), "items.parquet")
    Path("r.csv").write_text("user,item\nu,i1\nv,i2\n")
    assert Path("items.parquet").stat().st_size < 10**5
    monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    assert main("convert auto r.csv --items items.parquet --name toy --out data".split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line.startswith("error: items.parquet of 0.0") and "MB unpacks to 0.16 GB, more than half of the 0.1 GB" in line
    )
    assert line.endswith("save it with fewer rows in a group")


def test_lists_that_are_as_large_as_their_file_are_read_where_little_memory_is_left(monkeypatch):
    values = np.random.default_rng(0).random((2000, 300), dtype=np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 300)
    pq.write_table(pa.table({"item": [f"i{row}" for row in range(2000)], "vector": vectors}), "items.parquet")
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    cells = [chunk["vector"] for chunk, _ in ParquetTable(Path("items.parquet")).batches(["vector"], 500)]
    np.testing.assert_array_equal(np.concatenate([np.stack(chunk.to_numpy(False)) for chunk in cells]), values)


def test_lists_of_a_text_that_stands_once_and_is_meant_often(capsys):
    words = pa.DictionaryArray.from_arrays(np.zeros(70_000, dtype=np.int32), ["x" * 20_000])
    places = pa.array(np.arange(0, 70_001, 70, dtype=np.int32))
    items = pa.table({"item": [f"i{row}" for row in range(1000)], "tags": pa.ListArray.from_arrays(places, words)})
    pq.write_table(items, "items.parquet", store_schema=False)
    Path("r.csv").write_text("user,item\nu,i1\nv,i2\n")
    assert main("convert auto r.csv --items items.parquet --name toy --out data".split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: items.parquet: 1000 rows hold 1.4 GB of texts in 'tags'; shorten them, or leave")


def test_texts_in_lists_are_what_the_file_has(tmp_path):
    words = [["a", "b"], None, [], ["c", None], ["a"]]
    kinds = [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.list_(pa.string()))]
    columns = [words, words, [[row] for row in words]]
    table = pa.table({str(n): pa.array(*column) for n, column in enumerate(zip(columns, kinds, strict=True))})
    pq.write_table(table, "t.parquet")
    chunks = [chunk for chunk, _ in ParquetTable(Path("t.parquet")).batches(["0", "1", "2"], 2)]
    for name in table.column_names:
        assert pa.chunked_array([chunk[name] for chunk in chunks]).equals(table[name])
