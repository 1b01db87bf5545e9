"""The tables of models in README and docs, from what each model says where it registers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.recommender import Recommender
from recbole_mm.parts import is_ours
from recbole_mm.registry import MODELS, Entry

FAMILIES: dict[str, type] = {  # a model is of the first that it derives from
    "Around another model": BackboneModel,
    "A rating per modality, fused late": LateFusionRecommender,
    "One vector per user and item": MultimodalRecommender,
    "Solved, not trained": ClosedFormRecommender,
    "Of IDs alone": Recommender,
}
_MARKED = re.compile(r"(<!-- models -->).*?(<!-- end -->)", re.DOTALL)


def pages(root: Path) -> dict[Path, str]:
    """Text of each page with a table of models, such as it is to be, of those that lie in a checkout's folder."""
    marked = {root / "README.md": names_of_models(), root / "docs" / "models.md": tables_of_models()}
    return {page: _put(text, page.read_text(encoding="utf-8")) for page, text in marked.items() if page.is_file()}


def _put(text: str, page: str) -> str:
    """A page with `text` between its marks."""
    return _MARKED.sub(lambda found: f"{found[1]}{text}{found[2]}", page)


def names_of_models() -> str:
    """The names of our models, in one line of Markdown."""
    return ", ".join(f"`{entry.name}`" for entry in _entries())


def tables_of_models() -> str:
    """Our models by family, in Markdown."""
    return "\n\n" + "\n".join(line for family in FAMILIES for line in _table(family))


def _table(family: str) -> Iterator[str]:
    yield f"### {family}\n"
    yield "| model | paper | year | idea | modalities | what it needs |\n|---|---|---|---|---|---|"
    for entry in _entries():
        if next(name for name, base in FAMILIES.items() if issubclass(entry.target, base)) == family:
            yield _row(entry)
    yield ""


def _row(entry: Entry) -> str:
    facts = entry.facts
    needs = "; backbones: ".join(filter(None, (facts["needs"], ", ".join(facts["backbones"]))))
    idea = inspect.cleandoc(entry.target.__doc__).split("\n\n")[0].replace("\n", " ").removesuffix(".")
    cells = (f"`{entry.name}`", facts["paper"], str(facts["year"]), idea, facts["modalities"], needs)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _entries() -> list[Entry]:
    entries = (MODELS.entry(name) for name in sorted(MODELS, key=str.lower))
    return [entry for entry in entries if is_ours(entry.target)]
