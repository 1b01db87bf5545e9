"""Data frames of pandas, pyarrow and whatever gives Arrow streams, as polars does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from recbole_mm.data import from_frames
from recbole_mm.data.describe import describe
from recbole_mm.data.feature_file import read_features
from recbole_mm.io.tables import read_table

VECTORS = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


class _Stream:
    """What polars' frames offer: nothing but Arrow's C stream."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def _views(columns) -> _Stream:
    """Texts as polars hands them over: string views, and categories of them."""
    table = pa.table(columns)
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            views = table.column(i).combine_chunks().cast(pa.string_view())
            if field.name == "user":
                codes = pa.array(np.arange(len(views), dtype=np.uint32))
                views = pa.DictionaryArray.from_arrays(codes, views)
            table = table.set_column(i, field.name, views)
    return _Stream(table)


def _polars(columns):
    """A frame of polars itself, which the tests alone need."""
    polars = pytest.importorskip("polars")
    return polars.DataFrame(columns)


KINDS = {"pandas": pd.DataFrame, "pyarrow": pa.table, "views": _views, "polars": _polars}


@pytest.fixture(params=KINDS)
def frame(request):
    return KINDS[request.param]


def test_a_data_set_of_frames(frame):
    interactions = frame({"user": ["a", "NA", "a", "c"], "item": [1, 2, 3, 1], "stars": [5.0, 4.5, 1, 2]})
    items = frame({"item": [1, 2, 3], "name": ['5" wide', None, "N/A"]})
    report = from_frames(interactions, items, {"visual": VECTORS}, name="toys", out="data")
    assert report.folder == Path("data/toys") and report.written.interactions == 4
    inter = read_table("data/toys/toys.inter")
    assert inter["user_id:token"].tolist() == ["a", "NA", "a", "c"]
    assert inter["rating:float"].astype(float).tolist() == [5.0, 4.5, 1.0, 2.0]
    assert read_table("data/toys/toys.item")["name:token_seq"].tolist() == ['5" wide', "", "N/A"]
    table = read_features(Path("data/toys"), "toys", "visual")
    assert table.ids == ["1", "2", "3"] and table.values.tobytes() == VECTORS.tobytes()
    assert describe(Path("data/toys"))["users"] == 3


def test_a_frame_without_rows_yet_is_told_from_one():
    class LazyFrame:
        """As polars' own, which computes when it is asked to."""

    with pytest.raises(ValueError, match=r"interactions: a LazyFrame holds no rows yet; give interactions.collect\(\)"):
        from_frames(LazyFrame(), name="toys", out="data")


def test_times_of_frames(frame):
    times = pd.to_datetime(["2024-01-01 00:00:01", "2024-01-01 00:00:00"]).to_numpy().astype("datetime64[us]")
    from_frames(frame({"user": ["a", "b"], "item": ["x", "y"], "time": times}), name="t", out="data")
    assert read_table("data/t/t.inter")["timestamp:float"].tolist() == ["1704067201", "1704067200"]


def test_columns_of_vectors_and_pairs_are_features():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), 4)
    items = pa.table({"item": ["x", "y", "z"], "cover_embedding": vectors})
    interactions = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
    from_frames(interactions, items, {"textual": (["y", "x"], VECTORS[:2])}, name="t", out="data")
    visual = read_features(Path("data/t"), "t", "visual")
    assert visual.ids == ["x", "y"] and visual.values.tobytes() == VECTORS[:2].tobytes()
    assert read_features(Path("data/t"), "t", "textual").ids == ["y", "x"]


