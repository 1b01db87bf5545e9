"""Features of a backbone that a tuned encoder makes anew (PTMRec)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recbole_mm.model.features import FeatureTables


class FreshFeatures:
    """A backbone's feature tables, into which an encoder writes.

    Args:
        contents: the encoder with what it reads.
        tables: the backbone's, of which the encoder's modalities are buffers.
        at_once: items that the encoder sees at once.
        kept: items of a step and modality that are encoded once, whose inner states stay in memory for the gradient.

    Attributes:
        is_stale: whether the encoder may have changed since all items were encoded.
    """

    def __init__(self, contents: Any, tables: FeatureTables, at_once: int, kept: int = 0):
        self._contents, self._tables, self._at_once, self._kept = contents, tables, at_once, kept
        self.is_stale = False

    @torch.no_grad()
    def refresh(self) -> None:
        """Encode all items."""
        for modality in self._contents.modalities:
            self._contents.encode_into(self._tables[modality], modality, self._at_once)
        self.is_stale = False

    @contextmanager
    def of(self, items: Tensor) -> Iterator[None]:
        """Within the context the backbone sees some items' features as encoded now, with their gradient.

        They are written into the tables themselves: no table is copied.
        """
        fresh = {}
        for modality in self._contents.modalities:
            present = self._contents.inputs(modality).among(items)
            if len(present):
                table = self._tables[modality].detach()
                fresh[modality] = table.index_copy_(0, present, self._encode(modality, present))
        self.is_stale = True
        with self._tables.substituted(fresh):
            yield

    def _encode(self, modality: str, items: Tensor) -> Tensor:
        """Fresh features ``[n, width]`` of distinct items.

        Of those beyond the kept ones, each part is encoded again when its gradient is asked for, with the same random
        numbers, so that only its inner states are in memory.
        """
        encode, features = self._contents.encode, []
        kept = self._kept if len(items) > self._at_once else len(items)
        for start, part in zip(range(0, len(items), self._at_once), items.split(self._at_once), strict=True):
            if start + len(part) <= kept:
                features.append(encode(modality, part))
            else:
                features.append(checkpoint(encode, modality, part, use_reentrant=False))
        return torch.cat(features)
