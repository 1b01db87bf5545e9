"""Freed memory stays with the process: page faults counted in an interpreter of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import resource
import torch
from recbole_mm.trainer.allocator import keep_freed_memory

kept = keep_freed_memory()
def step():
    return torch.ones(4 << 20)  # 16 MB, 4,096 pages
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[str, int]:
    command, environment = [sys.executable, "-c", SCRIPT], {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
class TestKeepFreedMemory:
    def test_tensors_are_not_faulted_in_again_at_every_step(self):
        kept, faults = run()
        assert kept == "True"
        assert faults <= 2 * 4096  # where a block begins can differ once

    def test_a_setting_of_the_user_stands(self):
        kept, faults = run(MALLOC_TRIM_THRESHOLD_="65536", MALLOC_MMAP_THRESHOLD_="65536")
        assert kept == "False"
        assert faults > 20 * 4096 / 2  # half leaves room for transparent huge pages
