"""What a misspelt name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def closest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """For a message about an unknown name: `` (did you mean X?)``, or nothing where no known one is like it."""
    lower = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=likeness)
    return f" (did you mean {lower[match[0]]}?)" if match else ""


def check_known(names: Iterable[str], known: Sequence[str], place: str, kind: str) -> None:
    """Raise ValueError at the first of the names that is not known, with all that are.

    Args:
        names: what a user wrote, such as labels of rows, which may have commas in them.
        known: what there is.
        place: the file and key, or the option, that the names stand in.
        kind: what they are names of, such as ``row``.
    """
    for name in names:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise ValueError(f"{place}: there is no {kind} {name!r}{closest(name, known)}; there is {listed}")
