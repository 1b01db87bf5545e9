"""docs/inputs.md, made of the tables of this folder: ``python -m tests.data.field.page`` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.data.field.arrays import ARRAYS, LISTS
from tests.data.field.downloads import DOWNLOADS
from tests.data.field.files import FEATURES, FILE_NAMES, ITEM_FILES, LOOSE
from tests.data.field.frames import FRAMES
from tests.data.field.media import PICTURES, SOUNDS
from tests.data.field.runs import LABELS, LENGTHS, SCALES, SPLITS
from tests.data.field.tables import TABLES
from tests.data.field.texts import ENCODINGS, IDS, INTERACTIONS, MARKS
from tests.data.field.times_and_names import NAMES, TIMES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "inputs.md"
# by title: what it is about, its cases, and whether a loader, a run or a conversion decides
KINDS = {
    "Times": ("Of splits and sequences by time (`order: TO`).", TIMES, "loaded"),
    "Names and separators": ("First lines of `.inter`, and settings in `shop.yaml` or of a run.", NAMES, "loaded"),
    "Interactions": ("`shop.inter`.", INTERACTIONS, "loaded"),
    "Ids": ("An id is what stands in the cell, letter by letter, in every file.", IDS, "loaded"),
    "Feature files": ("`shop.visual`.", FEATURES, "loaded"),
    "Names of feature files": ("Beside `shop.inter`, with no other features there.", FILE_NAMES, "loaded"),
    "Other files in the folder": ("Beside `shop.inter` with 12 items, and `shop.textual`.", LOOSE, "loaded"),
    "Items": ("`shop.item`.", ITEM_FILES, "loaded"),
    "Quotation marks": ("In titles of `shop.item`.", MARKS, "loaded"),
    "Encodings and line ends": ("Of `shop.item`, and of others by the same rules.", ENCODINGS, "loaded"),
    "Lengths of lists": ("`topk`, of 12 items.", LENGTHS, "run"),
    "Labels": ("Of metrics of values (`mode: labeled`) and models of labelled rows.", LABELS, "run"),
    "Small and large features": ("Of a run of FREEDOM.", SCALES, "run"),
    "Split files": ("`shop.train.inter`, `shop.valid.inter`, `shop.test.inter`.", SPLITS, "run"),
    "Tables": ("Of `convert auto r.csv --items i.csv`, or Parquet.", TABLES, "a data set"),
    "Published data": ("Of `convert auto raw`, with a few rows in the form of the files.", DOWNLOADS, "a data set"),
    "Data frames": ("Of `from_frames(interactions, items, features)`, of pandas where nothing is said.", FRAMES, "a data set"),
    "Arrays": ("Of `convert npy`, with `ids.txt`.", ARRAYS, "converted"),
    "Pictures": ("Of `extract --images`; an item whose picture is refused is listed, with the reason.", PICTURES, "seen"),
    "Sounds": ("Of `extract --audio`, in the same way.", SOUNDS, "heard"),
    "Lists of users": ("Of `recommend --users users.txt`.", LISTS, "listed"),
}
HEAD = """# What is understood, and what is refused

Inputs as people have them, each tried in the tests: what it is read as, or the line that refuses it, which names the file, its line and
column, or the key, and what to do. Nothing that is there is passed over without a word. The data set is called `shop`.
"""


def rendered() -> str:
    """The page's text."""
    parts = [HEAD]
    for title, (about, cases, _) in KINDS.items():
        rows = [f"| {_cell(case.what)} | {_outcome(case)} |" for case in cases]
        parts.append("\n".join([f"## {title}", "", about, "", "| input | outcome |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _outcome(case) -> str:
    is_read = (case.expected if hasattr(case, "expected") else case.expect) is not None
    return _cell(case.outcome) if is_read else f"refused: `{_cell(case.outcome).replace('`', chr(39))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\t", "<TAB>")


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
