"""Amazon product data of 2014: reviews, metadata, and image features in a binary file (`.b`).

`reviews_Baby_5.json.gz` has a JSON object a line (reviewerID, asin, overall, unixReviewTime); `ratings_Baby.csv` has
user, item, rating, timestamp without a header, and is read where there are no reviews. `meta_Baby.json.gz` has a Python
dictionary a line (asin, title, description, brand, categories, imUrl), read as literals and never evaluated.
`image_features_Baby.b` has records of 10 bytes of ASIN and 4,096 little-endian float32.

Metadata and features cover the whole catalogue; what is kept is of items with interactions.

Source: jmcauley.ucsd.edu/data/amazon/links.html (its sections "Image features", "Metadata" and "Reading the data").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recbole_mm.data.conversion.json_records import read_item_records, read_records
from recbole_mm.data.conversion.json_text import first_record, text_of
from recbole_mm.data.conversion.layout import COLUMNS, Converter, Features, Interactions, Items
from recbole_mm.data.conversion.tables import open_table, read_interactions
from recbole_mm.io.reading import files_in, open_regular
from recbole_mm.registry import register_converter

ASIN_BYTES = 10
WIDTH = 4096
RECORD = np.dtype([("asin", f"S{ASIN_BYTES}"), ("values", "<f4", (WIDTH,))])
RECORDS_A_BLOCK = 256
FIELDS = {
    "title": lambda record: text_of(record.get("title")),
    "description": lambda record: text_of(record.get("description")),
    "brand": lambda record: text_of(record.get("brand")),
    "categories": lambda record: text_of(record.get("categories")),
    "images": lambda record: text_of(record.get("imUrl")),
}


@register_converter("amazon2014", help="Amazon 2014: reviews_*.json.gz, meta_*.json.gz, image_features_*.b")
class Amazon2014Converter(Converter):
    """See the module."""

    reads = (*COLUMNS, "interactions")

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """Image features, or reviews with the keys of 2014."""
        if not source.is_dir():
            return None
        reviews = [path for path in files_in(source, "reviews*.json*") if "reviewerID" in first_record(path)]
        features = files_in(source, "image_features*.b")
        if not reviews and not features:
            return None
        there = [*reviews, *files_in(source, "ratings*.csv*"), *files_in(source, "meta*.json*"), *features]
        return ", ".join(path.name for path in there)

    def interactions(self) -> Iterator[Interactions]:
        """Of the reviews, or else of the ratings."""
        reviews, ratings = files_in(self.source, "reviews*.json*"), files_in(self.source, "ratings*.csv*")
        if not reviews and not ratings and self.options.interactions is None:
            raise FileNotFoundError(
                f"{self.source} has neither reviews_*.json.gz nor ratings_*.csv; give a table with --interactions FILE"
            )
        if self.options.interactions is not None or not reviews:
            table = self.options.interactions or _only(ratings)
            yield from read_interactions(open_table(table, self.options), self.options)
        else:
            yield from read_records(_only(reviews), "reviewerID", ("asin",), "overall", ("unixReviewTime",))

    def items(self) -> Iterator[Items]:
        """Of the metadata."""
        for path in files_in(self.source, "meta*.json*"):
            yield from read_item_records(path, ("asin",), FIELDS, literals=True)

    def features(self) -> Iterator[Features]:
        """The image features, as `visual`."""
        paths = files_in(self.source, "image_features*.b")
        if paths:
            path = _only(paths)
            yield Features("visual", path, lambda: _blocks(path))


def _blocks(path: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """Records of a `.b` file, some at a time; raises ValueError naming file and byte where one is bad."""
    start = 0
    with open_regular(path) as file:
        while content := file.read(RECORDS_A_BLOCK * RECORD.itemsize):
            whole, rest = divmod(len(content), RECORD.itemsize)
            if rest:
                place = start + whole * RECORD.itemsize
                raise ValueError(
                    f"{path}, byte {place}: {rest} bytes are left, where a record has {RECORD.itemsize} (10 of ASIN, "
                    f"{WIDTH} float32); the file is cut short, or none of Amazon's image features"
                )
            records = np.frombuffer(content, RECORD)
            yield [_asin(path, start, row, raw_id) for row, raw_id in enumerate(records["asin"])], records["values"]
            start += len(content)


def _asin(path: Path, start: int, row: int, name: bytes) -> str:
    if len(name) != ASIN_BYTES or not name.isalnum():
        place = start + row * RECORD.itemsize
        raise ValueError(f"{path}, byte {place}: expected an ASIN of {ASIN_BYTES} letters and digits, found {name!r}")
    return name.decode("ascii")


def _only(paths: list[Path]) -> Path:
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {paths[1]} are of two categories; put those of one into a folder")
    return paths[0]
