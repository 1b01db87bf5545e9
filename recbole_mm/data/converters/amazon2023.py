"""Amazon Reviews 2023: reviews and item metadata, a JSON object a line, usually gzipped.

`All_Beauty.jsonl.gz` has user_id, parent_asin, asin, rating, timestamp (milliseconds); `meta_All_Beauty.jsonl.gz` has
parent_asin, title, description and features (lists), store, categories (a list) and images. The item is the
parent_asin, "the parent ID of the product", to which the metadata belong. The URLs of its images (hi_res, else large,
else thumb) are kept in the field `images`. SRC is the folder of both, or the file of reviews.

Source: amazon-reviews-2023.github.io and the card of huggingface.co/datasets/McAuley-Lab/Amazon-Reviews-2023, where
images are a dictionary of lists instead of a list of dictionaries; both are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_mm.data.conversion.json_records import read_item_records, read_records
from recbole_mm.data.conversion.json_text import first_record, text_of
from recbole_mm.data.conversion.layout import Converter, Interactions, Items
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter

ITEM_KEYS = ("parent_asin", "asin")
TIME_KEYS = ("timestamp", "sort_timestamp", "sortTimestamp")
IMAGE_SIZES = ("hi_res", "large", "thumb")


def _images(record: dict[str, Any]) -> str | None:
    """URLs of the images, separated by blanks."""
    images = record.get("images")
    if isinstance(images, dict):  # of lists, as the hub has them
        given = [images.get(size) for size in IMAGE_SIZES]
        lists: list[list[Any]] = [links if isinstance(links, list) else [] for links in given]
        images = [
            {size: links[i] for size, links in zip(IMAGE_SIZES, lists, strict=True) if i < len(links)}
            for i in range(max(map(len, lists)))
        ]
    if not isinstance(images, list):
        return None
    urls = (_first_url(image) for image in images if isinstance(image, dict))
    return " ".join(filter(None, urls)) or None


def _first_url(image: dict[str, Any]) -> str | None:
    there = (image.get(size) for size in IMAGE_SIZES)
    return next((url for url in there if isinstance(url, str) and url and url != "None"), None)


FIELDS = {
    "title": lambda record: text_of(record.get("title")),
    "description": lambda record: text_of(record.get("description")),
    "features": lambda record: text_of(record.get("features")),
    "store": lambda record: text_of(record.get("store")),
    "categories": lambda record: text_of(record.get("categories")),
    "images": _images,
}


@register_converter("amazon2023", help="Amazon Reviews 2023: CATEGORY.jsonl.gz and meta_CATEGORY.jsonl.gz")
class Amazon2023Converter(Converter):
    """See the module."""

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """Files with a JSON object a line that has user_id and an ASIN."""
        reviews = _reviews(source)
        return ", ".join(path.name for path in [*reviews, *_metadata(source, reviews)]) if reviews else None

    def interactions(self) -> Iterator[Interactions]:
        """The reviews."""
        reviews = _reviews(self.source)
        if not reviews:
            raise FileNotFoundError(f"there is no file of reviews (.jsonl or .jsonl.gz) in {self.source}")
        for path in reviews:
            yield from read_records(path, "user_id", ITEM_KEYS, "rating", TIME_KEYS)

    def items(self) -> Iterator[Items]:
        """The metadata."""
        for path in _metadata(self.source, _reviews(self.source)):
            yield from read_item_records(path, ITEM_KEYS, FIELDS, literals=False)


def _reviews(source: Path) -> list[Path]:
    paths = sorted(source.glob("*.jsonl*")) if source.is_dir() else [source]
    return [path for path in paths if _is_lines(path) and "meta_" not in path.name and _has_review(path)]


def _has_review(path: Path) -> bool:
    record = first_record(path)
    return "user_id" in record and any(key in record for key in ITEM_KEYS)


def _metadata(source: Path, reviews: list[Path]) -> list[Path]:
    """The files of metadata beside the reviews."""
    if source.is_dir():
        return [path for path in sorted(source.glob("meta_*.jsonl*")) if _is_lines(path)]
    beside = (path.with_name(f"meta_{path.name}") for path in reviews)
    return [path for path in beside if has_file(path)]


def _is_lines(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl") and has_file(path)
