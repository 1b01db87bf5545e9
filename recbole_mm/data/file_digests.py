"""The files of a data set as digests, by which those who go on with earlier results notice other data."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from recbole_mm.data.feature_file import find_modalities
from recbole_mm.data.file_form import FileForm
from recbole_mm.io.reading import sha256


def file_digests(folder: Path, dataset: str, unused: Container[str] = ()) -> dict[str, str]:
    """The SHA-256 of each file of a data set, by its name.

    Args:
        folder: of the data set.
        dataset: its name, which its files begin with.
        unused: modalities whose features are left out.
    """
    files = (path for path in sorted(folder.iterdir()) if path.name.startswith(f"{dataset}.") and path.is_file())
    return {path.name: sha256(path) for path in files if first_suffix(path.name, dataset) not in unused}


def unused_modalities(folder: Path, dataset: str, modalities: Iterable[str] | None, form: FileForm) -> set[str]:
    """Modalities of a data set that are none of those given; None means all."""
    return set() if modalities is None else set(find_modalities(folder, dataset, form)).difference(modalities)


def first_suffix(file: str, dataset: str) -> str:
    """What follows a data set's name in that of its file: the modality, where it holds features."""
    return file.removeprefix(f"{dataset}.").partition(".")[0]
