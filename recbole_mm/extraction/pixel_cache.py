"""Resized pictures on disk, memory-mapped: what extraction, tuning and attribution have prepared once."""

from __future__ import annotations

import hashlib
import mmap
import secrets
import struct
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from recbole_mm.encoder.preparation import Preparation
from recbole_mm.io.arrow_sizes import unpacked_size
from recbole_mm.io.errors import naming
from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import open_regular
from recbole_mm.io.temporaries import delete

MAPPED = 512 << 20
SUFFIX = ".pixels.arrow"
_HASH = b"sha256"


class PixelCache:
    """Pixels by the digest of the picture's file, whatever its name and data set.

    Files of some pictures each are written to the end before they get their names, so that any number of processes
    may write and read; what two of them wrote is kept twice. Pixels of other preparations are in other folders. A file
    is read whole, and held against the hash of its content, when a picture of it is first looked for.

    Args:
        folder: made on first use.
        preparation: that gives the pixels.
        memory: most bytes of pictures that are mapped at a time, one file's at least.
    """

    def __init__(self, folder: Path, preparation: Preparation, memory: int = MAPPED):
        self.shape = preparation.shape
        self.folder = folder / preparation.key
        self._memory = memory
        self._places: dict[str, tuple[Path, int]] = {}
        self._mapped: OrderedDict[Path, np.ndarray] = OrderedDict()  # the one used last at the end
        self._whole: set[Path] = set()
        for file in sorted(self.folder.glob(f"[0-9a-f]*{SUFFIX}")):
            self.take(file)

    def take(self, file: Path) -> None:
        """Have the pictures of one more file of the folder, as :func:`write_pixels` wrote it."""
        try:
            digests, _ = read_pixels(file, self.shape)
        except (OSError, ValueError):
            delete(file)  # damaged: its pictures are prepared again
            return
        self._places |= {digest: (file, place) for place, digest in enumerate(digests)}

    def __contains__(self, digest: str) -> bool:
        return digest in self._places and self._is_whole(self._places[digest][0])

    def _is_whole(self, file: Path) -> bool:
        """Whether a file has changed since it was written; if so it goes, and its pictures are prepared again."""
        if file in self._whole:
            return True
        try:
            check_pixels(file, self.shape)
        except (OSError, ValueError):
            self._places = {digest: place for digest, place in self._places.items() if place[0] != file}
            delete(file)
            return False
        self._whole.add(file)
        return True

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, digest: str) -> np.ndarray:
        """Bytes ``[3, H, W]``, mapped and not in memory; raises OSError or ValueError where the file has gone bad."""
        file, place = self._places[digest]
        return self._pixels(file)[place]

    def _pixels(self, file: Path) -> np.ndarray:
        if file in self._mapped:
            self._mapped.move_to_end(file)
            return self._mapped[file]
        _, pixels = read_pixels(file, self.shape)
        self._mapped[file] = pixels
        while len(self._mapped) > 1 and sum(array.nbytes for array in self._mapped.values()) > self._memory:
            self._mapped.popitem(last=False)
        return pixels


def write_pixels(folder: Path, digests: Sequence[str], pixels: np.ndarray) -> Path:
    """Write pictures ``[n, 3, H, W]`` with their digests into a file of a cache's folder; raises OSError naming it."""
    file = folder / f"{secrets.token_hex(8)}{SUFFIX}"
    with naming(file):
        folder.mkdir(parents=True, exist_ok=True)
    width = int(np.prod(pixels.shape[1:]))
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(pixels), [None, pa.py_buffer(pixels)])
    table = pa.table({"digest": pa.array(digests, pa.string()), "pixels": values})
    table = table.replace_schema_metadata({_HASH: _hash_of(digests, pixels)})
    with atomic_file(file) as temporary, pa.OSFile(str(temporary), "wb") as sink:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=max(len(pixels), 1))
    return file


def check_pixels(file: Path, shape: tuple[int, ...]) -> None:
    """Raise as :func:`read_pixels`, and ValueError where a file's content is not what was written."""
    digests, pixels = read_pixels(file, shape)
    with open_regular(file) as opened:
        written = (pa.ipc.open_file(opened).schema.metadata or {}).get(_HASH)
    if written != _hash_of(digests, pixels):
        raise ValueError(f"{file} has changed since it was written")


def _hash_of(digests: Sequence[str], pixels: np.ndarray) -> bytes:
    found = hashlib.sha256("\n".join(digests).encode())
    found.update(np.ascontiguousarray(pixels).data)
    return found.hexdigest().encode()


def read_pixels(file: Path, shape: tuple[int, ...]) -> tuple[list[str], np.ndarray]:
    """Digests, and the pictures ``[n, 3, H, W]`` as a map of the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of pictures of another shape.
    """
    with open_regular(file) as opened:  # never a pipe
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    columns = {"digest": pa.string(), "pixels": pa.binary(int(np.prod(shape)))}
    try:
        opened = pa.ipc.open_file(pa.py_buffer(content))
        if dict(zip(opened.schema.names, opened.schema.types, strict=True)) != columns:
            raise ValueError(f"{file} has pictures of another size than {shape}")
        if unpacked_size(memoryview(content)):
            raise ValueError(f"{file} is packed, as none is that was written here")
        table = opened.read_all()
        table.validate(full=True)  # damaged texts would be read from anywhere in memory
        digests, [chunk] = table["digest"].to_pylist(), table["pixels"].chunks
    except (pa.ArrowException, KeyError, struct.error, IndexError) as error:
        raise ValueError(f"{file} is no whole file of pixels ({error})") from error
    if chunk.offset or table["digest"].null_count:
        raise ValueError(f"{file} is not as it was written")
    pixels = np.frombuffer(chunk.buffers()[1], np.uint8, len(digests) * int(np.prod(shape)))
    return digests, pixels.reshape(-1, *shape)
