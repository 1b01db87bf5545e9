"""The contents of a training data set's items, ready for a dual encoder, in RecBole's internal ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_mm.data.arrow_form import read_metadata
from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.extraction.batches import means
from recbole_mm.extraction.contents import MissingContent, Texts
from recbole_mm.extraction.prepared_pictures import PixelRows, PreparedPictures


@dataclass(frozen=True)
class ItemInputs:
    """What one tower reads of the items that have contents.

    Attributes:
        items: internal ids, ascending, ``[n]``.
        inputs: the tower's arguments, ``[n, ...]`` each: tokens in memory, pictures as bytes on the disk.
        missing: reason by original id, for the items without contents.
        counts: how many contents each item has ``[n]``, one after the other in `inputs`; None where all have one.
        lengths: tokens of each text ``[n]``, without the padding behind it; None of pictures.
    """

    items: Tensor
    inputs: tuple[Tensor | PixelRows, ...]
    missing: dict[str, str]
    counts: Tensor | None = None
    lengths: Tensor | None = None

    def features(self, tower: Callable[..., Tensor], items: Tensor, device: torch.device) -> Tensor:
        """What a tower makes of some of :attr:`items`, ``[k, width]``: the mean of those with several contents.

        Texts are read without the padding that none of them needs, which no tower attends to.
        """
        places = torch.searchsorted(self.items, items.cpu())
        if self.counts is None:
            longest = None if self.lengths is None else int(self.lengths[places].max())
            rows = (tensor[places] for tensor in self.inputs)
            return tower(*((row if longest is None else row[:, :longest]).to(device) for row in rows))
        counts = self.counts[places]
        owners = torch.arange(len(places)).repeat_interleave(counts)
        within = torch.arange(len(owners)) - (counts.cumsum(0) - counts)[owners]
        parts = (self.counts.cumsum(0) - self.counts)[places][owners] + within
        return means(tower(*(tensor[parts].to(device) for tensor in self.inputs)), counts)

    def among(self, items: Tensor) -> Tensor:
        """The distinct ones of some ids that have contents, on the same device.

        Ascending; of texts the short ones come first, so that parts of them need little padding.
        """
        distinct = torch.unique(items)
        found = distinct[torch.isin(distinct, self.items.to(items.device))]
        if self.lengths is None:
            return found
        order = self.lengths[torch.searchsorted(self.items, found.cpu())].argsort(stable=True)
        return found[order.to(items.device)]


def image_inputs(contents: PreparedPictures, ids: list[str]) -> ItemInputs:
    """Pixels of all items with a picture that can be read.

    Args:
        contents: prepared here, where the cache lacks them.
        ids: original id of each internal one; the first is [PAD]'s.

    Raises:
        ValueError: no item has one.
    """
    with contents:
        for _ in contents.prepare(ids[1:]):
            pass
    found, missing = _found(ids, contents.digest)
    items = [item for item, _ in found]
    digests = [contents.digests(ids[item]) for item in items]
    counts = torch.tensor([len(item_digests) for item_digests in digests])
    rows = PixelRows(contents.cache, [digest for item_digests in digests for digest in item_digests])
    return ItemInputs(torch.tensor(items), (rows,), missing, None if (counts == 1).all() else counts)


def text_inputs(encoder: DualEncoder, contents: Texts, ids: list[str]) -> ItemInputs:
    """Tokens and mask of all items with a text; `ids` and errors as of :func:`image_inputs`."""
    found, missing = _found(ids, contents.text)
    ids_of_tokens, mask = encoder.tokens([text for _, text in found])  # at once, so that all have one length
    places = torch.arange(1, mask.shape[1] + 1)
    lengths = (places * (mask != 0)).amax(dim=1)  # up to the last one that is attended to
    return ItemInputs(torch.tensor([item for item, _ in found]), (ids_of_tokens, mask), missing, lengths=lengths)


def _found(ids: list[str], read: Callable[[str], Any]) -> tuple[list[tuple[int, Any]], dict[str, str]]:
    """Internal ids with what is read of them, and the reason by original id of those that have nothing."""
    found, missing = [], {}
    for item, name in enumerate(ids[1:], start=1):
        try:
            found.append((item, read(name)))
        except MissingContent as reason:
            missing[name] = str(reason)
    if not found:
        name, why = next(iter(missing.items()))
        raise ValueError(f"no item has contents for the encoder (item {name}: {why})")
    return found, missing


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
