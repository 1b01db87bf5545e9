"""LATTICE's layout: `5-core/train.json`, `5-core/val.json`, `5-core/test.json`, and `image_feat.npy`, `text_feat.npy`.

As MMSSL's layout, with the json files in a folder named after the core. The arrays lie beside that folder.

Source: the README of github.com/CRIPAC-DIG/LATTICE.
"""

from __future__ import annotations

import re
from pathlib import Path

from recbole_mm.data.converters.mmssl import MmsslConverter
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter


@register_converter("lattice", help="LATTICE's 5-core/train.json, val.json, test.json and image_feat.npy")
class LatticeConverter(MmsslConverter):
    """See the module."""

    @classmethod
    def json_folder(cls, source: Path) -> Path | None:
        """The folder of the core."""
        for folder in sorted(source.glob("*-core")):
            if re.fullmatch("[0-9]+-core", folder.name) and has_file(folder / "train.json"):
                return folder
        return None
