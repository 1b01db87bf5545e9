"""Encode the contents of all items and write the modality's feature file."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from recbole_mm.data.convert import check_free_modality
from recbole_mm.data.feature_file import dataset_name, write_arrow
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.extraction.contents import Contents, MissingContent
from recbole_mm.extraction.row_store import Key, RowStore
from recbole_mm.io.errors import memory_errors
from recbole_mm.io.files import atomic_file
from recbole_mm.io.locks import only_holder


@dataclass
class Extraction:
    """What an extraction wrote.

    Attributes:
        path: the feature file.
        n_rows: items with features.
        n_reused: of these, rows that an earlier, interrupted extraction had finished.
        missing: reason by item, for those left out of the file.
        missing_file: the same as a table, beside the feature file; None where nothing is missing.
        truncated: texts that were longer than the encoder's context and cut there.
        n_without_interactions: items of `n_rows` that only the `.item` file has.
    """

    path: Path
    n_rows: int
    n_reused: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    missing_file: Path | None = None
    truncated: int = 0
    n_without_interactions: int = 0


@dataclass(frozen=True)
class Batch:
    """What became of some items.

    Attributes:
        keys: of those that have a row, in their order.
        new: of these, the ones computed now.
        rows: ``[len(new), width]``; None where nothing is new.
        missing: reason by item, of the others.
        truncated: contents of `new` that were longer than the encoder's context.
    """

    keys: list[Key]
    new: list[Key]
    rows: np.ndarray | None
    missing: dict[str, str]
    truncated: int


@dataclass(frozen=True)
class Batches:
    """How the items are shared out: the same batches wherever they are encoded.

    A row can depend in its last bits on what it is padded with, so the batches are of the same items in every run.

    Attributes:
        contents: of the items.
        size: items of a batch.
        dtype: of the rows.
    """

    contents: Contents
    size: int
    dtype: type

    @property
    def starts(self) -> range:
        """Places of the batches' first items."""
        return range(0, len(self.contents.items), self.size)

    def items(self, start: int) -> list[str]:
        """Items of the batch that starts there."""
        return self.contents.items[start : start + self.size]

    def encode(self, start: int, encoder: ContentEncoder, finished: Container[Key]) -> Batch:
        """The batch that starts there, of which rows are computed unless they are finished; raises as extract."""
        keys, new, missing = [], {}, {}
        for item in self.items(start):
            try:
                key = (item, self.contents.digest(item))
                if key not in finished:
                    new[key] = self.contents.read(item)
                keys.append(key)
            except MissingContent as reason:
                missing[item] = str(reason)
        before = encoder.truncated
        rows = _encode(encoder, list(new.values()), [item for item, _ in new], self.dtype) if new else None
        return Batch(keys, list(new), rows, missing, encoder.truncated - before)


Encode = Callable[[Batches, ContentEncoder, RowStore], Iterator[tuple[int, Batch]]]


def encode_here(batches: Batches, encoder: ContentEncoder, store: RowStore) -> Iterator[tuple[int, Batch]]:
    """The start of each batch and the batch, one after the other in this process."""
    for start in batches.starts:
        yield start, batches.encode(start, encoder, store)


