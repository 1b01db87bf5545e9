"""The floor of a training step: its unavoidable kernels alone, at their best, measured between the real
steps.

Shared machines drift by a factor of three within a minute. A real step and its floor are therefore measured
in turns, and what is reported is the ratio of their medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median

from kernels import Kernel
from machine import best_seconds


class Floor:
    """Seconds that a step's kernels take when nothing else happens.

    Of several ways to compute a kernel the fastest is chosen once. A measurement runs all kernels of
    several steps one after the other, so that it is as long, and as exposed to other processes, as the real
    steps beside it.
    """

    def __init__(self, kernels: list[Kernel], n_steps: int):
        self.kernels = [
            (kernel, min(kernel.ways, key=lambda way: best_seconds(way, 4))) for kernel in kernels
        ]
        self.n_steps = n_steps
        self._parts: list[dict[str, float]] = []

    def measure(self) -> None:
        """Add one measurement."""
        parts = {kernel.part: 0.0 for kernel, _ in self.kernels}
        for _ in range(self.n_steps):
            for kernel, way in self.kernels:
                started = time.perf_counter()
                for _ in range(kernel.times):
                    way()
                parts[kernel.part] += time.perf_counter() - started
        self._parts.append({part: seconds / self.n_steps for part, seconds in parts.items()})

    def parts(self) -> dict[str, float]:
        """Seconds of each part of a step, the median over the measurements."""
        return {part: median(kernel[part] for kernel in self._parts) for part in self._parts[0]}

    @property
    def median_step(self) -> float:
        """Seconds of one step, the median over the measurements."""
        return median(sum(part.values()) for part in self._parts)


class PacedLoader:
    """The first batches of a training loader in blocks; between the blocks something else happens, off the
    clock.

    Handed to a trainer's epoch in place of the loader, it times the whole steps, loading and sampling
    included.

    Attributes:
        started: when the first batch was asked for.
        first_step: seconds of the first step, which is a block of its own: some models build a graph in it.
        seconds_per_step: mean over each further block.
    """

    BLOCK = 4

    def __init__(self, loader, n_steps: int, between: Callable[[], None] = lambda: None):
        self.loader, self.n_steps, self.between = loader, n_steps, between
        self.started = self.first_step = 0.0
        self.seconds_per_step: list[float] = []

    def __iter__(self) -> Iterator:
        block_started = self.started = time.perf_counter()
        batches = islice(self.loader, self.n_steps)
        yield next(batches)
        self.first_step = time.perf_counter() - block_started
        while True:
            self.between()
            block_started = time.perf_counter()
            n_steps = 0
            for batch in islice(batches, self.BLOCK):
                yield batch
                n_steps += 1
            if n_steps == 0:
                return
            self.seconds_per_step.append((time.perf_counter() - block_started) / n_steps)

    @property
    def median_step(self) -> float:
        """Seconds of one step, the median over the blocks."""
        return median(self.seconds_per_step)
