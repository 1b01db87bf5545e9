"""What a misspelt name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """For a message about an unknown name: `` (did you mean X?)``, or nothing where no known one is like it."""
    lower = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=likeness)
    return f" (did you mean {lower[match[0]]}?)" if match else ""
