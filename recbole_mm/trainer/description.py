"""The description of a checkpoint: the fields of its `.json` with their types, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recbole_mm.io.errors import first_error
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular

FORMAT = 2
_NEEDED = ("write_id", "sha256", "fingerprint", "features")  # but in format 1


class Description(BaseModel):
    """What a checkpoint's weights are of.

    Attributes:
        format: 1 has no `write_id`, `replaces`, `sha256` and data paths.
        write_id: the same in all files of one write.
        replaces: write id of the description that stood there before.
        sha256: of the `.safetensors`, in the `.json` alone.
        fingerprint: hash of the users, items and training interactions.
        features: hash of each modality's features, in the model's order.
        other_parameter: what the model keeps beside its weights, as :func:`recbole_mm.io.tensor_file.pack` gives it.
        settings: everything the run's Config was made from.
        data_path: absolute folder of the data set.
        data_path_from_here: the same, from the checkpoint's own folder.
    """

    model_config = ConfigDict(strict=True, frozen=True, protected_namespaces=())

    format: Annotated[int, Field(ge=1)]
    write_id: str | None = None
    replaces: str | None = None
    sha256: str | None = None
    model: str
    dataset: str
    fingerprint: str | None
    features: dict[str, str] | None = None
    valid_result: dict[str, float] | None
    other_parameter: dict[str, Any]
    settings: dict[str, Any]
    data_path: str | None = None
    data_path_from_here: str | None = None


def read_description(file: Path) -> Description:
    """That of a `.json`.

    Raises:
        OSError: it is no regular file.
        ValueError: it is damaged; names the file, and the field where it is one.
    """
    try:
        with open_regular(file) as opened:
            content = parse_json(opened.read().decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"checkpoint {file} is damaged ({error}); restore the file, or train again") from error
    description = parse_description(content, file)
    absent = [name for name in _NEEDED if getattr(description, name) is None]
    if description.format > 1 and absent:
        raise ValueError(f"checkpoint {file} is damaged (no {', '.join(absent)}); restore the file, or train again")
    return description


def parse_description(content: Any, file: Path) -> Description:
    """The description in json values; raises ValueError naming `file` and the field that is not as it should be."""
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise ValueError(
            f"checkpoint {file} has format {found}, and this recbole_mm reads formats up to {FORMAT}; update recbole_mm"
        )
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        message = f"checkpoint {file} is damaged ({first_error(error)}); restore the file, or train again"
        raise ValueError(message) from None


def check_same(described: Description, own: Description, file: Path) -> None:
    """Raise ValueError where a `.json` does not say what the weights, written with it, say themselves.

    Args:
        described: of the `.json`.
        own: of the weights, in which every changed bit is found.
        file: the `.json`.
    """
    there, written = (_flat(description.model_dump(exclude={"sha256"})) for description in (described, own))
    changed = [name for name in (*written, *there) if there.get(name) != written.get(name)]
    if changed:
        before, now = (values.get(changed[0], "nothing") for values in (written, there))
        raise ValueError(
            f"checkpoint {file} has changed since it was written: {changed[0]} was {before} and is {now}; restore the "
            f"file, or delete it, as the weights beside it have its content too"
        )


def _flat(values: dict[str, Any]) -> dict[str, str]:
    """JSON text of every field, and of every setting by itself; as text, not a number is equal to itself."""
    settings = {f"settings.{name}": value for name, value in values.pop("settings").items()}
    return {name: json.dumps(value, sort_keys=True) for name, value in {**values, **settings}.items()}
