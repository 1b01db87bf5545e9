"""Pictures as bytes of one size, prepared by processes ahead of the encoder that reads them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.preparation import Preparation
from recbole_mm.extraction.contents import Contents, MissingContent, Pictures, joined
from recbole_mm.extraction.pixel_cache import MAPPED, PixelCache
from recbole_mm.extraction.preparing import Outcome, Workers, prepare_pictures

CHUNK = 32  # pictures of one task, and of one file
WORTH_PROCESSES = 400  # pictures: below, processes take longer to start than to prepare them
READING = 4  # threads that hash files, which wait for the disk


class PreparedPictures(Contents, AbstractContextManager["PreparedPictures"]):
    """The pictures of items as uint8 ``[3, H, W]``; a context, at whose end its processes are gone.

    Bounded in memory: the pixels lie in the cache's files, a process has one picture and a file's pixels at a time,
    and no more than `ahead` tasks of CHUNK pictures are prepared before they are asked for.

    Args:
        pictures: of the items.
        preparation: the encoder's.
        cache: of that preparation.
        workers: processes; 0 prepares in this one, None takes one for each processor if there is enough to do.
    """

    def __init__(self, pictures: Pictures, preparation: Preparation, cache: PixelCache, workers: int | None = None):
        self.items, self.n_with_interactions = pictures.items, pictures.n_with_interactions
        self.form, self.facts, self.source = pictures.form, pictures.facts, pictures.source
        self.cache = cache
        self._pictures, self._preparation = pictures, preparation
        self._n_workers = workers
        self._workers: Workers | None = None
        self._digests: dict[Path, str] = {}
        self._missing: dict[Path, str] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers is not None:
            self._workers.stop()
            self._workers = None

    def read(self, item: str) -> list[np.ndarray]:
        """The bytes of an item's pictures, once :meth:`prepare` has passed it; raises MissingContent."""
        return [self.cache[digest] for digest in self.digests(item)]

    def digest(self, item: str) -> str:
        """That of the bytes that were prepared; raises MissingContent."""
        return joined(self.digests(item))

    def digests(self, item: str) -> list[str]:
        """Those of an item's pictures that can be read; raises MissingContent where there is none."""
        files = self._pictures.files_of(item)
        found = [self._digests[file] for file in files if file not in self._missing]
        if not found:
            raise MissingContent("; ".join(self._missing[file] for file in files))
        return found

    def partly(self, item: str) -> str | None:
        files = self._pictures.files_of(item)
        reasons = [self._missing[file] for file in files if file in self._missing]
        return f"{len(reasons)} of {len(files)} files left out: {'; '.join(reasons)}" if reasons else None

    def prepare(self, items: list[str], finished: Container[tuple[str, str]] = ()) -> Iterator[int]:
        """Prepare items in their order; yields how many are ready, after each chunk.

        Args:
            finished: items with their digests whose pictures are not needed.

        Raises:
            ValueError: a process died.
            OSError: the cache cannot be written.
        """
        chunks = deque(items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
        n_left, n_ready = len(items), 0
        begun: deque[tuple[list[str], list[Path], Future[Outcome] | None]] = deque()
        with ThreadPoolExecutor(READING) as readers:
            while chunks or begun:
                while chunks and len(begun) <= self._ahead:
                    chunk = chunks.popleft()
                    needed = self._needed(chunk, finished, readers)
                    begun.append((chunk, needed, self._begin(needed, n_left)))
                    n_left -= len(chunk)
                chunk, needed, task = begun.popleft()
                self._take(needed, task)
                n_ready += len(chunk)
                yield n_ready

    @property
    def _ahead(self) -> int:
        return 0 if self._workers is None else 2 * self._workers.n

    def _needed(
        self, items: list[str], finished: Container[tuple[str, str]], readers: ThreadPoolExecutor
    ) -> list[Path]:
        """The pictures that are not in the cache, of items that are not finished."""
        files = [file for item in items for file in self._pictures.files.get(item, ())]
        for file, outcome in zip(files, readers.map(self._hashed, files), strict=True):
            if isinstance(outcome, MissingContent):
                self._missing[file] = str(outcome)
            else:
                self._digests[file] = outcome
        needed = []
        for item in items:
            mine = [file for file in self._pictures.files.get(item, ()) if file not in self._missing]
            if mine and (item, joined([self._digests[file] for file in mine])) not in finished:
                needed += [file for file in mine if self._digests[file] not in self.cache]
        return needed

    def _hashed(self, file: Path) -> str | MissingContent:
        try:
            return self._pictures.file_digest(file)
        except MissingContent as reason:
            return reason

    def _begin(self, needed: list[Path], n_left: int) -> Future[Outcome] | None:
        """The task of preparing them in a process; None where this one is to do it."""
        if not needed:
            return None
        if self._workers is None:
            n = self._n_workers
            if n is None:
                n = len(os.sched_getaffinity(0)) if n_left >= WORTH_PROCESSES else 0
            if n == 0:
                return None
            self._workers = Workers(n, self._preparation, self.cache.folder)
        return self._workers.begin(needed)

    def _take(self, needed: list[Path], task: Future[Outcome] | None) -> None:
        if not needed:
            return
        try:
            if task is None:
                found, file = prepare_pictures(self._preparation, needed, self.cache.folder)
            else:
                found, file = task.result()
        except BrokenProcessPool as error:
            raise ValueError(
                "a process that prepares pictures was killed, such as for its memory; set fewer workers"
            ) from error
        if file is not None:
            self.cache.take(file)
        for path, outcome in zip(needed, found, strict=True):
            if outcome.reason is None:
                self._digests[path] = outcome.digest
            else:
                self._missing[path] = outcome.reason


def prepared(
    pictures: Pictures, preparation: Preparation, folder: Path, workers: int | None, memory: int = MAPPED
) -> PreparedPictures:
    """Pictures behind a cache in a folder; arguments as of :class:`PreparedPictures` and :class:`PixelCache`."""
    return PreparedPictures(pictures, preparation, PixelCache(folder, preparation, memory), workers)


class PixelRows:
    """Some pictures by place, read from the cache's files when they are asked for.

    Args:
        cache: that has them.
        digests: of their files.
    """

    def __init__(self, cache: PixelCache, digests: list[str]):
        self._cache, self._digests = cache, digests

    def __getitem__(self, places: Tensor) -> Tensor:
        """uint8 ``[k, 3, H, W]`` of places ``[k]``."""
        return torch.from_numpy(np.stack([self._cache[self._digests[place]] for place in places.tolist()]))
