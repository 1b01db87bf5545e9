"""Ducho's output: folders of one `.npy` per item, named by the item's id, under a folder for each modality.

Its configuration gives an output folder for each modality, such as `visual_embeddings`; below it lie folders of
backends, models and layers (any nesting is taken), and in them `<item>.npy`, `[1, width]` or `[width]`. Ducho writes no
interactions: they are the table beside the folders, or the one that `--interactions FILE` gives.

Source: the README, config/README.md and demos of github.com/sisinflab/Ducho.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recbole_mm.data.conversion.delimited import is_delimited
from recbole_mm.data.conversion.feature_folders import features_of_folders, find_feature_folders
from recbole_mm.data.conversion.layout import Features
from recbole_mm.data.conversion.table_folder import TableFolder
from recbole_mm.data.converters.elliot import ElliotConverter
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter


@register_converter("ducho", help="Ducho's folders of one .npy per item, with a table: --interactions FILE")
class DuchoConverter(TableFolder):
    """See the module."""

    generic = False

    @classmethod
    def tables(cls, source: Path) -> list[Path]:
        """Tables beside the folders."""
        return sorted(path for path in source.iterdir() if is_delimited(path) and has_file(path))

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """Folders of `.npy` files, without Elliot's splits."""
        folders = find_feature_folders(source) if source.is_dir() else []
        if not folders or ElliotConverter.recognise(source):
            return None
        return ", ".join(f"{folder.relative_to(source)}/*.npy" for folder in folders[:4])

    def interaction_files(self) -> list[tuple[Path, str | None]]:
        """The table that was given, or lies there."""
        if self.options.interactions is None and not self.tables(self.source):
            raise FileNotFoundError(
                f"{self.source} holds features without interactions; give their table with --interactions FILE"
            )
        return super().interaction_files()

    def features(self) -> Iterator[Features]:
        """A modality for each folder."""
        yield from features_of_folders(self.source)
