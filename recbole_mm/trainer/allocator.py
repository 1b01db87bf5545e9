"""The C library's allocator, told to keep what a training step frees: the next step asks for the same again."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc takes no larger one


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for this process instead of giving it back to the system.

    Otherwise tensors of 1 to 32 MB go back and are zeroed page by page when the next step asks for them, a quarter
    of a CPU epoch of POWERec at Amazon Baby's size. Peak memory stays as it is; memory falls less after training.
    Does nothing on other C libraries, or where the user set one of glibc's ``MALLOC_`` variables for the same.

    Returns:
        whether the allocator took the setting.
    """
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & set(os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_TRIM_THRESHOLD, -1))


def give_back_freed_memory() -> None:
    """Let the system have what glibc keeps: an evaluation's blocks do not fit a training step's."""
    ctypes.CDLL(None).malloc_trim(0)
