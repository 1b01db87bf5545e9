"""Items as a reader of a report sees them: title, texts and a small picture that is part of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recbole_mm.io.pictures import PictureError, open_picture

SIDE = 96  # pixels a picture is shrunk to fit
QUALITY = 80  # of its JPEG: about 3 kB
MOST_LETTERS = 160  # of a text


@dataclass(frozen=True)
class ItemCard:
    """One item at one place of a page.

    Attributes:
        item: original id.
        title: empty where there is none.
        texts: of other fields.
        picture: a data URI, empty where there is none.
        is_held_out: whether a list has found an item of the test split.
        shares: of the modalities in the score, a line.
    """

    item: str
    title: str
    texts: list[str]
    picture: str
    is_held_out: bool
    shares: str


@dataclass
class ItemCards:
    """The items of one data set.

    Attributes:
        texts: by item id; the first is the title.
        pictures: files by item id.
        unreadable: names of the files that were wanted and are no pictures, filled as cards are made.
    """

    texts: Mapping[str, list[str]]
    pictures: Mapping[str, Path] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    _embedded: dict[str, str] = field(default_factory=dict, repr=False)

    def card(self, item: str, is_held_out: bool = False, shares: str = "") -> ItemCard:
        """The item at one place."""
        title, *texts = self.texts.get(item, [""])
        shown = [text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} ..." for text in texts if text]
        return ItemCard(item, title, shown, self._picture(item), is_held_out, shares)

    def _picture(self, item: str) -> str:
        if item not in self._embedded:
            self._embedded[item] = self._embed(self.pictures[item]) if item in self.pictures else ""
        return self._embedded[item]

    def _embed(self, file: Path) -> str:
        try:
            picture = open_picture(file)
        except PictureError:
            self.unreadable.append(file.name)
            return ""
        picture.thumbnail((SIDE, SIDE))
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
