"""What all targets share: how many cases, how a valid file is damaged, and what a refusal may be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Value = TypeVar("Value")

CASES = int(os.environ.get("RECBOLE_MM_FUZZ", "50"))
SECONDS_PER_CASE = 60

# the same cases in every run; a folder of the test serves all its cases
fuzz = settings(
    max_examples=CASES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

# of ids and texts: what tables are made of, and what splits or hides a line
letters = st.characters(codec="utf-8", exclude_characters="\t\r\n\0")
ids = st.text(letters, min_size=1, max_size=8).filter(str.strip)
damage = st.sampled_from([b"\n", b"\t", b"\r", b"\0", b'"', b" ", b"\xff", b"\xef\xbb\xbf", b"nan", b"1e999", b"\n\n"])


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """A valid file after one to four edits: bytes replaced, inserted, removed, doubled, or cut off."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        part = draw(st.one_of(st.binary(max_size=6), damage))
        kind = draw(st.sampled_from(["replace", "insert", "remove", "double", "cut"]))
        content = {
            "replace": content[:start] + part + content[start + len(part) :],
            "insert": content[:start] + part + content[start:],
            "remove": content[:start] + content[end:],
            "double": content[:end] + content[start:],
            "cut": content[:start],
        }[kind]
    return content


def read_or_refuse(read: Callable[[], Value], file: Path) -> Value | None:
    """What a reader gives; None where it refuses as it may: by one line that names the file, and soon."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS_PER_CASE)
    try:
        return read()
    except (ValueError, OSError) as error:
        assert file.name in str(error) and "\n" not in str(error), f"{type(error).__name__}: {error}"
        return None
    finally:
        signal.alarm(0)


def _too_long(*_) -> None:
    raise AssertionError(f"a case took more than {SECONDS_PER_CASE} seconds")
