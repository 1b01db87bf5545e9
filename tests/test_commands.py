"""What :mod:`tests.commands` starts is in nothing that a test could see another process than Python starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, run, start
from tests.waiting import wait_for_end, wait_until

TELLS = """
import atexit, os, sys
def facts():
    return [__name__, sys.argv[1:], sys.path[0], os.getcwd(), os.environ["MINE"], sys.stdin.read(), sys.flags.isolated]
if __name__ == "__main__":
    print(facts())
    print("an error", file=sys.stderr)
    atexit.register(print, "at the end")
    END
"""
WAYS = {"a file": ["tells.py"], "a module": ["-m", "tells"], "code": ["-c", ""]}
ENDS = ["pass", "sys.exit(3)", "sys.exit('words')", "1 / 0", "os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ENDS)
def test_it_is_as_python_starts_it(way, end):
    code = TELLS.replace("END", end)
    Path("tells.py").write_text(code)
    arguments = [*WAYS[way], "--one", "two"]
    arguments[1:2] = [code] if way == "code" else arguments[1:2]
    served = run(arguments, MINE="1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MINE": "1"}
    direct = subprocess.run(
        [sys.executable, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (served.returncode, served.stdout) == (direct.returncode, direct.stdout)
    assert served.stderr.splitlines()[:1] == direct.stderr.splitlines()[:1]
    assert served.stderr.splitlines()[-1:] == direct.stderr.splitlines()[-1:]


def test_nothing_of_one_is_there_in_the_next():
    Path("mine.py").write_text("import recbole_mm\nrecbole_mm.left = 1\n")
    assert run(["-c", "import mine, recbole_mm, numpy, random; print(numpy.random.rand(), random.random())"]).stdout
    left = "import recbole_mm, sys; print(hasattr(recbole_mm, 'left'), 'mine' in sys.modules)"
    assert run(["-c", left]).stdout == "False False\n"
    drawn = {run(["-c", "import numpy, random; print(numpy.random.rand(), random.random())"]).stdout for _ in range(3)}
    assert len(drawn) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_reaches_it_and_its_children_alone(number, tmp_path):
    code = "import os, time\nif os.fork(): print(os.getpid(), os.getsid(0), flush=True)\ntime.sleep(60)"
    with open("out", "w") as out, open("err", "w") as err:
        first, second = (start(["-c", code], out, err, new_session=True) for _ in range(2))
    wait_until(lambda: len(Path("out").read_text().splitlines()) == 2, first, Path("out"), Path("err"))
    assert first.pid != second.pid
    assert {f"{command.pid} {command.pid}" for command in (first, second)} == set(Path("out").read_text().splitlines())
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(timeout=0.01)
    assert first.poll() is None
    os.killpg(first.pid, number)
    assert wait_for_end(first) == first.poll() == -number
    assert second.poll() is None
    os.killpg(second.pid, signal.SIGKILL)
    assert wait_for_end(second) == -signal.SIGKILL


def test_what_is_read_while_modules_are_imported_cannot_be_another():
    with pytest.raises(ValueError, match="PYTHONPATH.*start Python itself"):
        run(["-m", "recbole_mm"], PYTHONPATH="elsewhere")
