"""The contents of a training data set's items, ready for a dual encoder, in RecBole's internal ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recbole_mm.data.arrow_form import read_metadata
from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.extraction.contents import Contents, MissingContent

READ_AT_ONCE = 64


@dataclass(frozen=True)
class ItemInputs:
    """What one tower reads of the items that have contents.

    Attributes:
        items: internal ids, ascending, ``[n]``.
        inputs: the tower's arguments, ``[n, ...]`` each, in the machine's memory; pictures are bytes.
        missing: reason by original id, for the items without contents.
    """

    items: Tensor
    inputs: tuple[Tensor, ...]
    missing: dict[str, str]

    def features(self, tower: Callable[..., Tensor], items: Tensor, device: torch.device) -> Tensor:
        """What a tower makes of some of :attr:`items`, ``[k, width]``."""
        places = torch.searchsorted(self.items, items.cpu())
        return tower(*(one[places].to(device) for one in self.inputs))

    def among(self, items: Tensor) -> Tensor:
        """The distinct ones of some ids that have contents, ascending, on the same device."""
        distinct = torch.unique(items)
        return distinct[torch.isin(distinct, self.items.to(items.device))]


def image_inputs(encoder: DualEncoder, contents: Contents, ids: list[str]) -> ItemInputs:
    """Pixels of all items with a picture that can be read.

    Args:
        ids: original id of each internal one; the first is [PAD]'s.

    Raises:
        ValueError: no item has one.
    """
    return _collect(contents, ids, lambda pictures: (encoder.pixels(pictures),), READ_AT_ONCE)


def text_inputs(encoder: DualEncoder, contents: Contents, ids: list[str]) -> ItemInputs:
    """Tokens and mask of all items with a text; arguments and errors as of :func:`image_inputs`."""
    return _collect(contents, ids, encoder.tokens, len(ids))  # at once, so that all have one length


def _collect(contents: Contents, ids: list[str], prepare: Callable, at_once: int) -> ItemInputs:
    items, parts, missing = [], [], {}
    for start in range(1, len(ids), at_once):
        found = []
        for item in range(start, min(start + at_once, len(ids))):
            try:
                found.append(contents.read(ids[item]))
                items.append(item)
            except MissingContent as reason:
                missing[ids[item]] = str(reason)
        if found:
            parts.append(prepare(found))
    if not items:
        item, reason = next(iter(missing.items()))
        raise ValueError(f"no item has contents for the encoder (item {item}: {reason})")
    inputs = tuple(torch.cat(one) for one in zip(*parts, strict=True))
    return ItemInputs(torch.tensor(items), inputs, missing)


def check_made_by(encoder: DualEncoder, file: Path, modality: str, width: int) -> None:
    """Raise ValueError unless a modality's features, `width` wide, may be the encoder's.

    Args:
        file: binary feature file, which names its encoder's revision; a text form does not, and passes.
    """
    remedy = f"extract '{modality}' with encoder {encoder.facts['encoder']}"
    if width != encoder.width:
        raise ValueError(f"'{modality}' features are {width} wide, the encoder's are {encoder.width}; {remedy}")
    made_by = read_metadata(file).get("revision") if file.is_file() else None
    if made_by not in (None, encoder.facts["revision"]):
        raise ValueError(f"{file} was made by another encoder, of revision {made_by}; {remedy}")
