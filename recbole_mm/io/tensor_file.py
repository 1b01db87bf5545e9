"""Nested values with tensors in one safetensors file: one atomic write, read without unpickling, bit flips found."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recbole_mm.io.files import temporary_folder
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular

_TAGS = ("tensor", "array", "tuple", "dict")


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A value as json can hold it; its tensors go into `tensors`, under names that begin with `name`.

    Takes None, booleans, numbers, strings, tensors, numpy arrays, lists, tuples and dictionaries of these, whose keys
    may be any of the first four.

    Raises ValueError naming the part that is of another type.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {"array": pack(torch.from_numpy(value), name, tensors)["tensor"]}
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            raise ValueError(f"{name} is a {value.layout} tensor, which cannot be saved; keep it dense")
        while name in tensors:  # keys 1 and "1" of one dictionary
            name += "_"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, (list, tuple)):
        items = [pack(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        items = [[pack(key, name, {}), pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]
        is_plain = all(isinstance(key, str) for key in value) and not value.keys() & set(_TAGS)
        return dict(items) if is_plain else {"dict": items}
    raise ValueError(f"{name} is a {type(value).__name__}, which cannot be saved; use numbers, text, tensors, lists")


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of :func:`pack`, which takes its tensors out of `tensors`.

    Raises TypeError or ValueError for what :func:`pack` did not make.
    """
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"tensor"}:
        return _taken(value["tensor"], tensors)
    if value.keys() == {"array"}:
        return _taken(value["array"], tensors).numpy()
    if value.keys() == {"tuple"}:
        return tuple(unpack(value["tuple"], tensors))
    if value.keys() == {"dict"}:
        return {unpack(key, tensors): unpack(item, tensors) for key, item in value["dict"]}
    return {key: unpack(item, tensors) for key, item in value.items()}


def _taken(name: str, tensors: dict[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise ValueError(f"there is no tensor {name!r}")
    return tensors.pop(name)


def write_tensor_file(path: Path, tensors: dict[str, Tensor], content: Any) -> None:
    """Write tensors, and `content` (json values) with a digest of all of it as the file's metadata.

    Raises OSError naming the file where it cannot be written.
    """
    tensors = _own_memory(tensors)
    text = json.dumps(content)
    save_tensors(path, tensors, {"content": text, "digest": _digest(tensors, text)})


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """``safetensors.torch.save_file``, of which a killed process leaves nothing that nobody deletes.

    It writes beside its file under a name of its own, which is in a temporary folder of ours here.

    Raises OSError naming the file where it cannot be written.
    """
    with temporary_folder(path) as folder:
        try:
            save_file(tensors, folder / "tensors", metadata)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error
        os.replace(folder / "tensors", path)


def read_content(path: Path) -> Any:
    """The `content` of a file, without its tensors; None where another program wrote it.

    Raises:
        OSError: it is no regular file, or may not be read.
        ValueError: it is damaged.
    """
    with named_errors(path), _opened(path) as file:
        text = (file.metadata() or {}).get("content")
        return None if text is None else parse_json(text)


def read_tensor_file(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Tensors and content.

    Raises:
        OSError: it is no regular file, or may not be read.
        ValueError: it is damaged, or has changed since it was written.
    """
    with named_errors(path), _opened(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        if "content" not in metadata:
            return tensors, None
        if metadata.get("digest") != _digest(tensors, metadata["content"]):
            raise ValueError("its content has changed since it was written")
        return tensors, parse_json(metadata["content"])


def _opened(path: Path) -> Any:
    open_regular(path).close()  # safetensors would wait for a pipe, and calls what may not be read not there
    return safe_open(path, "pt")


class named_errors:
    """Makes each way in which a file can be unreadable a ValueError that names it; OSErrors stay."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, (SafetensorError, ValueError, KeyError, TypeError, RecursionError)):
            raise ValueError(f"{self._path} is damaged ({error}); restore the file") from error


def _own_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, whole, and each with memory of its own, which tied layers do not have."""
    taken: set[int] = set()
    own = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        own[name] = tensor
    return own


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
