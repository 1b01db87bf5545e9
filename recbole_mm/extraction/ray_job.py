"""`extract` as a Ray Data job: the same batches, encoded by processes that load the encoder once."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.pretrained import usable_device
from recbole_mm.extraction.batches import Batch, Batches
from recbole_mm.extraction.contents import Contents, MissingContent
from recbole_mm.extraction.row_store import Key, RowStore
from recbole_mm.ray_session import process_per_node


@dataclass(frozen=True)
class EncodeJob:
    """What every process of a job is told.

    Attributes:
        batches: which to encode; their pictures lie at the same absolute paths on every node.
        finished: rows that are not computed again.
        load: makes the encoder from its name and a device.
        encoder: its name, or the absolute path of its folder.
        device: None for the GPU where there is one.
        revision: the encoder's on the machine that started the job.
    """

    batches: Batches
    finished: frozenset[Key]
    load: Callable[[str, str], ContentEncoder]
    encoder: str
    device: str | None
    revision: str


class EncodeBatch:
    """A process of the job: loads the encoder once and encodes batch after batch.

    Errors of the input travel as values, as Ray would try again and bury them in its own.
    """

    def __init__(self, job: ray.ObjectRef[EncodeJob]):
        self._job: EncodeJob = ray.get(job)

    @cached_property
    def _encoder(self) -> ContentEncoder:
        encoder = self._job.load(self._job.encoder, usable_device(self._job.device))
        if encoder.facts["revision"] != self._job.revision:
            raise ValueError(f"encoder {self._job.encoder} has other files than on the machine that started the job")
        return encoder

    def __call__(self, starts: pa.Table) -> pa.Table:
        [start] = starts["start"].to_pylist()
        try:
            outcome: Batch | str = self._job.batches.encode(start, self._encoder, self._job.finished)
        except (ValueError, OSError) as error:
            outcome = f"{error} [on {socket.gethostname()}]"
        return pa.table({"start": [start], "outcome": [pickle.dumps(outcome)]})


@dataclass(frozen=True)
class RayEncoding:
    """Encodes batches on the Ray that is connected, and yields them as they are finished, in any order.

    With GPUs in the cluster there is a process for each, otherwise one per node.

    Attributes:
        load: makes the encoder from its name and a device; found by name in the processes.
        encoder: its name or folder.
        device: `cpu` or `cuda`; None for GPUs where the cluster has some.
    """

    load: Callable[[str, str], ContentEncoder]
    encoder: str
    device: str | None

    def __call__(self, batches: Batches, encoder: ContentEncoder, store: RowStore) -> Iterator[tuple[int, Batch]]:
        """Raises ValueError as `extract`, and where a node reads less than this machine."""
        name = str(Path(self.encoder).absolute()) if Path(self.encoder).is_dir() else self.encoder
        revision = encoder.facts["revision"]
        job = EncodeJob(batches, frozenset(store), self.load, name, self.device, revision)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # ours counts items
        blocks = ray.data.from_arrow([pa.table({"start": [start]}) for start in batches.starts])
        encoded = blocks.map_batches(
            EncodeBatch,
            fn_constructor_args=(ray.put(job),),
            batch_size=1,  # one batch of items; Ray refuses None with GPUs
            batch_format="pyarrow",
            **processes(self.device),
        )
        tables: Iterable[pa.Table] = encoded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for block in tables:
            for start, outcome in zip(block["start"].to_pylist(), block["outcome"].to_pylist(), strict=True):
                yield start, checked(pickle.loads(outcome), batches.contents)


def processes(device: str | None) -> dict[str, Any]:
    """Options of `map_batches`; raises ValueError for a device that the cluster does not have."""
    if device not in (None, "cpu", "cuda"):
        raise ValueError(f"--device: {device} is one machine's; with --ray_address give cpu or cuda, or leave it out")
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if device == "cuda" and not gpus:
        raise ValueError("--device: no node of the Ray cluster has a GPU; give cpu, or leave it out")
    if gpus and device != "cpu":
        return {"compute": ray.data.ActorPoolStrategy(size=gpus), "num_gpus": 1}
    return process_per_node()


def checked(outcome: Batch | str, contents: Contents) -> Batch:
    """The batch, of which nothing is missing that this machine can read.

    Raises:
        ValueError: the process failed (`outcome` says why), or could not read what this machine can.
    """
    if isinstance(outcome, str):
        raise ValueError(outcome)
    for item, reason in {**outcome.missing, **outcome.partly}.items():
        try:
            contents.digest(item)
            contents.read(item)
        except MissingContent:
            continue
        if item in outcome.partly and contents.partly(item) is not None:
            continue
        raise ValueError(
            f"a node of the Ray cluster cannot read item {item!r}, which this machine can ({reason}); pictures must "
            f"lie at the same path on every node, such as in a shared folder"
        )
    return outcome
