"""What a checkpoint holds and how it reaches the disk.

RecBole's `.pth` is a pickle: loading one runs whatever it says. Beside each stands a pair of the same name that opens
without unpickling: `.safetensors` (weights) and `.json` (model, configuration, data set, metrics), and
`.resume.safetensors`, the state that training goes on from. All four of an epoch carry one write id and are made
whole under other names before the first of them is renamed. A process killed between these renames, which go in the
order resume, pth, safetensors, json, leaves

* the new state beside the old weights: a resumed run writes the others again, whoever opens the pair gets the old one;
* the new weights beside the old description: the weights carry the new one too, and the write id they replace.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from torch import Tensor

from recbole_mm.host.config import KEYS_OF_THE_PROCESSES, default_settings, of_one_process, user_settings
from recbole_mm.io.errors import one_line
from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import regular_file, sha256
from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import named_errors, pack, read_content, read_tensor_file, unpack, write_tensor_file
from recbole_mm.trainer.description import FORMAT, Description, check_same, parse_description, read_description
from recbole_mm.trainer.training_state import TrainingState, write_state

# settings that change no result
OF_THE_RUN = {
    *"gpu_id use_gpu state show_progress log_wandb wandb_project eval_batch_users".split(),
    *"data_path checkpoint_dir graph_dir resume_from save_dataset dataset_save_path".split(),
    *"last_state_minutes trust_pickle".split(),
    *"save_dataloaders dataloaders_save_path concurrent_trials cpus_per_trial gpus_per_trial".split(),
}


@dataclass(frozen=True)
class SafeCheckpoint:
    """A checkpoint that was opened without unpickling.

    Attributes:
        path: the file it was asked for by.
        data_paths: folders that its data may be in, the one of its settings first.
    """

    path: Path
    model: str
    dataset: str
    settings: dict[str, Any]
    fingerprint: str | None
    valid_result: dict[str, float] | None
    weights: dict[str, Tensor]
    other_parameter: dict[str, Any]
    features: dict[str, str] | None
    write_id: str | None = None
    data_paths: tuple[str, ...] = ()


# ---------------------------------------------------------------- writing


def write_checkpoint(files: RunFiles, config: Config, state: TrainingState) -> None:
    """Write the best epoch's state in all its forms, or none of them; raises OSError naming the file that failed."""
    tensors = dict(state.state_dict)
    other_parameter = pack(state.other_parameter, "other_parameter", tensors)
    description = {
        "format": FORMAT,
        "write_id": state.write_id,
        "replaces": _write_id_of(files.description),
        "model": state.model,
        "dataset": state.dataset,
        "fingerprint": state.fingerprint,
        "features": state.features,
        "valid_result": state.best_valid_result,
        "other_parameter": other_parameter,
        "settings": settings(config),
        **_data_paths(config, files),
    }
    with ExitStack() as renames:  # in the reverse order of these lines, and only where all could be written
        described = renames.enter_context(atomic_file(files.description))
        weighed = renames.enter_context(atomic_file(files.weights))
        pickled = renames.enter_context(atomic_file(files.pickle))
        resumed = renames.enter_context(atomic_file(files.resume))
        write_state(resumed, state)
        _write_pickle(pickled, {"config": of_one_process(config, KEYS_OF_THE_PROCESSES), **dict(state)})
        write_tensor_file(weighed, tensors, description)
        text = json.dumps({**description, "sha256": sha256(weighed)}, indent=2)
        described.write_text(text, encoding="utf-8")


def _write_pickle(path: Path, content: dict[str, Any]) -> None:
    try:
        torch.save(content, path, pickle_protocol=4)
    except RuntimeError as error:  # as torch's own writer ends on a full disk
        raise OSError(f"{path} cannot be written: {one_line(error)}") from error


def _write_id_of(description: Path) -> str | None:
    """The write id of the description that stands there; None where there is none that can be read."""
    try:
        return read_description(description).write_id
    except (ValueError, OSError):
        return None


def _data_paths(config: Config, files: RunFiles) -> dict[str, str]:
    """Where the data are, for a reader in another working folder, and for one that has moved both."""
    folder = Path(os.path.abspath(config["data_path"])).parent  # RecBole's config adds the data set's name
    try:
        relative = os.path.relpath(folder, files.pickle.absolute().parent)
    except ValueError:  # on another drive
        relative = str(folder)
    return {"data_path": str(folder), "data_path_from_here": relative}


