"""The `analyse` command as a whole."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

import recbole_mm.analysis
from recbole_mm.__main__ import main
from recbole_mm.analysis.command import checkpoint_labels, write_csv
from recbole_mm.load import open_checkpoint
from recbole_mm.registry import ANALYSES, register_analysis

FILES = Path(recbole_mm.analysis.__file__).parent
HEAVY = {"matplotlib", "PIL", "sklearn", "scipy", "threadpoolctl"}


def test_help_names_every_analysis(capsys):
    with pytest.raises(SystemExit):
        main(["analyse", "--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("weak-modality", "modality-weights", "embedding-map"))


@pytest.mark.parametrize("file", sorted(FILES.rglob("*.py")), ids=lambda file: str(file.relative_to(FILES)))
def test_what_only_an_analysis_needs_is_imported_in_it(file):
    """All files are imported for every command, such as `python -m recbole_mm models`."""
    imported = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert not imported & HEAVY


def test_a_file_of_the_folder_that_registers_one_is_an_analysis(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "from recbole_mm.registry import register_analysis\n"
        "@register_analysis('mine', help='of mine')\n"
        "def mine(checkpoints, arguments):\n"
        "    return []\n"
    )
    monkeypatch.setattr(ANALYSES, "_entries", dict(ANALYSES._entries))  # the next test has it not
    monkeypatch.setattr(recbole_mm.analysis, "__path__", [*recbole_mm.analysis.__path__, str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["analyse", "--help"])
    assert "of mine" in capsys.readouterr().out


def test_options_that_all_analyses_have_are_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(ANALYSES, "_entries", dict(ANALYSES._entries))

    @register_analysis("mine", help="of mine", options=lambda parser: parser.add_argument("--out"))
    def mine(checkpoints, arguments):
        return []

    assert main(["analyse", "mine", "none.pth"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: analysis 'mine' of {__name__}: its options: argument --out: conflicting option")


@pytest.mark.parametrize("given", [None, "items.csv", [3]])
def test_an_analysis_that_gives_no_list_of_files_is_named(monkeypatch, capsys, train, given):
    monkeypatch.setattr(ANALYSES, "_entries", dict(ANALYSES._entries))

    @register_analysis("mine", help="of mine")
    def mine(checkpoints, arguments):
        return given

    file = train("POWERec", n_layers=1)
    assert main(["analyse", "mine", str(file)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: analysis 'mine' ({__name__}.test_an_analysis")
    assert said.endswith(f"gave {given!r}; it is to return a list of the paths of the files that it wrote")


def test_missing_matplotlib_gives_the_line_to_type(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["analyse", "weak-modality", "none.pth"]) == 2
    assert 'pip install "recbole-mm[plot]"' in capsys.readouterr().err


def test_missing_checkpoint(capsys):
    assert main(["analyse", "embedding-map", "none.pth"]) == 2
    assert "none.pth does not exist" in capsys.readouterr().err


def labels(*files) -> list[str]:
    return checkpoint_labels([open_checkpoint(file) for file in files])


class TestLabels:
    def test_name_model_and_adapter(self, train):
        files = [train("BM3", feature_adapter=name) for name in ("none", "lora", "befa")]
        assert labels(*files) == ["BM3", "BM3 + lora", "BM3 + befa"]

    def test_name_the_settings_that_differ(self, train, margo):
        summed = train("MARGO", backbone="POWERec", n_layers=1, two_stage=True, item_weights=False)
        other = train("BM3", feature_adapter="lora")
        assert labels(margo) == ["MARGO over POWERec"]
        assert labels(margo, summed, other) == [
            "MARGO over POWERec (item_weights: True)",
            "MARGO over POWERec (item_weights: False)",
            "BM3 + lora",
        ]

    def test_name_files_where_settings_are_the_same(self, train, tmp_path):
        file = train("POWERec", n_layers=1)
        for folder in ("first", "second", "other/second"):
            shutil.copytree(file.parent, tmp_path / folder)
        first, other, namesake = (tmp_path / folder / file.name for folder in ("first", "second", "other/second"))
        assert labels(first, other) == [f"POWERec, first/{file.stem}", f"POWERec, second/{file.stem}"]
        assert labels(other, namesake) == [f"POWERec, {path.with_suffix('')}" for path in (other, namesake)]
        with pytest.raises(ValueError, match=f"first/{file.stem} is given twice"):
            labels(first, other, first)


def test_tables_leave_nothing_half_written(tmp_path):
    def rows():
        yield [1 / 3, "a,b"]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_csv(tmp_path / "table.csv", ["number", "text"], rows())
    assert not any(tmp_path.iterdir())
    write_csv(tmp_path / "table.csv", ["number", "text"], [[1 / 3, "a,b"]])
    assert (tmp_path / "table.csv").read_text() == 'number,text\n0.333333,"a,b"\n'
