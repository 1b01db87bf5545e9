"""What the disk says when it takes no file, and the machine when it has no memory left, in one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic_core import ValidationError

from recbole_mm.io.temporaries import temporary_name

_OTHER_FOLDER = "choose a folder that you may write to"
_REMEDIES = {
    errno.ENOSPC: "free space there, or choose another folder",
    errno.EDQUOT: "your quota is used up: free space there, or choose another folder",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or choose another file system",
    errno.EROFS: _OTHER_FOLDER,
    errno.EACCES: _OTHER_FOLDER,
    errno.EPERM: _OTHER_FOLDER,
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_PROBE_BYTES = 1 << 16
_LONGEST_WORD = 1000  # letters; no path is as long


def one_line(error: BaseException) -> str:
    """The message of a library's error, which may have several lines; the first of pydantic's."""
    if isinstance(error, ValidationError):
        return first_error(error)
    return " ".join(str(error).split())


def first_error(error: ValidationError) -> str:
    """The field and what is wrong with it, of pydantic's first error."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"])) or "content"
    return f"{field}: {first['msg'][0].lower()}{first['msg'][1:]}"


def printable(message: str) -> str:
    """A message as one line of a terminal, whatever a file or a command line has put into it.

    Line ends are blanks, other characters that a terminal acts on are escaped, and the middle of a word that is
    longer than any path is left out.
    """
    line = re.sub(r"\s*[\r\n]\s*", " ", message.strip())
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:100]}...{word[0][-100:]}", line)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine's or a device's memory was not enough; torch has a RuntimeError for each."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))
    )


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn running out of the device's or the machine's memory into a ValueError that says what lowers the need."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise ValueError(f"out of memory; {remedy} ({one_line(error)[:200]})") from error
        raise


def write_error(path: Path, error: OSError) -> OSError:
    """The error of writing `path` as one line that names it and what to do; it keeps its class and number."""
    number = error.errno or 0
    reason = os.strerror(number) if number else one_line(error)
    remedy = _REMEDIES.get(number, "choose another folder")
    named = type(error)(f"{path} cannot be written ({reason}); {remedy}")
    named.errno = error.errno
    return named


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system's calls inside name `path`."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def naming_full_disk(path: Path, temporary: Path) -> Iterator[None]:
    """Errors inside that a full or read-only disk caused name `path`; others, such as of a reader, pass as they are.

    Libraries say it in many ways, with and without the system's number, so the disk itself is asked.

    Args:
        temporary: file or folder that is being written.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number is None:
            number = _refusal(temporary)
        if number not in _OF_WRITING:
            raise
        raise write_error(path, OSError(number, os.strerror(number))) from error


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    of_rust = re.search(r"\(os error (\d+)\)", str(error))
    return int(of_rust[1]) if of_rust else None


def _refusal(temporary: Path) -> int | None:
    """The number of the error that some more bytes cause; None where the disk takes them."""
    file = temporary_name(temporary / "probe") if temporary.is_dir() else temporary
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            left = _PROBE_BYTES
            while left:  # a disk that is nearly full takes a part without an error
                left -= os.write(descriptor, bytes(left))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(file)
    except OSError as error:
        return error.errno
    return None
