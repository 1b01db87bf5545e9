"""What a search is, as the file says that it is resumed by: nothing of it may be another then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recbole_mm.io.errors import one_line
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular
from recbole_mm.setting_rules import PATH_KEYS
from recbole_mm.trainer.checkpoint import settings as plain_settings
from recbole_mm.tuning.search import Search


class Description(BaseModel):
    """What must be the same where a search is resumed."""

    model_config = ConfigDict(strict=True)

    settings: dict[str, Any]
    model: str
    dataset: str
    ranges: list[Any]
    algo: str
    max_evals: int


def describe(search: Search, algo: str, max_evals: int) -> dict[str, Any]:
    """The description of a search, see :class:`Description`, as JSON gives it back."""
    description = {
        "settings": {key: value for key, value in plain_settings(search.config).items() if key not in PATH_KEYS},
        "model": search.model,
        "dataset": search.dataset,
        "ranges": [[one.name, one.kind, list(one.values)] for one in search.ranges],
        "algo": algo,
        "max_evals": max_evals,
    }
    return json.loads(json.dumps(description))


def check_same_search(earlier: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Raise ValueError where a search is to go on as another than it began.

    Args:
        earlier: its description, as it lies there.
        now: that of the command.
        where: the search lies, for the message.
    """
    for key in (key for key in now if key != "settings"):
        if earlier[key] != now[key]:
            raise ValueError(f"--resume: the search in {where} has {key} {earlier[key]}, this one {now[key]}")
    for key in sorted({*earlier["settings"], *now["settings"]}):
        if earlier["settings"].get(key) != now["settings"].get(key):
            theirs, ours = earlier["settings"].get(key), now["settings"].get(key)
            raise ValueError(f"--resume: the search in {where} has {key}: {theirs}, this one {ours}")


def read_kept(file: Path, kind: type[BaseModel], otherwise: str) -> dict[str, Any]:
    """The content of a file that a search goes on from.

    Args:
        file: of JSON.
        kind: its types.
        otherwise: what to do about a damaged one.

    Raises ValueError, naming file and key, where the file holds something else.
    """
    try:
        with open_regular(file) as opened:
            return kind.model_validate(parse_json(opened.read().decode("utf-8"))).model_dump()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--resume: {file} is damaged ({one_line(error)}); {otherwise}") from error
