"""The pages of analyses: whatever a title, an id or a file is called, it is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jinja2
import numpy as np
import pytest

import recbole_mm.analysis
from recbole_mm.analysis.attribution.page import ItemPictures
from recbole_mm.analysis.modality_weights.page import ItemSection, write_weights_page
from recbole_mm.analysis.modality_weights.weight_tables import ExtremeItem, ModalityWeights
from recbole_mm.analysis.pages import write_page

HOSTILE = "</td></title><script>alert(1)</script>\"' onerror=\"alert(2) & {{ 7 * 7 }}"
FILE = Path("javascript:alert(3)//\"><script>'.png".replace("/", ""))
ELEMENTS = set("html head meta title style body h1 h2 p strong em details summary table caption tr th td a img".split())
ATTRIBUTES = set("lang charset name content src href alt width loading role".split())


class Read(HTMLParser):
    """Elements, attributes, addresses and text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.elements, self.attributes, self.addresses, self.text = set(), set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {key for key, _ in attrs}
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        self.text += [value for key, value in attrs if key == "alt"]

    def handle_data(self, data):
        self.text.append(data)


def modality_weights_page(out: Path) -> Path:
    values = np.array([[0.25, 0.75]])
    table = ModalityWeights(HOSTILE, "item", [HOSTILE, "id"], np.array([HOSTILE]), values, np.ones(1), values > 0)
    items = [ExtremeItem(HOSTILE, "most", 1, HOSTILE, HOSTILE, 0.75, 3, None)]
    section = ItemSection(HOSTILE, items, [FILE, FILE, FILE], [FILE])
    return write_weights_page(out / "page.html", [table], [FILE, FILE, FILE], [FILE], [section])


def attribution_page(out: Path) -> Path:
    item = ItemPictures(HOSTILE, HOSTILE, FILE.name, [[FILE.name] * 4], [np.ones(2)])
    values = {"labels": [HOSTILE], "maps": [HOSTILE], "checkpoints": [[HOSTILE]], "settings": [(HOSTILE, HOSTILE)]}
    values |= {"areas": [[HOSTILE]], "encoder": HOSTILE, "doubts": [HOSTILE], "left_out": {HOSTILE: HOSTILE}}
    values |= {"sheets": [FILE], "folder": FILE, "items": [item], "curves": [FILE], "data": [FILE]}
    return write_page(out / "page.html", "attribution/page.html", **values)


@pytest.mark.parametrize("write", [modality_weights_page, attribution_page])
def test_hostile_names_stay_text(write, tmp_path):
    page = Read(write(tmp_path).read_text(encoding="utf-8"))
    assert page.elements <= ELEMENTS
    assert page.attributes <= ATTRIBUTES
    assert sum(HOSTILE in text for text in page.text) >= 4  # whole, and not evaluated
    assert len(page.addresses) >= 4
    for address in page.addresses:
        assert urlsplit(address).scheme == ""
        assert FILE.name in unquote(address)


def test_every_page_is_among_them():
    """A new template needs its case above."""
    folder = Path(recbole_mm.analysis.__file__).parent
    pages = {str(file.parent.name) for file in folder.rglob("*.html") if file.parent != folder}
    assert pages == {"modality_weights", "attribution"}


def test_no_markup_is_written_by_hand_and_no_text_declared_safe():
    """All markup stands in templates, where what is put in is escaped."""
    folder = Path(recbole_mm.analysis.__file__).parent
    assert not [file for file in folder.rglob("*.py") if re.search(r"</?(p|td|a|img|table)\b[^>]*>", file.read_text())]
    assert not [file for file in folder.rglob("*.html") if re.search(r"\|\s*safe|autoescape", file.read_text())]


def test_a_value_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(jinja2.UndefinedError, match="sheets"):
        write_page(tmp_path / "page.html", "attribution/page.html", doubts=[], encoder="clip")
    assert not any(tmp_path.iterdir())
