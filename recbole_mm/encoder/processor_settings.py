"""The files in which an encoder keeps how pictures or sounds are prepared, and their check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from recbole_mm.encoder.safety import EncoderError, read_settings
from recbole_mm.io.errors import first_error

PROCESSOR_FILE = "preprocessor_config.json"
_FILES = (PROCESSOR_FILE, "processor_config.json")


def processor_settings(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each dictionary of settings with the file it stands in, those within others too.

    Args:
        kind: what is saved there, as a message calls it.

    Raises:
        EncoderError: there is no such file, or it is no JSON.
    """
    there = [name for name in _FILES if (folder / name).exists()]
    if not there:
        raise EncoderError(f"there is no {PROCESSOR_FILE}; save the {kind} of the model beside it")
    for name in there:
        for settings in _dictionaries(read_settings(folder / name, Path(name))):
            yield name, settings


def check_values(name: str, found: dict[str, Any], settings: type[BaseModel]) -> None:
    """Raise EncoderError, naming file and key, where a dictionary has not what the settings may be.

    Args:
        name: of the file.
        found: of :func:`processor_settings`.
        settings: their types and bounds; other keys are the library's own business.
    """
    try:
        settings.model_validate(found)
    except ValidationError as error:
        shown = str(error.errors()[0]["input"])[:60]
        raise EncoderError(f"{name}: {first_error(error)}, and it is {shown}") from None


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """A dictionary, and those in it: a processor of pictures and texts keeps that of the pictures inside."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _dictionaries(part)
