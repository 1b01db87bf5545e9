"""Features beside a data set in a form that no run reads, such as NAME.visual.npy: refused, not passed over."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from recbole_mm.data.file_form import FileForm
from recbole_mm.data.modality_name import modality_of, names_modality
from recbole_mm.data.text_form import is_meant_as_features

ARRAYS = ("npy", "npz", "pt", "pth", "pkl", "pickle", "parquet", "h5", "mat", "safetensors", "b", "bin")
TEXTS = ("txt", "csv", "tsv")


def check_unread_forms(folder: Path, dataset: str, form: FileForm, there: Container[str]) -> None:
    """Raise ValueError for a file of vectors that is neither of the text form nor of the binary one.

    Args:
        there: modalities that have a file or a column; such a file beside one is what it was made from.
    """
    for path in sorted(folder.glob(f"{dataset}.*.*")):
        modality, _, kind = path.name.removeprefix(f"{dataset}.").partition(".")
        if modality in there or modality_of(modality) in there or not path.is_file():
            continue
        if kind in ARRAYS and (names_modality(modality) or modality.lower().endswith(("feat", "feats", "emb"))):
            raise ValueError(
                f"{path}: no run reads .{kind}; make a modality of it with recbole-mm convert npy, or move it away"
            )
        forms = [replace(form, separator=mark) for mark in (form.separator, ",", ";") if mark != form.seq_separator]
        if kind in TEXTS and any(is_meant_as_features(path, one) for one in forms):
            raise ValueError(
                f"{path} holds vectors, and no run reads .{kind}; name it {dataset}.{modality}, separated by tabs, or "
                "move it away"
            )
