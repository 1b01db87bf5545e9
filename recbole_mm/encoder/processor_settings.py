"""The files in which an encoder keeps how pictures or sounds are prepared, and their check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from recbole_mm.encoder.safety import EncoderError, read_settings
from recbole_mm.io.errors import first_error

FILES = ("preprocessor_config.json", "processor_config.json")


def processor_settings(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each dictionary of settings with the file it stands in, those within others too.

    Args:
        kind: what is saved there, as a message calls it.

    Raises:
        EncoderError: there is no such file, or it is no JSON.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if not there:
        raise EncoderError(f"there is no {FILES[0]}; save the {kind} of the model beside it")
    for name in there:
        for settings in _dictionaries(read_settings(folder / name, Path(name))):
            yield name, settings


def check_processor(folder: Path, settings: type[BaseModel], kind: str) -> None:
    """Raise EncoderError, naming file and key, where a file has not what the settings may be.

    Args:
        settings: their types and bounds; other keys are the library's own business.
        kind: as of :func:`processor_settings`.
    """
    for name, found in processor_settings(folder, kind):
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
