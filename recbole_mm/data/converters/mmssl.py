"""MMSSL's and LLMRec's layout: `train.json`, `val.json` and `test.json` with the items of each user, and `*_feat.npy`.

A json file is an object from user number to the list of item numbers; a user may be missing or have an empty list.
`image_feat.npy`, `text_feat.npy` and `audio_feat.npy` have a row for each item number. LATTICE's layout is the same but
for the folder `5-core` that the json files lie in.

Source: the README of github.com/HKUDS/MMSSL and of github.com/HKUDS/LLMRec.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recbole_mm.data.conversion.json_text import read_json
from recbole_mm.data.conversion.layout import SPLITS, Converter, Features, Interactions
from recbole_mm.data.conversion.npy_features import array_features, check_rows, find_arrays
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter

NAMES = {"train": ("train.json",), "valid": ("val.json", "valid.json", "validation.json"), "test": ("test.json",)}


@register_converter("mmssl", help="MMSSL's and LLMRec's train.json, val.json, test.json and *_feat.npy")
class MmsslConverter(Converter):
    """See the module."""

    keeps_unused_items = True

    @classmethod
    def json_folder(cls, source: Path) -> Path | None:
        """Where the json files lie."""
        return source if has_file(source / "train.json") else None

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """train.json and test.json."""
        folder = cls.json_folder(source) if source.is_dir() else None
        files = _files(folder) if folder is not None else {}
        if not {"train", "test"} <= files.keys():
            return None
        return ", ".join(str(path.relative_to(source)) for path in files.values())

    def interactions(self) -> Iterator[Interactions]:
        """Of each split, in the order of the file."""
        folder = self.json_folder(self.source)
        if folder is None:
            raise FileNotFoundError(f"there is no train.json in {self.source}")
        arrays = find_arrays(self.source)
        for split, path in _files(folder).items():
            users, items = _pairs(path)
            check_rows(arrays, max(items, default=-1) + 1, path)
            yield Interactions(users, items, path, split=split)

    def features(self) -> Iterator[Features]:
        """A row for each item number."""
        for modality, path in find_arrays(self.source).items():
            yield array_features(modality, path)


def _files(folder: Path) -> dict[str, Path]:
    there = {split: [folder / name for name in NAMES[split] if has_file(folder / name)] for split in SPLITS}
    return {split: paths[0] for split, paths in there.items() if paths}


def _pairs(path: Path) -> tuple[list[str], list[int]]:
    """Users and items of one file; an item is a number, as its features are a row."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object from users to lists of items, found {type(content).__name__}")
    users: list[str] = []
    items: list[int] = []
    for user, listed in content.items():
        if not isinstance(listed, list):
            raise ValueError(f"{path}: user {user!r} has {type(listed).__name__} instead of a list of items")
        for item in listed:
            if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < 1 << 31:
                raise ValueError(f"{path}: user {user!r} has the item {item!r}, which is no row number")
        users += [user] * len(listed)
        items += listed
    return users, items
