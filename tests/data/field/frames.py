"""Kind: data frames of pandas, polars and pyarrow, through `from_frames`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
import torch

from tests.data.field.tables import PAIRS, PLAIN, TITLED, with_column

DAY = 1717113600  # 2024-05-31
SECONDS = [str(DAY + 86400 * place) for place in range(5)]
VECTORS = {"0": [0.5, 1.0], "1": [-1.5, 2.0], "2": [1e-3, 0.0]}


@dataclass(frozen=True)
class Frame:
    """Data frames, and what becomes of them.

    Attributes:
        what, outcome: as of a case.
        given: makes what `from_frames` is given.
        expected: cells by suffix of a file, or vectors of a modality; None where it is refused.
    """

    what: str
    outcome: str
    given: Callable[[], tuple[Any, ...]]
    expected: dict[str, Any] | None = None


def pairs(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"user_id": [user for user, _ in PAIRS], "item_id": [item for _, item in PAIRS], **columns})


def items(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"item_id": list("012"), "title": list("abc"), **columns})


def of_polars(**columns: Any) -> Any:
    import polars

    return polars.DataFrame({"user_id": [user for user, _ in PAIRS], "item_id": [item for _, item in PAIRS], **columns})


def _polars_times() -> tuple[Any, ...]:
    import polars

    return (of_polars(time=polars.Series([DAY * 10**6 + 1] * 5).cast(polars.Datetime("us", "UTC"))),)


def _polars_classes() -> tuple[Any, ...]:
    import polars

    return (of_polars().cast({"user_id": polars.Categorical, "item_id": polars.Enum(["0", "1", "2"])}),)


def _polars_vectors() -> tuple[Any, ...]:
    import polars

    vectors = polars.Series(list(VECTORS.values()), dtype=polars.Array(polars.Float32, 2))
    return of_polars(), polars.DataFrame({"item_id": list("012"), "taste": vectors})


def timed(times: Any) -> Callable[[], tuple[Any, ...]]:
    return lambda: (pairs(time=times),)


TASTE = {**TITLED, "taste": VECTORS}
VISUAL = {**TITLED, "visual": VECTORS}
ARRAY = np.array(list(VECTORS.values()), np.float32)
FILL = "fill it, delete the row, or leave the column out with --{} none"
FRAMES = [
    Frame("categories", "read", lambda: (pairs().astype("category"), items().astype("category")), TITLED),
    Frame("a category that is missing", "interactions, row 2: the item id is missing; fill it, or delete the row",
          lambda: (pairs().assign(item_id=pd.Categorical(["0", None, "1", "0", "2"])),)),
    Frame("whole numbers that may be missing as ids", "read", lambda: (pairs().astype({"user_id": "Int64", "item_id": "UInt8"}),), PLAIN),
    Frame("a rating that is missing", f"interactions, row 2: the rating is missing; {FILL.format('rating')}",
          lambda: (pairs(rating=pd.array([1, None, 2, 3, 4], dtype="Int64")),)),
    Frame("true and false as ratings", "1 and 0", lambda: (pairs(rating=[True, False, True, True, False]),), with_column("rating", list("10110"))),
    Frame("decimals as ratings", "the numbers", lambda: (pairs(rating=[Decimal("1.50")] * 5),), with_column("rating", ["1.50"] * 5)),
    Frame("times with a zone", "seconds since 1970", timed(pd.date_range("2024-05-31 02:00", periods=5, tz="Europe/Berlin")), with_column("timestamp", SECONDS)),
    Frame("times without a zone", "the same, of UTC", timed(pd.date_range("2024-05-31", periods=5)), with_column("timestamp", SECONDS)),
    Frame("days of Python", "the same", timed([day.date() for day in pd.date_range("2024-05-31", periods=5)]), with_column("timestamp", SECONDS)),
    Frame("`NaT`", f"interactions, row 2: the time is missing; {FILL.format('time')}",
          timed([pd.Timestamp("2024-05-31"), pd.NaT, *[pd.Timestamp("2024-05-31")] * 3])),
    Frame("periods", "interactions, row 1: the time is extension<pandas.period<ArrowPeriodType>>, which is no number; cast the column",
          timed(pd.period_range("2024-05", periods=5, freq="M"))),
    Frame("ids of type float", "interactions, row 1: the item ids are double; ids are texts or integers: cast the column",
          lambda: (pairs().astype({"item_id": float}),)),
    Frame("bytes as ids", "interactions, row 1: the item ids are binary; ids are texts or integers: cast the column",
          lambda: (pairs().assign(item_id=[b"0"] * 5),)),
    Frame("users and items as an index of two columns", "read", lambda: (pairs(rating=[1.5] * 5).set_index(["user_id", "item_id"]),),
          with_column("rating", ["1.5"] * 5)),
    Frame("lists of texts", "texts", lambda: (pairs(), items(tags=[["x", "y"], ["z"], []])),
          {**PLAIN, "item": [[*TITLED["item"][0], "tags:token_seq"], ["0", "a", "x y"], ["1", "b", "z"], ["2", "c", ""]]}),
    Frame("dictionaries", "texts, as Python prints them", lambda: (pairs(), items(more=[{"a": 1}] * 3)),
          {**PLAIN, "item": [[*TITLED["item"][0], "more:token_seq"], *([*row, "{'a': 1}"] for row in TITLED["item"][1:])]}),
    Frame("a column of arrays", "a modality", lambda: (pairs(), items(taste=list(ARRAY))), TASTE),
    Frame("a column of tables", "items: a column cannot be read (('Can only convert 1-dimensional array values of list<item: double> to a "
          "variable-sized list', 'Conversion failed for column taste with type object')); cast it", lambda: (pairs(), items(taste=[np.ones((2, 2))] * 3))),
    Frame("a column that is there twice", "items: the column 'title' is there twice; rename one",
          lambda: (pairs(), pd.concat([items(), items()[["title"]]], axis=1))),
    Frame("a sparse matrix", "features['visual']: a sparse matrix; give MATRIX.toarray(), or fewer columns of it",
          lambda: (pairs(), items(), {"visual": sp.csr_matrix(ARRAY)})),
    Frame("vectors with a gap", "items, row 1: the vector in 'taste' has a gap; fill it, or leave the cell empty", lambda: (pairs(), items(taste=[[0.5, np.nan]] * 3))),
    Frame("a tensor of bfloat16 that has a gradient", "a modality, as float32",
          lambda: (pairs(), items(), {"visual": torch.tensor([[0.5, 1], [-1.5, 2], [1, 0]], dtype=torch.bfloat16, requires_grad=True)}),
          {**TITLED, "visual": {"0": [0.5, 1], "1": [-1.5, 2], "2": [1, 0]}}),
    Frame("vectors by whole numbers", "a modality", lambda: (pairs(), items(), {"visual": {int(item): row for item, row in VECTORS.items()}}), VISUAL),
    Frame("a frame of features in the order of the items", "a modality", lambda: (pairs(), items(), {"visual": pd.DataFrame(ARRAY)}), VISUAL),
    Frame("a frame of features by id", "features['visual']: its index may not be in the order of the items; give (ids, FRAME.to_numpy())",
          lambda: (pairs(), items(), {"visual": pd.DataFrame(ARRAY, index=list("210"))})),
    Frame("fewer features than items", "features['visual']: 2 rows of features for 3 item ids; there must be one each",
          lambda: (pairs(), items(), {"visual": ARRAY[:2]})),
    Frame("polars: times to a microsecond", "decimals of seconds", _polars_times, with_column("timestamp", [f"{DAY}.000001"] * 5)),
    Frame("polars: categories and enumerations", "read", _polars_classes, PLAIN),
    Frame("polars: arrays", "a modality", _polars_vectors, {**PLAIN, "taste": VECTORS}),
    Frame("polars: a LazyFrame", "interactions: a LazyFrame holds no rows yet; give interactions.collect()", lambda: (of_polars().lazy(),)),
    Frame("pyarrow: dictionaries and chunks", "read", lambda: (pa.concat_tables([pa.Table.from_pandas(pairs())[:2], pa.Table.from_pandas(pairs())[2:]]).unify_dictionaries(),), PLAIN),
    Frame("a dictionary of lists", "interactions: dict is no data frame; give one of pandas or polars", lambda: ({"user_id": ["0"], "item_id": ["0"]},)),
    Frame("no rows", "interactions holds no interactions; fill it", lambda: (pairs()[:0],)),
]  # fmt: skip