def settings(config: Config) -> dict[str, Any]:
    """Everything a Config was made from, as plain values: enough to make it again."""
    merged = {**default_settings(config), **user_settings(config)}
    left_out = {"model", "dataset", "MODEL_TYPE", *KEYS_OF_THE_PROCESSES}
    if "eval_batch_size" not in user_settings(config):
        left_out.add("eval_batch_size")  # RecBole's default, which ours takes the place of unless a user sets it
    merged = {k: v.item() if isinstance(v, np.generic) else v for k, v in merged.items() if k not in left_out}
    return {k: v for k, v in merged.items() if _is_plain(v)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, (str, int, float, bool))


# ---------------------------------------------------------------- reading


def has_safe_pair(path: str | os.PathLike[str]) -> bool:
    """Whether what stands beside the checkpoint opens without unpickling: its weights and their description."""
    files = RunFiles.of(path)
    if not files.weights.exists():
        return False
    return files.description.exists() or read_content(files.weights) is not None


def read_safe_pair(file: str | os.PathLike[str]) -> SafeCheckpoint:
    """Open a checkpoint by any of its names without unpickling.

    Raises:
        FileNotFoundError: the file, or its `.safetensors`/`.json` pair, is not there.
        ValueError: one of the pair is damaged, of a later format, or not of the same write as the other.
    """
    path, files = Path(file), RunFiles.of(file)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"checkpoint {path} is a folder; give a file of a run, such as {path / 'NAME.pth'}")
    if not has_safe_pair(path):
        part = files.description if files.weights.exists() else files.weights
        never_had_one = part == files.weights and not files.description.exists()
        remedy = "RecBole's own models have none:" if never_had_one else "restore that file, or"
        raise FileNotFoundError(
            f"checkpoint {path} has no {part.name} beside it; {remedy} pass --trust-pickle to open the .pth, which is "
            f"a pickle and runs the code in it, if you trust where it came from"
        )
    tensors, content = read_tensor_file(files.weights)
    described = _description_of(files, content)
    with named_errors(files.description):
        other_parameter = unpack(described.other_parameter, tensors)
    here = files.pickle.absolute().parent
    data_paths = [described.data_path, described.data_path_from_here and str(here / described.data_path_from_here)]
    return SafeCheckpoint(
        path, described.model, described.dataset, described.settings, described.fingerprint, described.valid_result,
        tensors, other_parameter, described.features, described.write_id, tuple(filter(None, data_paths)),
    )  # fmt: skip


def _description_of(files: RunFiles, content: Any) -> Description:
    """That of the `.json`, or where a kill left an older one, that which the weights carry themselves."""
    own = None if content is None else parse_description(content, files.weights)
    if own is not None and not files.description.exists():
        return own
    described = read_description(files.description)
    if own is None and described.write_id is None:
        return described  # of format 1
    if own is not None and described.write_id == own.write_id:
        if described.sha256 != sha256(files.weights):
            raise ValueError(f"checkpoint {files.weights} has changed since it was written; restore the file")
        check_same(described, own, files.description)
        return described
    if own is not None and own.replaces == described.write_id:
        return own
    raise ValueError(
        f"checkpoint {files.weights} and {files.description.name} are of different runs or epochs; restore the two "
        "that were written together"
    )


def read_pickle(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a trusted `.pth`; raises ValueError where it is damaged, OSError where it is no file."""
    regular_file(path)
    try:
        content = torch.load(path, map_location=device, weights_only=False)
    except Exception as error:  # a damaged pickle can ask for anything at all
        raise ValueError(f"checkpoint {path} is damaged and cannot be opened ({error!r})") from error
    if not isinstance(content, dict) or not {"state_dict", "config"} <= content.keys():
        raise ValueError(f"{path} is no checkpoint of a model")
    return content


def read_trusted(file: str | os.PathLike[str]) -> SafeCheckpoint:
    """A trusted `.pth`, as :func:`read_safe_pair` gives the pair; raises ValueError where it is damaged."""
    return of_pickle(Path(file), read_pickle(Path(file)))


def of_pickle(path: Path, content: dict[str, Any]) -> SafeCheckpoint:
    """What :func:`read_pickle` gave of a trusted `.pth`, as :func:`read_safe_pair` gives the pair."""
    config = content["config"]
    return SafeCheckpoint(
        path, config["model"], config["dataset"], settings(config), content.get("fingerprint"),
        content.get("best_valid_result"), content["state_dict"], content.get("other_parameter") or {},
        content.get("features"),
    )  # fmt: skip
