"""Reading what a store is made of, and the files that its runs were made from."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from recbole_mm.data.feature_file import find_modalities
from recbole_mm.data.file_form import FileForm
from recbole_mm.io.errors import one_line
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular, sha256


def read_json(file: Path, kind: type) -> Any:
    """What a file of a store holds; raises ValueError, with its name, where that is not of this kind."""
    try:
        with open_regular(file) as opened:
            content = parse_json(opened.read().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({one_line(error)}); restore it, or delete it") from error
    if not isinstance(content, kind):
        raise ValueError(f"{file} is damaged (it holds a {type(content).__name__}); restore it, or delete it")
    return content


def changed_files(
    folder: Path, dataset: str, kept: dict[str, dict[str, str]], modalities: Container[str] | None = None
) -> list[str]:
    """Names of a data set's files that are others than those kept, new or gone.

    Args:
        folder: of the data set.
        dataset: its name, which its files begin with.
        kept: digests by data set and file; those of a data set that is not in it are added.
        modalities: whose features count; all if not given.
    """
    there = find_modalities(folder, dataset, FileForm.of_folder(folder)) if modalities is not None else []
    unused = tuple(f"{dataset}.{name}" for name in there if modalities is not None and name not in modalities)
    current = {
        path.name: sha256(path)
        for path in sorted(folder.iterdir())
        if _is_of(path, dataset) and not _is_features_of(path.name, unused)
    }
    before = kept.setdefault(dataset, current)
    if modalities is not None:  # a modality that no run before has read
        before |= {name: value for name, value in current.items() if name not in before}
    names = {name for name in before.keys() | current.keys() if not _is_features_of(name, unused)}
    return sorted(name for name in names if before.get(name) != current.get(name))


def _is_features_of(name: str, stems: Iterable[str]) -> bool:
    return any(name == stem or name.startswith(f"{stem}.") for stem in stems)


def _is_of(path: Path, dataset: str) -> bool:
    return path.name.startswith(f"{dataset}.") and path.is_file()
