"""What an encoder's files may not do: run code of theirs, be unpickled, or lead elsewhere.

The folder is read before any library is given it, so that the answer does not hang on the library's version.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from recbole_mm.encoder.limits import check_limits, leaves
from recbole_mm.io.reading import open_regular, regular_file

CONFIG_FILE = "config.json"
MODULES_FILE = "modules.json"
ADAPTER_FILE = "adapter_config.json"
_OWN_TYPES = "sentence_transformers."
_TRUSTED_TYPES = (_OWN_TYPES, "torch.nn.")
_TYPE_KEYS = ("type", "types", "tokenizer_class", "activation_function")
_DTYPE_KEYS = ("dtype", "torch_dtype")
_DTYPES = re.compile(r"auto|(torch\.)?(bfloat16|half|double|float(16|32|64|8_\w+)?)")
_PICKLES = ("pytorch_model", "adapter_model")
_READ = (".json", ".safetensors", ".txt", ".model", ".vocab", ".bpe", ".codes", ".tiktoken")
_SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


class EncoderError(Exception):
    """What is wrong with an encoder, without its name; :func:`~recbole_mm.encoder.pretrained.clear_errors` adds it."""


def check_safe(folder: Path) -> None:
    """Raise EncoderError where loading the folder would import what it names, unpickle, or read other folders.

    Or where it would build an enormous model, or read what is no file.

    Raises:
        OSError: a name that a library would read is a pipe, a device, a folder, or leads nowhere.
    """
    if (folder / ADAPTER_FILE).exists():
        raise EncoderError(
            f"it is an adapter ({ADAPTER_FILE}), whose weights belong to another model; save the merged model "
            "(merge_and_unload of peft, then save_pretrained)"
        )
    places = {}
    for where, folders, names in os.walk(folder):
        places[Path(where)] = names
        for name in filter(lambda file: file.endswith(_READ), folders + names):
            regular_file(Path(where) / name)
    for place, names in places.items():
        _check_weights(place.relative_to(folder), names)
        for name in names:
            if name == MODULES_FILE or "config" in name and name.endswith(".json") or name.endswith(".index.json"):
                _check_settings(place / name, folder)
    if (folder / MODULES_FILE).exists():
        _check_modules(folder, places.keys())


def _check_weights(place: Path, names: list[str]) -> None:
    pickles = sorted(name for name in names if name.startswith(_PICKLES) and ".bin" in name)
    if pickles and not any(name in _SAFE_WEIGHTS for name in names):
        raise EncoderError(
            f"its weights {place / pickles[0]} are a pickle, which can run code; ask for model.safetensors, or where "
            "you trust them load them with transformers and save_pretrained them into a new folder"
        )


def _check_settings(file: Path, folder: Path) -> None:
    shown = file.relative_to(folder)
    settings = read_settings(file, shown)
    if file.name != MODULES_FILE and not isinstance(settings, dict):
        raise EncoderError(f"{shown} holds no settings by name; replace it")
    for key, value in leaves(settings):
        if isinstance(value, str):
            _check_word(shown, key, value)
    if file.name == CONFIG_FILE:
        try:
            check_limits(settings)
        except ValueError as error:
            raise EncoderError(f"{shown}: {error}; replace it") from error
    if file.name.endswith(".index.json"):
        _check_shards(settings, shown)


def _check_word(shown: Path, key: str, text: str) -> None:
    if key in _TYPE_KEYS and "." in text and not text.startswith(_TRUSTED_TYPES):
        raise EncoderError(f"{shown} names {text!r}, code that is not of the library's own; nothing was run")
    if key in _DTYPE_KEYS and not _DTYPES.fullmatch(text):
        raise EncoderError(f"{shown}: {key} is {text!r}, which is no kind of number; float32 is one")
    if key.endswith("attn_implementation") and "/" in text:
        raise EncoderError(f"{shown} names {text!r}, code on the hub, for its attention; remove the entry")


def _check_shards(index: Any, shown: Path) -> None:
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict):
        raise EncoderError(f"{shown} has no weight_map; replace it")
    if not shown.name.startswith(_PICKLES):
        for shard in shards.values():
            if not isinstance(shard, str) or not shard.endswith(".safetensors") or Path(shard).name != shard:
                raise EncoderError(f"{shown} names {shard!r}, which is no .safetensors file beside it; replace it")


def _check_modules(folder: Path, places: Any) -> None:
    modules = read_settings(folder / MODULES_FILE, Path(MODULES_FILE))
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise EncoderError(f"{MODULES_FILE} is no list of modules; replace it")
    for module in modules:
        kind, path = module.get("type"), module.get("path")
        if not isinstance(kind, str) or not kind.startswith(_OWN_TYPES):
            raise EncoderError(
                f"{MODULES_FILE} names the module type {kind!r}, which is not of the package sentence_transformers; "
                "nothing was run"
            )
        if not isinstance(path, str) or folder / path not in places:
            raise EncoderError(f"{MODULES_FILE} names the path {path!r}, which is no folder in the encoder's")


def read_settings(file: Path, shown: Path) -> Any:
    """What a JSON file of an encoder holds; raises EncoderError where it is none."""
    with open_regular(file) as opened:
        content = opened.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EncoderError(f"{shown} is no JSON ({error}); replace it") from error


def is_number(value: Any) -> bool:
    """Whether a setting is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
