"""The parts of the pages that analyses write."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.45 sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; margin: 0.5em 0 1.5em; }}
caption {{ text-align: left; font-weight: bold; padding: 0.3em 0; }}
th, td {{ text-align: left; padding: 0.2em 0.9em 0.2em 0; border-bottom: 1px solid #ddd; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of parts that are HTML already."""
    return f"{HEAD.format(title=escape(title))}{''.join(parts)}</body>\n</html>\n"


def image(file: Path, description: str) -> str:
    """A picture that lies in the folder of the page."""
    return f'<p><img src="{quote(file.name)}" alt="{escape(description)}"></p>\n'


def links(files: Iterable[Path]) -> str:
    """Links to files in the folder of the page."""
    return ", ".join(f'<a href="{quote(file.name)}">{escape(file.name)}</a>' for file in files)


def table(caption: str, header: list[str], rows: Iterable[list]) -> str:
    """A table of cells that are plain text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows]
    return f"<table>\n<caption>{escape(caption)}</caption>\n<tr>{head}</tr>\n{''.join(lines)}</table>\n"