def extract(
    dataset_dir: Path,
    modality: str,
    contents: Contents,
    encoder: ContentEncoder,
    *,
    batch_size: int = 32,
    half: bool = False,
    encode: Encode = encode_here,
) -> Extraction:
    """Write `<dataset>.<modality>.arrow` of what a frozen encoder makes of the items' contents.

    Finished batches are kept on disk until the file is written: after a kill, the same call goes on. Items whose
    content is missing or damaged are left out of the file, never zero.

    Args:
        contents: of the items.
        batch_size: contents encoded at once.
        half: store float16.
        encode: yields the start of each batch and the batch, in any order.

    Raises:
        ValueError: the name cannot be a modality's, or it exists as text; no item can be encoded; a feature is not
            finite (in float16, if asked for); out of memory. Finished rows are kept in all these cases.
        BlockingIOError: another process extracts this modality.
        OSError: the files cannot be written.
    """
    if batch_size < 1:
        raise ValueError(f"--batch-size: {batch_size} must be at least 1")
    facts = encoder.facts | {"preprocessing": {**encoder.facts["preprocessing"], **contents.facts}}
    dtype = np.float16 if half else np.float32
    with extracting(modality, dataset_dir) as path:
        store = RowStore(dataset_dir, f"{dataset_name(dataset_dir)}.{modality}", {**facts, "dtype": dtype.__name__})
        keys, missing, n_new = _encode_all(Batches(contents, batch_size, dtype), encoder, store, encode)
        result = write_features(path, {item: store[item, digest] for item, digest in keys}, contents, facts, missing)
        store.delete()
    result.n_reused, result.truncated = len(keys) - n_new, store.truncated
    return result


@contextmanager
def extracting(modality: str, dataset_dir: Path) -> Iterator[Path]:
    """The binary file of a modality that this process alone writes; raises as :func:`extract`."""
    path = check_free_modality(modality, dataset_dir)
    with only_holder(path.with_name(f".{path.stem}.lock"), f"extracting {path}"):
        yield path


def _encode_all(
    batches: Batches, encoder: ContentEncoder, store: RowStore, encode: Encode
) -> tuple[list[Key], dict[str, str], int]:
    """Keys of all rows in the items' order, the reason for each missing item, and how many rows are new."""
    done = {}
    with tqdm(total=len(batches.contents.items), unit="item", desc="Extracting", disable=None) as bar:
        for start, batch in encode(batches, encoder, store):
            if batch.new:
                store.add(batch.new, batch.rows, batch.truncated)
            done[start] = batch.keys, batch.missing, len(batch.new)
            bar.update(len(batches.items(start)))
    keys = [key for start in batches.starts for key in done[start][0]]
    missing = {item: reason for start in batches.starts for item, reason in done[start][1].items()}
    return keys, missing, sum(n_new for _, _, n_new in done.values())


@torch.no_grad()
def _encode(encoder: ContentEncoder, contents: list[Any], items: list[str], dtype: type) -> np.ndarray:
    """Rows of one batch, all finite in their type."""
    with memory_errors(f"lower --batch-size (this batch has {len(contents)} items); finished rows are kept"):
        rows = encoder(contents).float().cpu().numpy()
    with np.errstate(over="ignore"):
        rows = rows.astype(dtype)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        remedy = "; leave out --float16" if dtype is np.float16 else ""
        raise ValueError(
            f"the encoder's feature of item {items[int(np.argmin(finite))]!r} is not finite in {dtype.__name__}{remedy}"
        )
    return rows


def write_features(
    path: Path, rows: dict[str, np.ndarray], contents: Contents, facts: dict[str, Any], missing: dict[str, str]
) -> Extraction:
    """Write the feature file and, beside it, the table of missing items; both atomically.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        item, reason = next(iter(missing.items()))
        raise ValueError(f"no item has content that can be encoded (item {item}: {reason})")
    metadata = {"revision": facts["revision"], "preprocessing": json.dumps(facts["preprocessing"], default=str)}
    values = np.stack(list(rows.values()))
    write_arrow(path, list(rows), values, encoder=facts["encoder"], source=contents.source, extra=metadata)
    of_item_file = sum(item in rows for item in contents.items[contents.n_with_interactions :])
    file = _write_missing(path, missing)
    return Extraction(path, len(rows), missing=missing, missing_file=file, n_without_interactions=of_item_file)


def _write_missing(path: Path, missing: dict[str, str]) -> Path | None:
    file = path.with_suffix(".missing.tsv")
    if not missing:
        file.unlink(missing_ok=True)  # of an earlier extraction
        return None
    lines = ["item_id\treason", *(f"{item}\t{' '.join(reason.split())}" for item, reason in missing.items())]
    with atomic_file(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
