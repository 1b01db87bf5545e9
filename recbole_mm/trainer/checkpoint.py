"""What a checkpoint holds and how it reaches the disk.

RecBole's `.pth` is a pickle: loading one runs whatever it says. Beside each stands a pair of the same name that opens
without unpickling: `.safetensors` (weights) and `.json` (model, configuration, data set, metrics). All three are
written to a temporary file first and renamed, so that a killed process leaves the previous one whole.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FORMAT = 1
KEYS_OF_THE_PROCESSES = ("local_rank", "nproc", "world_size", "ip", "port", "offset", "group_offset")


@dataclass(frozen=True)
class SafeCheckpoint:
    """A checkpoint that was opened without unpickling."""

    path: Path
    model: str
    dataset: str
    settings: dict[str, Any]
    fingerprint: str | None
    valid_result: dict[str, float] | None
    weights: dict[str, Tensor]
    other_parameter: dict[str, Any]
    features: dict[str, str] | None


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; a failure leaves `path` as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_safe_pair(path: Path, config, model, data_fingerprint: str | None, features, valid_result) -> None:
    """Write `<stem>.safetensors` and `<stem>.json` beside the `.pth` at `path`."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    description = {
        "format": FORMAT,
        "model": config["model"],
        "dataset": config["dataset"],
        "fingerprint": data_fingerprint,
        "features": features,
        "valid_result": None if valid_result is None else {k: float(v) for k, v in valid_result.items()},
        "other_parameter": model.other_parameter(),
        "settings": settings(config),
    }
    write_atomically(path.with_suffix(".safetensors"), lambda file: save_file(weights, file))
    text = json.dumps(description, indent=2)
    write_atomically(path.with_suffix(".json"), lambda file: file.write_text(text, encoding="utf-8"))


def settings(config) -> dict[str, Any]:
    """Everything a Config was made from, as plain values: enough to make it again."""
    merged = {**config.internal_config_dict, **config.external_config_dict}
    left_out = {"model", "dataset", "MODEL_TYPE", *KEYS_OF_THE_PROCESSES}
    if "eval_batch_size" not in config.external_config_dict:
        left_out.add("eval_batch_size")  # RecBole's default, which ours takes the place of unless a user sets it
    merged = {k: v.item() if isinstance(v, np.generic) else v for k, v in merged.items() if k not in left_out}
    return {k: v for k, v in merged.items() if _is_plain(v)}


def of_one_process(config):
    """A Config as a run in one process has it: what is opened later must not wait for the others of its training."""
    alone = copy.copy(config)
    for part in ("internal_config_dict", "external_config_dict", "final_config_dict"):
        values = {key: value for key, value in getattr(config, part).items() if key not in KEYS_OF_THE_PROCESSES}
        setattr(alone, part, values)
    alone.final_config_dict |= {"single_spec": True, "local_rank": 0}
    return alone


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, (str, int, float, bool))


def fingerprint(dataset) -> str:
    """Hash of a data set's user and item ids in their internal order and of its split's interactions, in any order."""
    digest = hashlib.sha256()
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update("\n".join(map(str, dataset.field2id_token[field])).encode())
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    digest.update(np.sort(users.astype(np.int64) * dataset.item_num + items).tobytes())
    return digest.hexdigest()


def feature_fingerprints(model, dataset) -> dict[str, str]:
    """Hash of the features of each modality that a model reads, in its order."""
    return {name: dataset.modality_fingerprint(name) for name in model.modalities}


def check_same_features(checkpoint: str, theirs: dict[str, str] | None, ours: dict[str, str]) -> None:
    """Raise ValueError, which names both sides, where a checkpoint was trained on other features than this run's.

    Args:
        checkpoint: for the message, such as ``checkpoint FILE``.
        theirs: its :func:`feature_fingerprints`; None for one written before there were any, which passes.
        ours: those of this run.
    """
    if theirs is None:
        return
    if list(theirs) != list(ours):
        raise ValueError(
            f"{checkpoint} was trained on the modalities {', '.join(theirs)} in this order, this run has "
            f"{', '.join(ours)}; set `modalities` to the same"
        )
    changed = [name for name in ours if theirs[name] != ours[name]]
    if changed:
        raise ValueError(
            f"{checkpoint} was trained on other {' and '.join(changed)} features than this run reads; bring its files "
            "and its missing_modality and normalize_feature back, or train again"
        )


def has_safe_pair(path: Path) -> bool:
    """Whether both files stand beside the checkpoint that open without unpickling."""
    return path.with_suffix(".json").exists() and path.with_suffix(".safetensors").exists()


def read_pickle(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a trusted `.pth`; raises ValueError where it is damaged."""
    try:
        content = torch.load(path, map_location=device, weights_only=False)
    except Exception as error:  # a damaged pickle can ask for anything at all
        raise ValueError(f"checkpoint {path} is damaged and cannot be opened ({error!r})") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is no checkpoint of a model")
    return content


def read_safe_pair(file: str | os.PathLike) -> SafeCheckpoint:
    """Open a checkpoint by any of its three names without unpickling.

    Raises:
        FileNotFoundError: the file, or its `.safetensors`/`.json` pair, is not there.
        ValueError: one of the pair is damaged.
    """
    path = Path(file)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    described, weighed = path.with_suffix(".json"), path.with_suffix(".safetensors")
    for part in (described, weighed):
        if not part.exists():
            raise FileNotFoundError(
                f"checkpoint {path} has no {part.name} beside it; restore that file, or pass --trust-pickle to open "
                f"the .pth, which is a pickle and runs the code in it, if you trust where it came from"
            )
    try:
        content = json.loads(described.read_text(encoding="utf-8"))
        weights = load_file(weighed)
        return SafeCheckpoint(
            path, content["model"], content["dataset"], content["settings"], content["fingerprint"],
            content["valid_result"], weights, content["other_parameter"], content.get("features"),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"checkpoint {path} is damaged ({error!r}); train again or restore the file") from error


def one_line(error: Exception) -> str:
    """The message of an error of torch's, which may have many lines, for an error of ours."""
    return " ".join(str(error).split())


def random_state() -> dict[str, Any]:
    """The states of all random generators a training run draws from."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what :func:`random_state` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
