"""What an experiment shows while its runs go on: a line written over on a terminal, few lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from recbole_mm.experiment import jobs, progress
from recbole_mm.experiment.progress import StatusLine
from recbole_mm.experiment.watch import EPOCHS, reached


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch) -> Terminal:
    """Within a test, as pytest puts its own in its place before."""
    monkeypatch.setenv("COLUMNS", "31")
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def on_screen(written: str) -> str:
    """The line that a terminal shows where each carriage return goes to its start."""
    line: list[str] = []
    for part in written.split("\r"):
        line[: len(part)] = part
    return "".join(line).rstrip()


def test_a_line_is_written_over_and_leaves_nothing(monkeypatch):
    terminal = terminal_of(monkeypatch)
    status = StatusLine()
    status.show(lambda: "running: VBPR on toy, seed 2020: epoch 3")
    assert on_screen(terminal.getvalue()) == "running: VBPR on toy, seed 202"  # one that wraps would stay
    status.show(lambda: "running: BM3")
    assert on_screen(terminal.getvalue()) == "running: BM3"
    status.clear()
    assert on_screen(terminal.getvalue()) == ""
    assert "\n" not in terminal.getvalue()


def test_elsewhere_it_is_a_line_now_and_then(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    status = StatusLine()
    for text, seconds in (("a", 30), ("b", 30), ("c", 59), ("d", 1)):
        now[0] += seconds
        status.show(lambda text=text: text)
    status.clear()
    assert capsys.readouterr().err == "b\nd\n"


def test_control_characters_of_labels_stay_where_they_are(monkeypatch):
    terminal = terminal_of(monkeypatch)
    StatusLine().show(lambda: "a\n\x1b[2Jb")
    assert not {"\n", "\x1b"} & set(terminal.getvalue())


@pytest.mark.parametrize("written", (None, "", "no json"))
def test_a_run_without_epochs_has_nothing_to_say(tmp_path, written):
    if written is not None:
        (tmp_path / EPOCHS).write_text(written)
    assert reached(tmp_path) == ""


def wait_for(file: Path) -> str:
    """Ends when somebody has made the file."""
    while not file.exists():
        time.sleep(0.05)
    return file.name


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_what_runs_is_shown_until_it_ends(tmp_path, monkeypatch):
    terminal = terminal_of(monkeypatch)
    monkeypatch.setattr(jobs, "_LOOK_SECONDS", 0.2)

    def how_far(file: Path) -> str:
        file.touch()  # so the work ends after it was shown
        return f"{file.name} runs"

    with jobs.ray_when_needed():
        results = list(jobs.results_of(wait_for, deque([tmp_path / "a"]), 1, lambda _, error: error, how_far))
    assert results == [(tmp_path / "a", "a")]
    assert "running: a runs" in terminal.getvalue() and on_screen(terminal.getvalue()) == ""
