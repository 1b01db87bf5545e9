"""How commands end."""

from __future__ import annotations

import pytest
from pydantic_core import SchemaError
from ray.exceptions import OutOfMemoryError, RayTaskError

from recbole_mm.ending import end, expected


@pytest.mark.parametrize(
    "error, code, line",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("go on so"), 130, "interrupted; go on so"),
        (SchemaError('Error building "default" validator:\n  KeyboardInterrupt: '), 130, "interrupted"),
        (ValueError("bad"), 2, "error: bad"),
        (FileNotFoundError("gone"), 2, "error: gone"),
        (
            RuntimeError("[enforce fail]\nDefaultCPUAllocator: can't allocate memory: 9 bytes"), 2,
            "error: out of memory; lower what the model's size or a batch's depends on ([enforce fail] "
            "DefaultCPUAllocator: can't allocate memory: 9 bytes)",
        ),
        (RayTaskError("task", "its\ntraceback", ValueError("bad")), 2, "error: bad"),
        (
            OutOfMemoryError("killed\nmany lines"), 2,
            "error: a process of Ray's ended: killed; type the same command again",
        ),
    ],
)  # fmt: skip
def test_one_line_and_its_code(error, code, line, capsys):
    assert isinstance(error, expected())
    assert end(error) == code
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize(
    "message, line",
    [
        ("two\n  lines\r\n", "two lines"),
        ("\x1b[2Jred\x07", "\\x1b[2Jred\\x07"),
        ("byte \udcff", "byte \\udcff"),
        ("x" * 5000 + " is no number", "x" * 100 + "..." + "x" * 100 + " is no number"),
        ("Käse 東京 'a  b'", "Käse 東京 'a  b'"),
    ],
)
def test_a_message_is_a_line_that_a_terminal_can_show(message, line, capsys):
    assert end(ValueError(message)) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_fault_of_ours_in_a_process_of_rays_keeps_its_traceback():
    with pytest.raises(RayTaskError):
        end(RayTaskError("task", "its\ntraceback", TypeError("ours")))


def test_a_fault_of_ours_keeps_its_traceback():
    for error in (RuntimeError("ours"), SchemaError("ours")):
        with pytest.raises(type(error), match="ours"):
            end(error)


def test_an_error_without_a_message_says_where_it_comes_from(capsys):
    def forward():
        raise NotImplementedError

    with pytest.raises(NotImplementedError) as raised:
        forward()
    assert end(raised.value) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: NotImplementedError without a message, raised in ")
    assert line.endswith("by forward\n") and __file__ in line
