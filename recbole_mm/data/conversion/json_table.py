"""Tables with an object a line: JSON as Yelp, Goodreads and Amazon 2018 have it, or Python dictionaries as Steam's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from recbole_mm.data.conversion.delimited import PROBED_ROWS
from recbole_mm.data.conversion.json_text import json_lines
from recbole_mm.data.conversion.text_lines import first_line
from recbole_mm.data.conversion.vectors import is_vector

SUFFIXES = (".json", ".jsonl", ".ndjson")
CHUNK_ROWS = 20_000
PROBED_OBJECTS = 1000  # whose keys are the columns


def is_json_table(path: Path) -> bool:
    """Whether the name is that of objects as text, gzipped or not."""
    return Path(path.name.removesuffix(".gz")).suffix.lower() in SUFFIXES


class JsonTable:
    """Objects, one a line, whose keys are columns and whose values are texts as in a CSV.

    A number is what the file has, letter by letter; true and false are 1 and 0; of a list of decimals one text that is
    a vector, of other lists their texts with blanks between; an object is its JSON; what is missing or null is nothing.

    Attributes:
        path: the file.
        columns: keys of its first thousand objects, in their order.

    Raises:
        OSError: it is no regular file.
        ValueError: it is empty, one JSON array, or a line is no object; names file and line.
    """

    has_header = True

    def __init__(self, path: Path):
        self.path = path
        if (first_line(path) or "").lstrip().startswith("["):
            raise ValueError(f"{path} is one JSON array; write an object a line, such as with jq -c '.[]'")
        self.columns: list[str] = list(
            dict.fromkeys(key for _, record in self._records(PROBED_OBJECTS) for key in record)
        )
        if not self.columns:
            raise ValueError(f"{path} holds no objects with keys; give a file with interactions or items")

    def vector_columns(self) -> dict[str, int]:
        """Columns whose first text is a vector; with 0 for a width."""
        cells, _ = next(self.batches(self.columns, PROBED_ROWS))
        firsts = {column: next(filter(None, texts), "") for column, texts in cells.items()}
        return {column: 0 for column, text in firsts.items() if is_vector(text)}

    def batches(self, columns: list[str], n_rows: int = CHUNK_ROWS) -> Iterator[tuple[dict[str, list[str]], list[int]]]:
        """Texts of some columns, a chunk of lines at a time, with their numbers."""
        records = self._records()
        while chunk := list(islice(records, n_rows)):
            yield (
                {column: [_text(record.get(column)) for _, record in chunk] for column in columns},
                [number for number, _ in chunk],
            )

    def _records(self, most: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        return islice(json_lines(self.path, literals=True, exact=True), most)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        texts = [_text(entry) for entry in value]
        listed = f"[{', '.join(texts)}]"
        return listed if is_vector(listed) else " ".join(filter(None, texts))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else str(value)
