"""What loading any encoder needs: whole weights, one clear error, no bars, and which version it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CODE_SUFFIXES = (".py", ".pyc")


class EncoderError(Exception):
    """What is wrong with an encoder, without its name; :func:`clear_errors` adds it."""


def usable_device(name: str | None) -> str:
    """The device of that name, or the GPU where there is one; raises ValueError where it cannot be used."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device: {name} cannot be used ({' '.join(str(error).split())[:120]})") from error
    return name


def require_transformers() -> None:
    """Raises ValueError with the line to type where transformers is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ValueError('encoders need transformers; type: pip install "recbole-mm[clip]"') from error


@contextmanager
def clear_errors(name: str | Path) -> Iterator[None]:
    """Turn what the libraries raise while an encoder loads into one ValueError that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except (EncoderError, SafetensorError, OSError, ValueError, RuntimeError, ImportError) as error:
        kind = "" if Path(name).is_dir() else ", which is no folder, from the hub"
        reason = " ".join(str(error).split())
        raise ValueError(f"encoder {name}{kind} cannot be loaded: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars, and its report of weights that we leave out."""
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def stored_weights(kind, name: str | Path, config, optional: str | None = None):
    """The model in single precision, all of whose weights are in the files: transformers makes up missing ones.

    Args:
        kind: class of transformers, or an Auto class.
        optional: a part of the model that is removed, set to None, where the files lack weights of it.

    Raises:
        EncoderError: weights are missing.
    """
    # some are stored in half precision, which transformers would keep
    model, found = kind.from_pretrained(
        name, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    absent = set(found["missing_keys"])
    of_optional = {key for key in absent if optional is not None and key.startswith(f"{optional}.")}
    if absent > of_optional:
        missing = sorted(absent - of_optional)
        raise EncoderError(f"its files lack {len(missing)} weights (first: {missing[0]})")
    if of_optional:
        setattr(model, optional, None)
    return model


def revision(name: str | Path, config) -> str:
    """Which version an encoder is: the hub's commit, or the hash of a folder's files, ``sha256:...``.

    Args:
        config: what AutoConfig read, which knows the commit.
    """
    if not Path(name).is_dir():
        return str(config._commit_hash)
    digest = hashlib.sha256()
    for file in sorted(Path(name).rglob("*")):
        if file.is_file() and file.suffix not in CODE_SUFFIXES and not file.name.startswith("."):
            digest.update(file.relative_to(name).as_posix().encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:16]}"


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn running out of the device's or the machine's memory into a ValueError that says what lowers the need."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch's OutOfMemoryError is a RuntimeError
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise ValueError(f"out of memory; {remedy} ({' '.join(str(error).split())[:200]})") from error
        raise
