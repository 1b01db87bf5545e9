"""Readers of features: Arrow, text and NumPy files, and lists of ids, whole and damaged."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recbole_mm.data.arrow_form import read_arrow, read_metadata, write_arrow
from recbole_mm.data.feature_table import checked_features
from recbole_mm.data.npy import load_npy, read_ids
from recbole_mm.data.text_form import read_text, write_text
from recbole_mm.extraction.row_store import RowStore
from tests.fuzz.strategies import fuzz, ids, mutated, read_or_refuse

IDS, VALUES = ["a", "bé", "c 3"], np.array([[1, -2.5], [3e-5, 4], [5, 6e7]], np.float32)


@st.composite
def tables(draw) -> tuple[list[str], np.ndarray]:
    names = draw(st.lists(ids, min_size=1, max_size=6, unique=True))
    shape = (len(names), draw(st.integers(1, 4)))
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    finite = st.floats(width=np.dtype(dtype).itemsize * 8, allow_nan=False, allow_infinity=False)
    return names, draw(arrays.arrays(dtype, shape, elements=finite))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """A valid file of each kind, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    write_arrow(folder / "arrow", IDS, VALUES, encoder="clip")
    write_text(folder / "text", "visual", IDS, VALUES)
    np.save(folder / "npy.npy", VALUES)
    return {name: (folder / name).read_bytes() for name in ("arrow", "text", "npy.npy")}


@fuzz
@given(table=tables())
def test_arrow_gives_what_was_written(tmp_path_factory, table):
    file = tmp_path_factory.getbasetemp() / "toys.visual.arrow"
    write_arrow(file, *table)
    read = read_arrow(file)
    assert read.ids == table[0] and read.values.dtype == table[1].dtype
    np.testing.assert_array_equal(read.values, table[1])


@fuzz
@given(data=st.data())
def test_damaged_arrow(tmp_path, whole, data):
    file = tmp_path / "toys.visual.arrow"
    file.write_bytes(data.draw(mutated(whole["arrow"])))
    read_or_refuse(lambda: read_metadata(file), file)
    read = read_or_refuse(lambda: read_arrow(file), file)
    if read is not None:
        columns = pa.ipc.open_file(io.BytesIO(file.read_bytes())).read_all().to_pydict()
        expected = dict(zip(columns.pop("item_id"), *columns.values(), strict=True))
        assert read.ids == list(expected)
        np.testing.assert_array_equal(read.values, np.array(list(expected.values())))


@fuzz
@given(table=tables())
def test_text_gives_what_was_written(tmp_path_factory, table):
    file = tmp_path_factory.getbasetemp() / "toys.visual"
    write_text(file, "visual", *table)
    read = read_text(file)
    assert read.ids == table[0]
    np.testing.assert_array_equal(read.values, table[1].astype(np.float32))


@fuzz
@given(data=st.data())
def test_damaged_text(tmp_path, whole, data):
    file = tmp_path / "toys.visual"
    file.write_bytes(data.draw(mutated(whole["text"])))
    read = read_or_refuse(lambda: read_text(file), file)
    if read is not None:
        text = file.read_bytes().partition(b"\n")[2].decode()  # the header may hold anything for a name
        rows = [line.rstrip("\r").split("\t", 1) for line in text.split("\n") if line.strip()]
        expected = {item: [float(number) for number in vector.split(" ") if number] for item, vector in rows}
        assert read.ids == list(expected)
        np.testing.assert_allclose(read.values, np.array(list(expected.values())), rtol=1e-6, atol=1e-44)


@fuzz
@given(data=st.data())
def test_damaged_npy(tmp_path, whole, data):
    file = tmp_path / "features.npy"
    file.write_bytes(data.draw(mutated(whole["npy.npy"])))
    values = read_or_refuse(lambda: load_npy(file), file)
    if values is not None:
        np.testing.assert_array_equal(values, np.load(io.BytesIO(file.read_bytes()), allow_pickle=False))
        names = [str(row) for row in range(len(values) if values.ndim else 1)]
        read_or_refuse(lambda: checked_features(names, values, file), file)


@fuzz
@given(names=st.lists(ids, min_size=1, max_size=6), end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_ids_are_the_lines(tmp_path_factory, names, end, last):
    file = tmp_path_factory.getbasetemp() / "ids.txt"
    file.write_bytes((end.join(names) + end * last).encode())
    expected = [names[0].removeprefix("\ufeff"), *names[1:]]  # a byte order mark is no part of an id
    if expected[0].strip():
        assert read_ids(file) == expected
    else:
        with pytest.raises(ValueError, match="ids.txt, line 1: no item id"):
            read_ids(file)


@fuzz
@given(data=st.data())
def test_damaged_ids(tmp_path, data):
    file = tmp_path / "ids.txt"
    file.write_bytes(data.draw(mutated("a\nbé\nc 3\n".encode())))
    read = read_or_refuse(lambda: read_ids(file), file)
    assert read is None or all(read)


@fuzz
@given(data=st.data())
def test_damaged_rows_of_an_extraction_are_computed_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    store = RowStore(folder, "toys.visual", {})
    keys = [(item, "0" * 64) for item in IDS]
    store.add(keys, VALUES)
    (file,) = store.folder.iterdir()
    file.write_bytes(data.draw(mutated(file.read_bytes())))
    again = RowStore(folder, "toys.visual", {})
    for key, row in zip(keys, VALUES, strict=True):
        if key in again:
            np.testing.assert_array_equal(again[key], row)
