"""Whether a text form is still the one that a binary form was made from."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.io.reading import sha256

_STATUS, _HASH = "text_status", "text_sha256"
# A file system's clock ticks a few milliseconds apart: a change in the same tick would leave the status as it was.
_SETTLED_NS = 10**9


@dataclass(frozen=True)
class TextFile:
    """A text form at one time.

    Attributes:
        path: where it is.
        status: size, time of the content, time of the last change of any kind, and inode. The time of the last change
            cannot be set, so that the same status on the machine that noted it means the same content.
    """

    path: Path
    status: str

    @classmethod
    def now(cls, path: Path) -> TextFile:
        """The file as it is; raises OSError where there is none."""
        status = os.stat(path)
        return cls(path, f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}")

    def noted(self) -> dict[str, str]:
        """What a binary form made from it notes in its metadata.

        Raises:
            ValueError: it has changed since, so that what was read may be of before or after.
        """
        noted = {_HASH: self.hash()}
        if TextFile.now(self.path) != self:
            raise ValueError(f"{self.path} has changed while it was read; convert it again")
        if time.time_ns() - os.stat(self.path).st_ctime_ns > _SETTLED_NS:
            noted[_STATUS] = self.status
        return noted

    def is_noted(self, metadata: dict[str, str]) -> bool:
        """Whether its content is what a binary form's metadata note: by the status, else by the hash."""
        return metadata.get(_STATUS) == self.status or metadata[_HASH] == self.hash()

    def hash(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return sha256(self.path)


def names_text(metadata: dict[str, str]) -> bool:
    """Whether a binary form says that it was made from a text form."""
    return _HASH in metadata
