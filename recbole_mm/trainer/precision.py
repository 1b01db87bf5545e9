"""float32 products through units for bfloat16: quicker where a device has them, and never unless it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

TORCH_NAMES = {"float32": "highest", "bf16": "medium"}


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Within the context dense products of float32 have this precision, backward passes included; then torch's own.

    Args:
        name: ``float32``; or ``bf16``, whose factors keep 8 bits and whose sums are float32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(TORCH_NAMES[name])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def check_matmul_precision(name: str, device: torch.device) -> None:
    """Raise ValueError where a device has no units for it: torch would compute in float32 without a word."""
    if name == "bf16" and not _has_bf16_units(device):
        raise ValueError(
            f"matmul_precision: bf16 is nothing that this {'GPU' if device.type == 'cuda' else 'processor'} has units "
            "for; leave the key at float32"
        )


def _has_bf16_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
