"""Memory for the gradients of large trained tables, kept from one training step to the next.

The C library gives blocks above 32 MB back to the system when they are freed, and the next step waits for the system to
zero the same pages again: for a table of 7,050 x 4,096 that takes twice as long as the product that fills it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

_LARGEST_KEPT_BY_C = 32 << 20  # bytes; glibc takes no larger limit
_kept = WeakTensorKeyDictionary()  # of each table whose gradient comes from here, the memory for the next one, or None


def gradient_memory(table: Tensor) -> Tensor:
    """Memory like `table` with any content, for its gradient: what was kept of the step before, or new."""
    kept: Tensor | None = _kept.get(table)
    if table.is_leaf and table.device.type == "cpu" and table.numel() * table.element_size() > _LARGEST_KEPT_BY_C:
        _kept[table] = None  # from now on the gradient's alone
    return torch.empty_like(table) if kept is None else kept


def keep_gradient_memory(parameters: Iterable[nn.Parameter]) -> None:
    """Take the gradients of parameters away, as ``zero_grad`` does; memory that the next step will ask for stays."""
    for parameter in parameters:
        if parameter in _kept:
            _kept[parameter] = parameter.grad
        parameter.grad = None
