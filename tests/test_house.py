"""Sizes that keep a part readable in one sitting: no function above 40 lines, no file above 250."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "recbole_mm"
MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_A_FILE = 250


def too_long(source: str) -> list[str]:
    """What of a file is too long, each with its lines."""
    found = [f"the file: {count}"] if (count := len(source.splitlines())) > MOST_LINES_OF_A_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            found += [f"{node.name}: {lines}"] if lines > MOST_LINES_OF_A_FUNCTION else []
    return found


def test_what_is_too_long_is_found():
    longest = "def longest():\n" + "    pass\n" * (MOST_LINES_OF_A_FUNCTION - 1)
    assert too_long(longest) == []
    assert too_long(f"class A:\n    async {longest.replace(chr(10), chr(10) + '    ')}    pass\n") == ["longest: 41"]
    assert too_long("\n" * MOST_LINES_OF_A_FILE) == []
    assert too_long("\n" * (MOST_LINES_OF_A_FILE + 1)) == ["the file: 251"]


def test_nothing_is_too_long():
    files = sorted(PACKAGE.rglob("*.py"))
    found = {str(file.relative_to(PACKAGE)): too_long(file.read_text(encoding="utf-8")) for file in files}
    assert len(files) > 300
    assert {file: long for file, long in found.items() if long} == {}
