"""What a search is, as the file says that it is resumed by: nothing of it may be another then."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recbole_mm.data.file_digests import file_digests, unused_modalities
from recbole_mm.data.file_form import FileForm
from recbole_mm.io.errors import one_line
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular, sha256
from recbole_mm.io.run_files import RunFiles
from recbole_mm.model.recommender import Recommender
from recbole_mm.setting_rules import PATH_KEYS
from recbole_mm.trainer.checkpoint import settings as plain_settings
from recbole_mm.trainer.contents import content_digests, content_keys
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
    files: dict[str, str] | None = None  # there are none where RecBole downloads the data
    contents: dict[str, str] | None = None  # none where the search was begun before they were kept


def describe(search: Search, algo: str, max_evals: int) -> dict[str, Any]:
    """The description of a search, see :class:`Description`, as JSON gives it back."""
    description = {
        "settings": {key: value for key, value in plain_settings(search.config).items() if key not in PATH_KEYS},
        "model": search.model,
        "dataset": search.dataset,
        "ranges": [[parameter.name, parameter.kind, list(parameter.values)] for parameter in search.ranges],
        "algo": algo,
        "max_evals": max_evals,
        "files": _file_digests(search),
        "contents": _content_digests(search),
    }
    return json.loads(json.dumps(description))


def _file_digests(search: Search) -> dict[str, str] | None:
    """Those of what the trials read: the data set's files, and the checkpoint that they begin with."""
    config, folder = search.config, Path(search.config["data_path"])
    if not folder.is_dir():
        return None
    is_searched = any(parameter.name == "modalities" for parameter in search.ranges)
    modalities = None if is_searched else config["modalities"]
    if not issubclass(config.model_class, Recommender):  # RecBole's models read no features
        modalities = ()
    unused = unused_modalities(folder, search.dataset, modalities, FileForm.of_settings(config))
    digests = file_digests(folder, search.dataset, unused)
    if config["stage_one_checkpoint"]:
        begun = RunFiles.of(config["stage_one_checkpoint"])
        digests |= {file.name: sha256(file) for file in (begun.pickle, begun.weights) if file.is_file()}
    return digests


def _content_digests(search: Search) -> dict[str, str]:
    """Those of pictures, texts and encoders, of all that the trials may read."""
    keys = content_keys(search.config)
    ranges = {parameter.name: parameter.examples for parameter in search.ranges if parameter.name in keys}
    varied = [dict(zip(ranges, values, strict=True)) for values in product(*ranges.values())]
    return content_digests((search.config, own) for own in varied)


def check_same_search(earlier: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Raise ValueError where a search is to go on as another than it began.

    Args:
        earlier: its description, as it lies there.
        now: that of the command.
        where: the search lies, for the message.
    """
    for key in (key for key in now if key not in ("settings", "files", "contents")):
        if earlier[key] != now[key]:
            raise ValueError(f"--resume: the search in {where} has {key} {earlier[key]}, this one {now[key]}")
    for key in sorted({*earlier["settings"], *now["settings"]}):
        if earlier["settings"].get(key) != now["settings"].get(key):
            before, after = earlier["settings"].get(key), now["settings"].get(key)
            raise ValueError(f"--resume: the search in {where} has {key}: {before}, this one {after}")
    for kind in ("files", "contents"):
        _check_same_files(earlier.get(kind), now.get(kind), where)


def _check_same_files(earlier: dict[str, str] | None, now: dict[str, str] | None, where: Path) -> None:
    """Raise ValueError where files are others than the search began with; its scores are of those."""
    if earlier is None or now is None:  # of an earlier version, or downloaded since
        return
    changed = sorted(name for name in earlier.keys() | now.keys() if earlier.get(name) != now.get(name))
    if changed:
        raise ValueError(
            f"--resume: {', '.join(changed)} changed since the search in {where} began; bring the files back, or "
            "begin a new search"
        )


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
    except ValueError as error:
        raise ValueError(f"--resume: {file} is damaged ({one_line(error)}); {otherwise}") from error
