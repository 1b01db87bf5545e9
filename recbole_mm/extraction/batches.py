"""How the items are shared out, and what an encoder makes of a batch of them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.extraction.contents import Contents, MissingContent
from recbole_mm.extraction.row_store import Key
from recbole_mm.io.errors import memory_errors


@dataclass(frozen=True)
class Batch:
    """What became of some items.

    Attributes:
        keys: of those that have a row, in their order.
        new: of these, the ones computed now.
        rows: ``[len(new), width]``; None where nothing is new.
        missing: reason by item, of the others.
        partly: reason by item, of those of whose contents some are left out.
        truncated: contents of `new` that were longer than the encoder's context.
    """

    keys: list[Key]
    new: list[Key]
    rows: np.ndarray | None
    missing: dict[str, str]
    truncated: int
    partly: dict[str, str] = field(default_factory=dict)


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
        keys, new, missing, partly = [], {}, {}, {}
        for item in self.items(start):
            try:
                key = (item, self.contents.digest(item))
                if key not in finished:
                    new[key] = self.contents.read(item)
                keys.append(key)
                if (reason := self.contents.partly(item)) is not None:
                    partly[item] = reason
            except MissingContent as reason:
                missing[item] = str(reason)
        before = encoder.truncated
        rows = self._encode(encoder, {item: parts for (item, _), parts in new.items()}) if new else None
        return Batch(keys, list(new), rows, missing, encoder.truncated - before, partly)

    @torch.no_grad()
    def _encode(self, encoder: ContentEncoder, parts: dict[str, list[Any]]) -> np.ndarray:
        """Rows of the items' contents, the mean of an item's, all finite in their type."""
        flat = [part for file_parts in parts.values() for part in file_parts]
        with memory_errors(f"lower --batch-size (this batch has {len(flat)} contents); finished rows are kept"):
            pieces = [flat[start : start + self.size] for start in range(0, len(flat), self.size)]
            rows = torch.cat([_rows_of(encoder, piece) for piece in pieces])
        if len(flat) > len(parts):
            rows = means(rows, torch.tensor([len(file_parts) for file_parts in parts.values()]))
        return _finite(rows.numpy(), list(parts), self.dtype)


def _rows_of(encoder: ContentEncoder, contents: list[Any]) -> Tensor:
    """Features ``[n, width]`` of n contents; raises ValueError where an encoder gives something else."""
    rows = encoder(contents)
    if not isinstance(rows, Tensor) or rows.dim() != 2 or len(rows) != len(contents):
        found = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise ValueError(
            f"encoder {encoder.facts['encoder']}: forward of {type(encoder).__name__} gave {found} of {len(contents)} "
            f"contents; it is to give a tensor [{len(contents)}, width]"
        )
    return rows.float().cpu()


def _finite(rows: np.ndarray, items: list[str], dtype: type) -> np.ndarray:
    """Rows in a type, which raise ValueError where it cannot hold them."""
    with np.errstate(over="ignore"):
        rows = rows.astype(dtype)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        remedy = "; leave out --float16" if dtype is np.float16 else ""
        raise ValueError(
            f"the encoder's feature of item {items[int(np.argmin(finite))]!r} is not finite in {dtype.__name__}{remedy}"
        )
    return rows


def means(rows: Tensor, counts: Tensor) -> Tensor:
    """Means ``[n, width]`` of as many rows ``[sum of counts, width]`` each as `counts` ``[n]`` says, in their order."""
    counts = counts.to(rows.device)
    owners = torch.arange(len(counts), device=rows.device).repeat_interleave(counts)
    sums = rows.new_zeros(len(counts), rows.shape[1]).index_add(0, owners, rows)
    return sums / counts.unsqueeze(1).to(rows.dtype)
