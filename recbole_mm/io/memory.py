"""How much memory there is left, for small files that unpack to large ones."""

from __future__ import annotations

import re
from pathlib import Path

_SYSTEM = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that this machine, or the container on it, has left; None where the system does not say (Linux does)."""
    found = []
    if _SYSTEM.is_file():
        available = re.search(r"^MemAvailable: *(\d+) kB", _SYSTEM.read_text(encoding="ascii"), re.MULTILINE)
        found += [int(available[1]) << 10] if available else []
    limit, used = (_number(_CONTAINER / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        found.append(max(0, limit - used))
    return min(found, default=None)


def _number(file: Path) -> int | None:
    text = file.read_text(encoding="ascii").strip() if file.is_file() else ""
    return int(text) if text.isdigit() else None


def check_unpacked(path: Path, n_bytes: int, remedy: str = "save it unpacked") -> None:
    """Raise ValueError, with what to do, where a packed file would take more than half of the memory that is left."""
    free = free_memory()
    if free is not None and n_bytes > free // 2:
        raise ValueError(
            f"{path} of {path.stat().st_size / 1e6:.3g} MB unpacks to {n_bytes / 1e9:.3g} GB, more than half of the "
            f"{free / 1e9:.3g} GB of memory that are left; {remedy}"
        )