PAIRS = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
FORMS = {
    "tensor": torch.tensor(VECTORS, requires_grad=True),
    "rows": list(VECTORS),
    "object array": pd.Series(list(VECTORS)).to_numpy(),
    "column": pd.Series(list(VECTORS)),
    "by id": dict(zip("xyz", VECTORS, strict=True)),
    "frame": pd.DataFrame(VECTORS),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_vectors(form):
    from_frames(PAIRS, pd.DataFrame({"item": list("xyz")}), {"v": FORMS[form]}, name="t", out="data")
    table = read_features(Path("data/t"), "t", "v")
    assert table.ids == ["x", "y"] and table.values.tobytes() == VECTORS[:2].tobytes()


def test_types_of_polars():
    polars = pytest.importorskip("polars")
    interactions = polars.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "stars": ["4.5", "3"]}).with_columns(
        polars.col("user").cast(polars.Enum(["b", "a"])),
        polars.col("item").cast(polars.Categorical),
        polars.col("stars").cast(polars.Decimal(10, 2)),
        time=polars.Series([1704067200_000, 1704067201_500]).cast(polars.Datetime("ms", "Asia/Tokyo")),
    )
    items = polars.DataFrame({"item": list("xyz")}).with_columns(
        cover=polars.Series(VECTORS.tolist(), dtype=polars.Array(polars.Float32, 4)),
        tags=polars.Series([["new", "red"], [], None]),
    )
    from_frames(interactions, items, name="t", out="data")
    rows = read_table("data/t/t.inter").to_numpy().tolist()
    assert rows == [["a", "x", "4.50", "1704067200"], ["b", "y", "3.00", "1704067201.5"]]
    assert read_table("data/t/t.item")["tags:token_seq"].tolist() == ["new red", ""]
    visual = read_features(Path("data/t"), "t", "visual")
    assert visual.ids == ["x", "y"] and visual.values.tobytes() == VECTORS[:2].tobytes()


def test_columns_named_by_numbers():
    from_frames(PAIRS.set_axis([0, 1], axis=1), user=0, item=1, name="t", out="data")
    assert read_table("data/t/t.inter")["item_id:token"].tolist() == ["x", "y"]


def test_rows_are_counted_from_the_frames_first():
    many = pd.DataFrame({"user": range(100_003), "item": 1, "stars": pd.array([1] * 100_002 + [None], dtype="Int64")})
    with pytest.raises(ValueError, match="interactions, row 100003: the rating is missing"):
        from_frames(many, name="t", out="data")


@pytest.mark.parametrize(
    ("interactions", "items", "features", "message"),
    [
        ([1, 2], None, None, "interactions: list is no data frame"),
        (pd.DataFrame({"x": [1]}), None, None, "no column looks like the user or the item"),
        (pd.DataFrame({"user": [1, None], "item": [1, 2]}), None, None, "the user ids are double; ids are texts"),
        (pd.DataFrame({"user": ["a", None], "item": [1, 2]}), None, None, "row 2: the user id is missing"),
        (pd.DataFrame({"user": ["a"], "item": [1]}), None, {"visual": np.eye(1)}, r"features\['visual'\]: give"),
        (pd.DataFrame({"user": ["a"], "item": [1]}), None, {"visual": ([1, 2], np.eye(1))}, "1 row .* for 2 item"),
        (pd.DataFrame({"user": ["a"], "item": [1]}), None, {"inter": ([1], np.eye(1))}, "'inter' cannot name"),
        (pd.DataFrame({"user": ["a"], "item": [1]}), None, {"v": ([1], np.array([[np.nan]]))}, "not finite"),
        (PAIRS, PAIRS[["item"]], {"v": pd.DataFrame(np.eye(2), index=["y", "x"])}, "may not be in the order"),
        (PAIRS, PAIRS[["item"]], {"v": [["x", "y"], np.eye(2)]}, r"'v'\]: no table .* or a pair \(ids"),
        (PAIRS, PAIRS[["item"]], None, "items has the column 'item' alone"),
    ],
)
def test_bad_frames_are_named_and_nothing_is_written(interactions, items, features, message):
    with pytest.raises(ValueError, match=message) as error:
        from_frames(interactions, items, features, name="t", out="data")
    assert "\n" not in str(error.value)
    assert not Path("data/t").exists()
