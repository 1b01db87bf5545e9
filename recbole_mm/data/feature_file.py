"""Features through atomic files: one modality is one file beside the `.inter`, named after the modality.

`<dataset>.<modality>` is the text form (RecBole's own), `<dataset>.<modality>.arrow` the binary form; where
both exist the binary one is read, after making sure that it was made from the text as it is now.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from recbole_mm.data.arrow_form import read_arrow, read_metadata, write_arrow
from recbole_mm.data.feature_table import FeatureTable
from recbole_mm.data.text_form import has_feature_header, read_text, write_text
from recbole_mm.data.text_identity import TextFile, names_text
from recbole_mm.io.files import is_folder

__all__ = ["FeatureTable", "dataset_name", "find_modalities", "read_features", "write_arrow", "write_text"]

RECBOLE_SUFFIXES = frozenset({"inter", "user", "item", "kg", "link", "net"})
FIRST_MODALITIES = ("visual", "textual", "acoustic")


def dataset_name(folder: Path) -> str:
    """The name of the data set in a folder, by RecBole's rule the folder's own; a link keeps its name."""
    return Path(os.path.abspath(folder)).name


def find_modalities(
    folder: Path, dataset: str, item_field: str = "item_id", field_separator: str = "\t"
) -> list[str]:
    """Names of the modalities that have a file: visual, textual, acoustic first, then alphabetically.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not is_folder(folder):
        raise FileNotFoundError(f"there is no folder {folder}; give the folder that holds {dataset}.inter")
    found = set()
    for path in folder.iterdir():
        name = path.name.removeprefix(f"{dataset}.")
        modality = name.removesuffix(".arrow")
        if (
            name == path.name
            or not modality
            or "." in modality
            or modality in RECBOLE_SUFFIXES
            or not path.is_file()
        ):
            continue
        if name != modality or has_feature_header(path, item_field, field_separator):
            found.add(modality)
    first = [modality for modality in FIRST_MODALITIES if modality in found]
    return first + sorted(found.difference(first))


def read_features(
    folder: Path,
    dataset: str,
    modality: str,
    item_field: str = "item_id",
    field_separator: str = "\t",
    seq_separator: str = " ",
    *,
    allow_non_finite: bool = False,
) -> FeatureTable:
    """Features of one modality, from its binary form where there is one.

    Raises:
        FileNotFoundError: there is no such folder, or no modality file at all in it.
        ValueError: this modality has no file; the binary form was not made from the text beside it as it is
            now; the file is damaged or holds what no model can use (see `read_arrow`, `read_text`).
    """
    text = folder / f"{dataset}.{modality}"
    binary = folder / f"{dataset}.{modality}.arrow"
    if binary.is_file():
        if text.is_file():
            _check_made_from(text, binary, modality)
        return read_arrow(binary, allow_non_finite=allow_non_finite)
    if not text.is_file():
        _raise_unknown(
            folder, dataset, modality, find_modalities(folder, dataset, item_field, field_separator)
        )
    return read_text(
        text,
        item_field=item_field,
        field_separator=field_separator,
        seq_separator=seq_separator,
        allow_non_finite=allow_non_finite,
    )


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
