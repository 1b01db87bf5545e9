"""Converters into feature files: NumPy arrays and the text form. Whole data sets: `recbole_mm.data.converters`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from recbole_mm.data.feature_file import dataset_name, find_modalities, write_arrow
from recbole_mm.data.feature_table import checked_features, row_blocks
from recbole_mm.data.file_form import FileForm
from recbole_mm.data.modality_name import check_modality_name
from recbole_mm.data.npy import load_npy, read_ids
from recbole_mm.data.text_form import read_text
from recbole_mm.data.text_identity import TextFile
from recbole_mm.io.files import check_is_no_input, check_writable, is_folder


def convert_arrow(dataset_dir: Path, modality: str) -> Path:
    """Make the binary form of a modality from its text form; returns its path.

    Columns and separators are those of `NAME.yaml` in the folder, where there is one.

    Raises:
        FileNotFoundError: there is no text form.
        ValueError: the text form is bad (see `read_text`).
    """
    name, form = dataset_name(dataset_dir), FileForm.of_folder(dataset_dir)
    text = dataset_dir / f"{name}.{modality}"
    if not text.is_file():
        there = ", ".join(find_modalities(dataset_dir, name, form)) or "none"
        raise FileNotFoundError(
            f"there is no text form {text} to convert; modalities with a file there: {there}"
        )
    binary = dataset_dir / f"{name}.{modality}.arrow"
    check_writable(binary)
    before = TextFile.now(text)
    table = read_text(text, form)
    write_arrow(binary, table.ids, table.values, source=text.name, text_file=before)
    return binary


def convert_npy(
    features: Path,
    ids: Path,
    modality: str,
    dataset_dir: Path,
    *,
    zero_rows: Literal["keep", "missing"] = "keep",
    encoder: str | None = None,
) -> Path:
    """Make `<dataset_dir>/<name of dataset_dir>.<modality>.arrow` of a NumPy array; returns its path.

    Args:
        features: `.npy` file, `[n_rows, width]`; float16 stays float16, everything else becomes float32.
        ids: text file with the item id of each row, one a line.
        zero_rows: whether a row of zeros is a feature vector ("keep") or an item without features
            ("missing").
        encoder: what computed the features, kept in the file.

    Raises:
        FileNotFoundError: a file or the folder is missing.
        ValueError: the modality's name cannot be a file suffix; the text form of the modality exists; counts
            differ; see `checked_features`.
    """
    binary = check_free_modality(modality, dataset_dir)
    check_is_no_input(binary, "--modality", (features, ids))
    check_writable(binary)
    item_ids, values = checked_features(read_ids(ids), load_npy(features), features)
    if zero_rows == "missing":
        item_ids, values = _without_zero_rows(item_ids, values, features)
    write_arrow(binary, item_ids, values, encoder=encoder, source=features.name)
    return binary


def check_free_modality(modality: str, dataset_dir: Path) -> Path:
    """The binary file of a modality that may be written, replacing one of the same name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the name cannot be a file suffix, or the modality's text form exists.
    """
    check_modality_name(modality)
    if not is_folder(dataset_dir):
        raise FileNotFoundError(
            f"there is no folder {dataset_dir}; give the folder that holds the .inter file"
        )
    name = dataset_name(dataset_dir)
    text = dataset_dir / f"{name}.{modality}"
    if text.exists():
        raise ValueError(
            f"{text} holds this modality already, as text; delete it, or choose another modality name"
        )
    return dataset_dir / f"{name}.{modality}.arrow"


def _without_zero_rows(ids: list[str], values: np.ndarray, path: Path) -> tuple[list[str], np.ndarray]:
    keep = np.concatenate([block.any(axis=1) for _, block in row_blocks(values)])
    if not keep.any():
        raise ValueError(f"{path} holds nothing but zeros; compute the features again")
    return [item for item, kept in zip(ids, keep, strict=True) if kept], values[keep]
