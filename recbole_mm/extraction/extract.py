"""Encode the contents of all items and write the modality's feature file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_mm.data.convert import check_free_modality
from recbole_mm.data.feature_file import dataset_name, write_arrow
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.extraction.batches import Batch, Batches
from recbole_mm.extraction.contents import Contents
from recbole_mm.extraction.prepared_pictures import PreparedPictures
from recbole_mm.extraction.row_store import RowStore
from recbole_mm.io.files import atomic_file, free_bytes
from recbole_mm.io.locks import only_holder


@dataclass
class Extraction:
    """What an extraction wrote.

    Attributes:
        path: the feature file.
        n_rows: items with features.
        n_reused: of these, rows that an earlier, interrupted extraction had finished.
        missing: reason by item, for those left out of the file.
        partly: reason by item, for those of whose contents some were left out.
        missing_file: both as a table, beside the feature file; None where nothing is missing.
        truncated: texts that were longer than the encoder's context and cut there.
        n_without_interactions: items of `n_rows` that only the `.item` file has.
    """

    path: Path
    n_rows: int
    n_reused: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    partly: dict[str, str] = field(default_factory=dict)
    missing_file: Path | None = None
    truncated: int = 0
    n_without_interactions: int = 0


Encode = Callable[[Batches, ContentEncoder, RowStore], Iterator[tuple[int, Batch]]]


def encode_here(batches: Batches, encoder: ContentEncoder, store: RowStore) -> Iterator[tuple[int, Batch]]:
    """The start of each batch and the batch, one after the other in this process."""
    for start in batches.starts:
        yield start, batches.encode(start, encoder, store)


def encode_prepared(batches: Batches, encoder: ContentEncoder, store: RowStore) -> Iterator[tuple[int, Batch]]:
    """As :func:`encode_here`, of :class:`PreparedPictures`, which are prepared ahead."""
    contents, n_ready = batches.contents, 0
    assert isinstance(contents, PreparedPictures)
    with contents:
        ready = contents.prepare(contents.items, store)
        for start in batches.starts:
            while n_ready < min(start + batches.size, len(contents.items)):
                n_ready = next(ready)
            yield start, batches.encode(start, encoder, store)


def extract(
    dataset_dir: Path,
    modality: str,
    contents: Contents,
    encoder: ContentEncoder,
    *,
    batch_size: int = 32,
    half: bool = False,
    encode: Encode | None = None,
) -> Extraction:
    """Write `<dataset>.<modality>.arrow` of what a frozen encoder makes of the items' contents.

    Finished batches are kept on disk until the file is written: after a kill, the same call goes on. Items whose
    content is missing or damaged are left out of the file, never zero.

    Args:
        contents: of the items.
        batch_size: contents encoded at once.
        half: store float16.
        encode: yields the start of each batch and the batch, in any order; in this process if not given.

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
    if encode is None:
        encode = encode_prepared if isinstance(contents, PreparedPictures) else encode_here
    with extracting(modality, dataset_dir) as path:
        store = RowStore(dataset_dir, f"{dataset_name(dataset_dir)}.{modality}", {**facts, "dtype": dtype.__name__})
        done = _encode_all(Batches(contents, batch_size, dtype), encoder, store, encode)
        result = _write_batches(path, done, store, contents, facts)
        store.delete()
    return result


@contextmanager
def extracting(modality: str, dataset_dir: Path) -> Iterator[Path]:
    """The binary file of a modality that this process alone writes; raises as :func:`extract`."""
    path = check_free_modality(modality, dataset_dir)
    with only_holder(path.with_name(f".{path.stem}.lock"), f"extracting {path}"):
        yield path


def _encode_all(batches: Batches, encoder: ContentEncoder, store: RowStore, encode: Encode) -> list[Batch]:
    """What became of all items, in their order; the rows are in the store."""
    done: dict[int, Batch] = {}
    with tqdm(total=len(batches.contents.items), unit="item", desc="Extracting", disable=None) as bar:
        for start, batch in encode(batches, encoder, store):
            if batch.rows is not None:
                if not any(extraction.new for extraction in done.values()):
                    _warn_of_room(store, batch.rows, len(batches.contents.items))
                store.add(batch.new, batch.rows, batch.truncated)
            done[start] = replace(batch, rows=None)
            bar.update(len(batches.items(start)))
    return [done[start] for start in batches.starts]


def _warn_of_room(store: RowStore, rows: np.ndarray, n_items: int) -> None:
    """By the first rows; how many items will have some, nobody knows yet."""
    needed, free = 2 * rows[0].nbytes * (n_items - len(store)), free_bytes(store.folder)  # the store's, and the file's
    if needed > free:
        logging.getLogger(__name__).warning(
            "%s has %.1f MB left, and the features of %s items take up to %.1f MB until they are in one file; rows "
            "that are written stay, where it ends", store.folder.parent, free / 1e6, f"{n_items:,}", needed / 1e6,
        )  # fmt: skip


def _write_batches(
    path: Path, done: list[Batch], store: RowStore, contents: Contents, facts: dict[str, Any]
) -> Extraction:
    """:func:`write_features` of the rows that the store has of all batches."""
    rows = {item: store[item, digest] for batch in done for item, digest in batch.keys}
    reasons = _joined(batch.missing for batch in done), _joined(batch.partly for batch in done)
    result = write_features(path, rows, contents, facts, *reasons)
    result.n_reused, result.truncated = len(rows) - sum(len(batch.new) for batch in done), store.truncated
    return result


def _joined(reasons: Iterable[dict[str, str]]) -> dict[str, str]:
    return {item: reason for batch_reasons in reasons for item, reason in batch_reasons.items()}


def write_features(
    path: Path,
    rows: dict[str, np.ndarray],
    contents: Contents,
    facts: dict[str, Any],
    missing: dict[str, str],
    partly: dict[str, str] | None = None,
) -> Extraction:
    """Write the feature file and, beside it, the table of items that miss something; both atomically.

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
    partly = partly or {}
    file = _write_missing(path, missing | partly)
    return Extraction(
        path, len(rows), missing=missing, partly=partly, missing_file=file, n_without_interactions=of_item_file
    )


def _write_missing(path: Path, missing: dict[str, str]) -> Path | None:
    file = path.with_suffix(".missing.tsv")
    if not missing:
        file.unlink(missing_ok=True)  # of an earlier extraction
        return None
    lines = ["item_id\treason", *(f"{item}\t{' '.join(reason.split())}" for item, reason in missing.items())]
    with atomic_file(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
