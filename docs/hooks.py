"""The site's generated pages: one per model, from its declaration, docstrings and stored results."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from mkdocs.structure.files import File

import recbole_mm  # noqa: F401  registers the models
from recbole_mm.registry import MODELS
from recbole_mm.setting_rules import allowed_of, model_settings, properties_dir
from recbole_mm.settings_text import described_fields

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
METRICS = ("Recall@10", "Recall@20", "NDCG@10", "NDCG@20")


def on_files(files, config):
    """Add a page for each model that is registered."""
    for name in MODELS:
        files.append(File.generated(config, f"models/{name}.md", content=page(name)))
    content = (ROOT / "benchmarks" / "results" / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "results.md", content=content))
    for file in [*RESULTS.glob("*/report.md"), *RESULTS.glob("*/figures/*.png"), *RESULTS.glob("*-tiktok.md"),
                 *RESULTS.glob("sentinel-*.md")]:  # fmt: skip
        files.append(File.generated(config, file.relative_to(RESULTS).as_posix(), abs_src_path=str(file)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Link the models' pages in the table of models, and show the examples of parts, which lie outside the site."""
    if page.file.src_uri == "models.md":
        for name in MODELS:
            markdown = markdown.replace(f"| `{name}` |", f"| [`{name}`](models/{name}.md) |")
    examples = re.findall(r"\(\.\./tests/outside/(\w+)\.py\)", markdown)
    for example in examples:
        source = (ROOT / "tests" / "outside" / f"{example}.py").read_text(encoding="utf-8")
        markdown = markdown.replace(f"(../tests/outside/{example}.py)", f"(#{example})")
        markdown += f"\n## {example}\n\n```python\n{source}```\n"
    return markdown


def page(name: str) -> str:
    """The page of one model, in Markdown."""
    return "\n".join(_lines(name)) + "\n"


def _lines(name: str) -> Iterator[str]:
    entry = MODELS.entry(name)
    facts, own = entry.facts, model_settings(name)
    yield f"# {name}"
    yield f"\n*{facts['paper']}* ({facts['year']}). Modalities: {facts['modalities']}."
    yield f"\n## Idea and formulae\n\n{_markdown(inspect.getmodule(entry.target).__doc__)}"
    yield f"\n{_markdown(entry.target.__doc__)}"
    yield f"\n## Settings\n\n{_markdown(own[-1].__doc__)}\n"
    yield "| key | default | what it may be | meaning |\n|---|---|---|---|"
    for key, field in described_fields(own[-1]).items():
        default = field.get_default(call_default_factory=True)
        meaning = " ".join((field.description or "").split())
        yield f"| `{key}` | {_cell(repr(default))} | {_cell(allowed_of(name, key, field))} | {_cell(meaning)} |"
    published = {**own[-1].defaults, **own[-1].published}
    if published:
        told = ", ".join(f"`{key}: {value}`" for key, value in published.items())
        yield f"\nIts paper's own training (`protocol: published`): {told}."
    grid = properties_dir() / "hyper" / f"{name}.hyper"
    if grid.is_file():
        yield f"\nGrid of a search (`{grid.name}`):\n\n```\n{grid.read_text(encoding='utf-8').strip()}\n```"
    yield from _results(name)


def _results(name: str) -> Iterator[str]:
    tables = {file.parent.name: pd.read_parquet(file) for file in sorted(RESULTS.glob("*/runs.parquet"))}
    lines = [line for experiment, runs in tables.items() for line in _rows(experiment, runs, name)]
    if lines:
        yield "\n## Results here\n"
        yield "Test metrics of the experiments in `benchmarks/results/`, mean and standard deviation over seeds.\n"
        yield f"| experiment | row | seeds | settings tried | {' | '.join(METRICS)} |\n|{'---|' * (4 + len(METRICS))}"
        yield from lines


def _rows(experiment: str, runs: pd.DataFrame, name: str) -> Iterator[str]:
    """A line for each row of the table that is of the model."""
    own = runs[(runs["model"] == name) & (runs["error"] == "") & (runs["sweep"] == "{}") & (runs["audit"] == "{}")]
    for label, seeds in own.groupby("label", sort=False):
        columns = [seeds[f"test_{metric.lower()}"] for metric in METRICS]
        values = " | ".join(f"{one.mean():.4f} ± {one.std():.4f}" for one in columns)
        yield f"| {experiment} | {label} | {len(seeds)} | {seeds['budget'].iloc[0]} | {values} |"


def _markdown(docstring: str | None) -> str:
    """A docstring's formulae, roles and literal blocks in Markdown's way."""
    lines, text = inspect.cleandoc(docstring or "").split("\n"), []
    position = 0
    while position < len(lines):
        line = lines[position]
        if line.strip() == ".. math::":
            block, position = _indented(lines, position + 1)
            text += ["", "$$", *_aligned(block), "$$", ""]
            continue
        text.append(line)
        position += 1
    joined = re.sub(r":math:`([^`]+)`", r"$\1$", "\n".join(text))
    return re.sub(r":(?:mod|class|func|meth|attr|data):`~?([^`]+)`", r"`\1`", joined)


def _indented(lines: list[str], start: int) -> tuple[list[str], int]:
    end = start
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
        end += 1
    return [line.strip() for line in lines[start:end] if line.strip()], end


def _aligned(block: list[str]) -> list[str]:
    if any("\\\\" in line for line in block):
        return ["\\begin{aligned}", *block, "\\end{aligned}"]
    return block


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
