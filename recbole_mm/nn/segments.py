"""Operations over segments: rows of different lengths that stand one after the other in one tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_mm.nn.precision import full_precision


def segment_entries(starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of several ranges, one range after the other.

    Args:
        starts: first position of each range, ``[n]``.
        lengths: how many consecutive positions it has, ``[n]``; may be 0.

    Returns:
        The range each entry belongs to and its position, both ``[lengths.sum()]``.
    """
    segments = torch.repeat_interleave(lengths)
    first_entry = lengths.cumsum(0) - lengths
    within = torch.arange(len(segments), device=segments.device) - first_entry[segments]
    return segments, starts[segments] + within


def segment_softmax(logits: Tensor, segments: Tensor, lengths: Tensor) -> Tensor:
    """Softmax within each segment, ``[n_entries]``; of half precision in float32, as torch's under autocast.

    Args:
        logits: ``[n_entries]``, minus infinity for an entry that takes no part.
        segments: the segment of each entry, ascending, ``[n_entries]``.
        lengths: entries of each segment, ``[n_segments]``.

    An entry of a segment in which none takes part gets 0.
    """
    logits = full_precision(logits)
    largest = torch.segment_reduce(logits.detach(), "max", lengths=lengths, initial=-torch.inf, unsafe=True)
    largest = torch.where(largest == -torch.inf, 0.0, largest)
    exponentials = (logits - largest[segments]).exp()
    totals = torch.segment_reduce(exponentials, "sum", lengths=lengths, initial=0, unsafe=True)
    return exponentials / totals.clamp(min=torch.finfo(totals.dtype).tiny)[segments]
