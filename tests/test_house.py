"""What keeps a part readable: no function above 40 lines, no file above 250, and names that say what something is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "recbole_mm"
MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_A_FILE = 250
NAMELESS = {"one", "told", "theirs", "ours", "its"}


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


def nameless(source: str) -> list[str]:
    """Where a file gives something a name that stands for anything, by line."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [(node.lineno, node.id) for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    fields = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    names += [(node.lineno, node.attr) for node in fields]
    names += [(node.lineno, node.arg) for node in nodes if isinstance(node, ast.arg)]
    names += [(node.lineno, node.name) for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [f"{line}: {name}" for line, name in sorted(names) if name.lstrip("_") in NAMELESS]


def test_names_that_say_nothing_are_found():
    assert nameless("a = [one for one in (1, 2)]\ndef f(theirs, item): pass\ndef _told(): pass\n") == [
        "1: one", "2: theirs", "3: _told",
    ]  # fmt: skip
    assert nameless("first.ours = 1\nfirst._one: int = 1\n") == ["1: ours", "2: _one"]
    assert nameless("number_one = 'one'\nfirst.one()\n") == []


def test_every_name_says_what_it_is():
    files = [file for folder in ("recbole_mm", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")]
    assert {ROOT / "recbole_mm" / "testing" / "__init__.py", Path(__file__)} < set(files)
    found = {str(file.relative_to(ROOT)): nameless(file.read_text(encoding="utf-8")) for file in files}
    assert {file: names for file, names in found.items() if names} == {}
