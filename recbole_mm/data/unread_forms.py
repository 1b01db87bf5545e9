"""Features in a data set's folder that no run reads, such as NAME.visual.npy: refused; other arrays are told."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

import numpy as np

from recbole_mm.data.arrow_form import read_metadata
from recbole_mm.data.file_form import FileForm
from recbole_mm.data.modality_name import modality_of, names_modality
from recbole_mm.data.npy import load_npy
from recbole_mm.data.text_form import has_feature_header, is_meant_as_features
from recbole_mm.io.reading import has_file, open_regular
from recbole_mm.io.tables import read_table, reads_as_number

ARRAYS = tuple("npy npz pt pth pkl pickle parquet feather ftr h5 hdf5 mat safetensors b bin".split())
TEXTS = ("txt", "csv", "tsv")
TABLES = ("json", "jsonl", "xlsx")
PACKED = ("gz", "bz2", "xz", "zst", "zip", "tar", "tgz", "7z", "rar")
MODALITIES = ("visual", "textual", "acoustic")
HEADER_BYTES = 1 << 16
_OF_USERS = ("user", "uid")


def check_unread_forms(folder: Path, dataset: str, form: FileForm, there: Container[str]) -> None:
    """Raise ValueError for a file of vectors that is neither of the text form nor of the binary one.

    Args:
        there: modalities that have a file or a column; such a file beside one is what it was made from.
    """
    for path in sorted(folder.glob(f"{dataset}.*.*")):
        modality, _, kind = path.name.removeprefix(f"{dataset}.").partition(".")
        if modality in there or modality_of(modality) in there or not path.is_file():
            continue
        says_so = names_modality(modality) or modality.lower().endswith(("feat", "feats", "emb"))
        if says_so and kind.lower().rpartition(".")[2] in PACKED:
            raise ValueError(f"{path}: no run reads .{kind}; unpack it, or move it away")
        if says_so and kind.lower() in (*ARRAYS, *TABLES):
            raise ValueError(
                f"{path}: no run reads .{kind}; make a modality of it with recbole-mm convert npy, or move it away"
            )
        if (kind.lower() in TEXTS and _holds_vectors(path, form)) or has_feature_header(path, form):
            raise ValueError(
                f"{path} holds vectors, and no run reads .{kind}; name it {dataset}.{modality}, separated by tabs, or "
                "move it away"
            )


def check_loose_features(folder: Path, dataset: str, form: FileForm, there: Container[str]) -> None:
    """Raise ValueError for features of items under a name that does not begin with the data set's.

    An array is one where its name says so, or it has a row for each item and decimals in it; a pickle, a workbook or an
    archive, which is not opened, where its name says so; a text file where it holds vectors, or its name says so and
    its second line is an id and numbers; an Arrow file where it is of the binary form; a folder where it is called
    after a modality and has arrays in it, as one for each item.

    Args:
        there: modalities that have a file or a column; what they were made from may lie beside them.
    """
    sources: set[str] | None = None
    for path in sorted(folder.iterdir()):
        if path.name.startswith((f"{dataset}.", ".")):
            continue
        if path.is_dir():
            _check_loose_folder(path, there)
        if not path.is_file():
            continue
        modality, suffix = _meant_modality(path)
        if modality in there or not _is_of_features(path, folder, dataset, form):
            continue
        sources = _sources(folder, dataset) if sources is None else sources
        if path.name not in sources:
            remedy = "make a modality of it with recbole-mm convert npy"
            if suffix[1:] in PACKED:
                remedy = "unpack it"
            elif suffix[1:] not in (*ARRAYS, *TABLES) and (suffix == ".arrow" or _holds_vectors(path, form)):
                tabs = ", separated by tabs" if suffix[1:] in TEXTS else ""
                remedy = f"name it {dataset}.{modality}{suffix if suffix == '.arrow' else ''}{tabs}"
            raise ValueError(f"{path} holds features that no run reads under this name; {remedy}, or move it away")


def _check_loose_folder(folder: Path, there: Container[str]) -> None:
    if modality_of(folder.name) in there or not names_modality(folder.name):
        return
    first = next((path for path in folder.rglob("*") if path.is_file()), None)  # of pictures there may be a million
    if first is not None and first.suffix == ".npy":
        raise ValueError(
            f"{folder} holds arrays ({first.relative_to(folder)}) that no run reads; make modalities of one for "
            "each item with recbole-mm convert ducho --interactions FILE, or move it away"
        )


def unused_arrays(folder: Path, dataset: str, form: FileForm) -> list[str]:
    """Lines that name arrays with a row for each item that seem to be no features, as nothing uses them."""
    lines = []
    for path in sorted(folder.glob("*.npy")):
        if path.name.startswith((f"{dataset}.", ".")) or not path.is_file() or _says_features(path.stem):
            continue
        values = _array(path)
        other = None if values is None else _other_than_features(path.stem, values)
        if path.name in _sources(folder, dataset):
            continue
        if values is not None and other and len(values) in _item_counts(folder, dataset, form):
            lines.append(
                f"{path.name} is not used: it has a row for each item, and {other}; if it holds features of items, "
                "make a modality of it with recbole-mm convert npy"
            )
    return lines


def _other_than_features(name: str, values: np.ndarray) -> str | None:
    """What a table with a row for each item seems to be where its name does not say features."""
    if name.lower().startswith(_OF_USERS):
        return "its name is not one of items"
    if values.dtype.kind not in "fc":
        return "its values are whole numbers"
    return "as many columns as rows" if values.shape[0] == values.shape[1] else None


def _meant_modality(path: Path) -> tuple[str, str]:
    """Which modality a file would be, and its suffix where that is one of a format."""
    stem, _, kind = path.name.rpartition(".")
    if kind in PACKED:
        return modality_of(stem.partition(".")[0]), f".{kind}"
    if kind in (*ARRAYS, *TABLES, *TEXTS, "arrow") and stem:
        return modality_of(stem.rpartition(".")[2]), f".{kind}"
    return modality_of(kind), ""


def _is_of_features(path: Path, folder: Path, dataset: str, form: FileForm) -> bool:
    name, kind = path.name.rpartition(".")[0], path.name.rpartition(".")[2]
    if kind == "npy":
        values = _array(path)
        if values is None or _says_features(name):
            return values is not None
        return not _other_than_features(name, values) and len(values) in _item_counts(folder, dataset, form)
    if kind in (*ARRAYS, *TABLES, *PACKED):
        says_so = name.lower().partition(".")[0] in MODALITIES or re.search("feat|emb|vec", name.lower()) is not None
        return _says_features(name) and says_so
    if kind in TEXTS:
        return _holds_vectors(path, form) or (_says_features(name) and _is_row_of_numbers(path))
    if kind == "arrow":
        return _is_binary_form(path)
    return has_feature_header(path, form)


def _array(path: Path) -> np.ndarray | None:
    """A table of numbers; nothing where the file holds anything else."""
    try:
        values = load_npy(path)
    except ValueError:
        return None
    return values if values.dtype.kind in "bfiu" and values.ndim == 2 else None


def _is_binary_form(path: Path) -> bool:
    try:
        read_metadata(path)
    except ValueError:
        return False
    return True


def _item_counts(folder: Path, dataset: str, form: FileForm) -> set[int]:
    """How many rows an array of all items may have: items of the interactions or of the `.item`, or one more."""
    column, items, counts = f"{form.item_field}:token", set(), set()
    for path in [*folder.glob(f"{dataset}.inter"), *folder.glob(f"{dataset}.*.inter")]:
        items |= set(read_table(path, [column], separator=form.separator, encoding=form.encoding)[column])
    counts.add(len(items))
    if has_file(folder / f"{dataset}.item"):
        table = read_table(folder / f"{dataset}.item", [column], separator=form.separator, encoding=form.encoding)
        counts.add(table[column].nunique())
    return {count + more for count in counts if count for more in (0, 1)}


def _sources(folder: Path, dataset: str) -> set[str]:
    """Names of the files that the binary forms there say they were made from."""
    metadata = (read_metadata(path) for path in folder.glob(f"{dataset}.*.arrow"))
    return {entry["source"] for entry in metadata if "source" in entry}


def _says_features(name: str) -> bool:
    """Whether a file's name says that it holds features."""
    parts = name.lower().split(".")
    return not name.lower().startswith(_OF_USERS) and any(
        names_modality(part) or re.search("(feat|feature|emb|embedding|vec|vector)s?$", part) for part in parts
    )


def _holds_vectors(path: Path, form: FileForm) -> bool:
    """Whether a text file holds vectors of items, whatever separates its cells."""
    forms = [replace(form, separator=mark) for mark in (form.separator, ",", ";") if mark != form.seq_separator]
    return any(is_meant_as_features(path, other_form) for other_form in forms)


def _is_row_of_numbers(path: Path) -> bool:
    """Whether the second line of a text file is an id and three numbers or more, a cell each."""
    with open_regular(path) as file:
        file.readline(HEADER_BYTES)
        line = file.readline(HEADER_BYTES).decode("utf-8", errors="replace").strip()
    return any(len(cells) > 3 and all(map(reads_as_number, cells[1:])) for cells in map(line.split, "\t,; "))
