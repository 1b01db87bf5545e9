"""Runs side by side: processes of this machine with the cores shared out, or those of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from recbole_mm.experiment.run import Job, run_job
from recbole_mm.experiment.store import RunResult


def results_of(jobs: Sequence[Job], at_a_time: int) -> Iterator[RunResult]:
    """The results of all jobs as they end. Within a Ray session; a job whose process dies is one that failed."""
    cores, gpus = (float(ray.cluster_resources().get(kind, least)) for kind, least in (("CPU", 1), ("GPU", 0)))
    task = ray.remote(run_job).options(
        num_cpus=max(cores / at_a_time, 0.01) if cores < at_a_time else int(cores // at_a_time),
        num_gpus=min(1.0, gpus / at_a_time),
        max_retries=0,
    )
    waiting = list(jobs)
    running: dict[ray.ObjectRef[Any], Job] = {}
    while waiting or running:
        while waiting and len(running) < at_a_time:
            job = waiting.pop(0)
            logging.getLogger(__name__).info("%s on %s, seed %d: begins", job.row.label, job.row.dataset, job.seed)
            running[task.remote(job)] = job
        (ended, *_), _ = ray.wait(list(running), num_returns=1)
        yield _result(ended, running.pop(ended))


def _result(reference: ray.ObjectRef[Any], job: Job) -> RunResult:
    try:
        return ray.get(reference)
    except RayError as error:  # killed, or out of memory
        story = str(error).strip().splitlines()[0]
        return RunResult(job.record(ended="error", error=f"its process ended: {story}"))
