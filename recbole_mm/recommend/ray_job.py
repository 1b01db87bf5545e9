"""`recommend` as a Ray Data job: the same blocks, ranked by one process per node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from recbole_mm.load import open_checkpoint
from recbole_mm.ray_session import process_per_node, ray_session
from recbole_mm.recommend.ranking import Ranker


@dataclass(frozen=True)
class RankJob:
    """What every process of a job is told; its fields are those of :func:`open_checkpoint` and :class:`Ranker`."""

    checkpoint: Path
    opening: dict[str, Any]
    k: int
    exclude_seen: bool


class RankBlock:
    """A process of the job: opens the checkpoint once and ranks block after block."""

    def __init__(self, job: RankJob):
        sys.argv[1:] = []  # a worker's own, which RecBole's Config would read
        opened = open_checkpoint(job.checkpoint, **job.opening)
        self._ranker = Ranker(opened, job.k, job.exclude_seen)

    def __call__(self, users: pa.Table) -> pa.Table:
        return self._ranker.rank(users["user"].to_numpy())


def ranked_blocks(users: np.ndarray, users_per_block: int, address: str, job: RankJob) -> Iterator[pa.Table]:
    """Blocks of recommendations in the order of `users`, which nodes of the cluster at `address` rank.

    The checkpoint and its data set lie at the same absolute paths on every node. Raises as :func:`ray_session`.
    """
    with ray_session(address):
        ray.data.DataContext.get_current().execution_options.preserve_order = True
        number = -(-len(users) // users_per_block)
        blocks = ray.data.from_arrow([pa.table({"user": part}) for part in np.array_split(users, number)])
        ranked = blocks.map_batches(
            RankBlock,
            fn_constructor_args=(job,),
            batch_size=None,
            batch_format="pyarrow",
            **process_per_node(),
        )
        yield from ranked.iter_batches(batch_size=None, batch_format="pyarrow")
