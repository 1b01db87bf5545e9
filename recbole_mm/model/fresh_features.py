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

    Attributes:
        is_stale: whether the encoder may have changed since all items were encoded.
    """

    def __init__(self, contents: Any, tables: FeatureTables, at_once: int):
        self._contents, self._tables, self._at_once = contents, tables, at_once
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

        Where they are more than can be encoded at once, each part is encoded again when its gradient is asked for, so
        that only its inner states are in memory.
        """
        parts = items.split(self._at_once)
        if len(parts) == 1:
            return self._contents.encode(modality, items)
        return torch.cat([checkpoint(self._contents.encode, modality, part, use_reentrant=False) for part in parts])
