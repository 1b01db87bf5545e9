"""Folders with one `.npy` file for each item, as Ducho writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from recbole_mm.data.conversion.layout import Features
from recbole_mm.data.conversion.npy_features import folder_features
from recbole_mm.data.modality_name import modality_of, names_modality
from recbole_mm.io.reading import has_file


def find_feature_folders(source: Path) -> list[Path]:
    """The folders below a source that hold `.npy` files, other than the source itself.

    Raises:
        ValueError: a name beside them that says a modality leads nowhere, or is a pipe or a device.
    """
    for path in source.iterdir():
        if names_modality(path.name) and not path.is_dir():
            has_file(path)
    found = []
    for parent, _, names in os.walk(source):
        if Path(parent) != source and any(name.endswith(".npy") for name in names):
            found.append(Path(parent))
    return sorted(found)


def features_of_folders(source: Path) -> Iterator[Features]:
    """A modality for each folder of files, called after the folder of the modality and, where it has several, the rest.

    `visual_embeddings/torch/ResNet50/avgpool` is `visual`; beside `visual_embeddings/torch/VGG19/fc7` it is
    `visual_torch_resnet50_avgpool`.
    """
    folders = find_feature_folders(source)
    parts = [folder.relative_to(source).parts for folder in folders]
    tops = [modality_of(part[0]) for part in parts]
    for folder, top, part in zip(folders, tops, parts, strict=True):
        yield folder_features(top if tops.count(top) == 1 else modality_of(top, *part[1:]), folder)
