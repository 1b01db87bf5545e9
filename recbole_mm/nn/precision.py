"""Full precision inside mixed precision: for kernels that half precision lacks, and sums that it would spoil."""

from __future__ import annotations

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32 where it is in half precision, as layers give it under autocast; else as it is."""
    return tensor.float() if tensor.dtype in _HALF else tensor
