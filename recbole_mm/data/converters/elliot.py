"""Elliot's layout: `train.tsv`, `val.tsv` and `test.tsv`, with folders of one `.npy` per item beside them.

The files are separated by tabs, without a header: user, item, rating, and maybe timestamp (Elliot's `fixed` strategy of
loading). Features lie where Elliot's loaders of side information find them: a folder for each modality, with a file
`<item>.npy` for each item, which is what Ducho writes.

Source: docs/source/guide/loading.rst and splitting.rst of github.com/sisinflab/elliot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recbole_mm.data.conversion.columns import NAMES, guess
from recbole_mm.data.conversion.delimited import DelimitedFile, header_of
from recbole_mm.data.conversion.feature_folders import features_of_folders, find_feature_folders
from recbole_mm.data.conversion.layout import COLUMNS, SPLITS, Converter, Features, Interactions
from recbole_mm.data.conversion.tables import read_interactions, table_plan
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter

FILES = {"train": ("train.tsv",), "valid": ("val.tsv", "validation.tsv", "valid.tsv"), "test": ("test.tsv",)}


@register_converter("elliot", help="Elliot's train.tsv, val.tsv, test.tsv, with folders of one .npy per item")
class ElliotConverter(Converter):
    """See the module."""

    reads = COLUMNS

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """train.tsv and test.tsv."""
        files = _files(source)
        if not {"train", "test"} <= files.keys():
            return None
        folders = [str(folder.relative_to(source)) for folder in find_feature_folders(source)]
        return ", ".join([*(path.name for path in files.values()), *folders])

    def plan(self) -> list[str]:
        """Which columns stand for what."""
        return [table_plan(self._open(path), self.options) for path in _files(self.source).values()]

    def interactions(self) -> Iterator[Interactions]:
        """Those of each split, a chunk at a time."""
        files = _files(self.source)
        if "train" not in files:
            raise FileNotFoundError(f"there is no train.tsv in {self.source}")
        for split, path in files.items():
            yield from read_interactions(self._open(path), self.options, split)

    def features(self) -> Iterator[Features]:
        """A modality for each folder of `.npy` files."""
        yield from features_of_folders(self.source)

    def _open(self, path: Path) -> DelimitedFile:
        named = {self.options.user, self.options.item}
        cells = header_of(path)
        # ids that are words are no header: Elliot writes none, and others' have names that are known
        is_named = any(cell in named and not cell.isdigit() for cell in cells)
        header = is_named or any(guess(cells, role) for role in NAMES)
        return DelimitedFile(path, header=header, separator="\t")


def _files(source: Path) -> dict[str, Path]:
    there = {split: [source / name for name in FILES[split] if has_file(source / name)] for split in SPLITS}
    return {split: paths[0] for split, paths in there.items() if paths}
