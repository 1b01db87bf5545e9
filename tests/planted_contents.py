"""A planted data set with pictures and titles, and the features that a tiny encoder makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from recbole_mm.__main__ import main
from recbole_mm.testing.toy import write_planted
from tests.tiny_clip import write_dual_clip

WIDTH = 6


def write_contents(folder: Path, name: str = "toy", n_items: int = 30) -> Path:
    """A planted data set whose features a tiny CLIP made of pictures and texts that show the items' group."""
    write_planted(folder, {"acoustic": 5}, name=name)
    clip = write_dual_clip(folder / "clip", width=WIDTH)
    rng = np.random.default_rng(0)
    (folder / name / "images").mkdir()
    rows = ["item_id:token\ttitle:token_seq"]
    for item in range(n_items - 1):  # as with all features, i29 has neither picture nor text
        colours = rng.integers(0, 90, (32, 32, 3)) + 160 * (np.arange(3) == item % 2)
        Image.fromarray(colours.astype(np.uint8)).save(folder / name / "images" / f"i{item}.png")
        rows.append(f"i{item}\t{'western' if item % 2 else 'space'} {item}")
    (folder / name / f"{name}.item").write_text("\n".join(rows) + "\n")
    return extract(folder, clip, name)


def extract(folder: Path, clip: Path, name: str = "toy") -> Path:
    """Make visual and textual features of the data set's pictures and titles; gives `folder`."""
    for modality, content in (("visual", f"--images {folder / name / 'images'}"), ("textual", "--fields title")):
        command = f"extract --dataset {folder / name} --modality {modality} {content} --encoder {clip}"
        assert main(command.split()) == 0
    return folder
