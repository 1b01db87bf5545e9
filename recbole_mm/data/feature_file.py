"""Features through atomic files: one modality is one file beside the `.inter`, named after the modality.

`<dataset>.<modality>` is the text form (RecBole's own), `<dataset>.<modality>.arrow` the binary form; where
both exist the binary one is read, after making sure that it was made from the text as it is now. A column of vectors
(`float_seq`) in the `.item` is a modality of its name, too.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from recbole_mm.data.arrow_form import read_arrow, read_metadata, write_arrow
from recbole_mm.data.feature_table import FeatureTable
from recbole_mm.data.file_form import RECBOLE_SUFFIXES, FileForm
from recbole_mm.data.item_columns import item_vectors, read_item_vectors
from recbole_mm.data.text_form import (
    RECBOLES,
    check_header,
    has_feature_header,
    is_meant_as_features,
    read_text,
    write_text,
)
from recbole_mm.data.text_identity import TextFile, names_text
from recbole_mm.data.unread_forms import check_loose_features, check_unread_forms
from recbole_mm.io.files import is_folder
from recbole_mm.io.reading import check_files, has_file

__all__ = ["FeatureTable", "dataset_name", "find_modalities", "read_features", "write_arrow", "write_text"]

FIRST_MODALITIES = ("visual", "textual", "acoustic")


def dataset_name(folder: Path) -> str:
    """The name of the data set in a folder, by RecBole's rule the folder's own; a link keeps its name."""
    return Path(os.path.abspath(folder)).name


def find_modalities(folder: Path, dataset: str, form: FileForm = RECBOLES) -> list[str]:
    """Names of the modalities that have a file, or a column of vectors in the `.item`.

    Visual, textual, acoustic first, then alphabetically.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file holds vectors of items, or has the name of one of these three, and another first line than a
            feature file's; features lie there in a form or under a name that nothing reads; a modality has a file and a
            column.
    """
    files, others = _feature_files(folder, dataset, form)
    for modality, path in others.items():
        if modality not in files and (modality in FIRST_MODALITIES or is_meant_as_features(path, form)):
            check_header(path, form)
    columns = item_vectors(folder, dataset, form)
    there = files | others.keys() | columns.keys()
    check_unread_forms(folder, dataset, form, there)
    check_loose_features(folder, dataset, form, there)
    both = sorted(columns.keys() & files)
    if both:
        raise ValueError(
            f"{folder / dataset}.item has a column {both[0]}, and {dataset}.{both[0]} is a file beside it; keep one"
        )
    return _in_order(files | columns.keys())


def has_modality(folder: Path, dataset: str, modality: str, form: FileForm = RECBOLES) -> bool:
    """Whether there is a file or a column of that name, whatever it holds."""
    if modality in item_vectors(folder, dataset, form):
        return True
    files = (folder / f"{dataset}.{modality}{suffix}" for suffix in ("", ".arrow"))
    return modality not in RECBOLE_SUFFIXES and any(file.is_file() for file in files)


def _feature_files(folder: Path, dataset: str, form: FileForm) -> tuple[set[str], dict[str, Path]]:
    """Names of the modalities that have a file, and the files of one suffix that are none."""
    if not is_folder(folder):
        raise FileNotFoundError(f"there is no folder {folder}; give the folder that holds {dataset}.inter")
    check_files(folder, f"{dataset}.")
    found, others = set(), {}
    for path in sorted(folder.iterdir()):
        name = path.name.removeprefix(f"{dataset}.")
        modality = name.removesuffix(".arrow")
        if name.endswith("~") and name != path.name:
            raise ValueError(f"{path} is an editor's copy, which would be a modality; delete or move it")
        if (
            name == path.name
            or not modality
            or "." in modality
            or modality in RECBOLE_SUFFIXES
            or not path.is_file()
        ):
            continue
        if name != modality or has_feature_header(path, form):
            found.add(modality)
        else:
            others[modality] = path
    return found, others


def _in_order(modalities: set[str]) -> list[str]:
    first = [modality for modality in FIRST_MODALITIES if modality in modalities]
    return first + sorted(modalities.difference(first))


def read_features(
    folder: Path, dataset: str, modality: str, form: FileForm = RECBOLES, *, allow_non_finite: bool = False
) -> FeatureTable:
    """Features of one modality: of its binary form, else its text form, else the column of the `.item`.

    Raises:
        FileNotFoundError: there is no such folder, or no modality file at all in it.
        ValueError: this modality has no file; the binary form was not made from the text beside it as it is
            now; the file is damaged or holds what no model can use (see `read_arrow`, `read_text`).
    """
    text = folder / f"{dataset}.{modality}"
    binary = folder / f"{dataset}.{modality}.arrow"
    if has_file(binary):
        if text.is_file():
            _check_made_from(text, binary, modality)
        return read_arrow(binary, allow_non_finite=allow_non_finite)
    if text.is_file() and modality not in RECBOLE_SUFFIXES:
        return read_text(text, form, allow_non_finite=allow_non_finite)
    columns = item_vectors(folder, dataset, form) if is_folder(folder) else {}
    if modality not in columns:
        files, _ = _feature_files(folder, dataset, form)
        _raise_unknown(folder, dataset, modality, _in_order(files | columns.keys()))
    return read_item_vectors(columns[modality], modality, form, allow_non_finite=allow_non_finite)


def _raise_unknown(folder: Path, dataset: str, modality: str, there: list[str]) -> None:
    if not there:
        raise FileNotFoundError(
            f"no features in {folder}: neither {dataset}.{modality}.arrow nor {dataset}.{modality}; "
            "make one with `python -m recbole_mm convert`"
        )
    close = get_close_matches(modality, there, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"unknown modality {modality!r}: beside {folder / dataset}.inter there is {', '.join(there)}{hint}"
    )


def _check_made_from(text: Path, binary: Path, modality: str) -> None:
    noted = read_metadata(binary)
    mend = f"python -m recbole_mm convert arrow --dataset {text.parent} --modality {modality}"
    if not names_text(noted):
        raise ValueError(
            f"{binary} was not made from {text}, so they may differ; delete one, or make it with: {mend}"
        )
    if not TextFile.now(text).is_noted(noted):
        raise ValueError(f"{text} has changed since {binary} was made from it; make it again with: {mend}")
