"""Freed memory stays with the process, and the largest tensors get huge pages: page faults counted in an interpreter
of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The fewest and the most of five measurements: under pressure of others the system takes pages from this process, too.
FAULTS = """
def faults(size):
    measured = [faults_once(size) for _ in range(5)]
    return f"{min(measured)} {max(measured)}"
def faults_once(size):
    def step():
        return torch.ones(size << 20)
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""
KEEP = f"""
import ctypes
import resource
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of 4 KB, whatever the system gives
import torch
from recbole_mm.trainer.allocator import keep_freed_memory
{FAULTS}
print(keep_freed_memory(), faults(4))  # 16 MB, 4,096 pages
"""
AS_THE_COMMAND = f"""
from contextlib import suppress
from recbole_mm_command import run_command
with suppress(SystemExit):
    run_command("run", ["--help"], "run")
import resource
import torch
{FAULTS}
print("-", faults(16))  # 64 MB, 16,384 pages, or 32 huge ones
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def run(script: str, **environment: str) -> tuple[str, int, int]:
    command, environment = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    kept, fewest, most = done.stdout.splitlines()[-1].split()
    return kept, int(fewest), int(most)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
class TestKeepFreedMemory:
    def test_tensors_are_not_faulted_in_again_at_every_step(self):
        kept, fewest, _ = run(KEEP)
        assert kept == "True"
        assert fewest <= 2 * 4096  # where a block begins can differ once

    def test_a_setting_of_the_user_stands(self):
        kept, _, most = run(KEEP, MALLOC_TRIM_THRESHOLD_="65536", MALLOC_MMAP_THRESHOLD_="65536")
        assert kept == "False"
        assert most > 20 * 4096 / 2  # half leaves room for what is zeroed in larger pieces


@pytest.mark.skipif(
    not HUGE_PAGES.is_file() or "[never]" in HUGE_PAGES.read_text(), reason="this system gives no huge pages"
)
def test_the_commands_have_large_tensors_on_huge_pages():
    _, fewest, _ = run(AS_THE_COMMAND)
    assert fewest < 20 * 16384 / 4  # some may still be small where memory is fragmented
    if "[always]" not in HUGE_PAGES.read_text():
        _, _, most = run(AS_THE_COMMAND, THP_MEM_ALLOC_ENABLE="0")
        assert most > 20 * 16384 / 2  # a setting of the user stands
