"""The weights of a staged model's backbone from a first stage that was trained before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.io.errors import one_line
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.run_settings import RunSettings
from recbole_mm.trainer.checkpoint import SafeCheckpoint, has_safe_pair, read_safe_pair, read_trusted
from recbole_mm.trainer.fingerprints import check_same_features, feature_fingerprints, fingerprint

# what a backbone reads that decides how it is trained, or where, not what its weights mean
OF_THE_TRAINING = {"seed", "device", "dataset", "checkpoint_dir", "graph_dir", "train_batch_size", "reg_weight",
                   "weak_weight", "preference_learning_rate", "adapter_learning_rate"}  # fmt: skip


def backbone_weights(file: str, model: BackboneModel, dataset: MultimodalDataset) -> dict[str, Tensor]:
    """The backbone's weights from the first stage of another run, or from a run of the backbone itself.

    Args:
        file: checkpoint, any of its three files.
        model: the staged model, with `backbone_name` and `backbone_settings`.
        dataset: this run's training data.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is damaged, of another backbone, stage or settings, or of other data; the message names both
            sides.
    """
    checkpoint = f"stage_one_checkpoint {file}"
    saved = _read(file, checkpoint, RunSettings.of(dataset.config).trust_pickle)
    is_staged = _check_backbone(checkpoint, saved, type(model).__name__, model.backbone_name)
    if saved.fingerprint != fingerprint(dataset):
        raise ValueError(
            f"{checkpoint} was trained on '{saved.dataset}', whose users, items or training interactions are not "
            f"those of this run's '{dataset.dataset_name}'"
        )
    check_same_features(checkpoint, saved.features, feature_fingerprints(model, dataset))
    aliases = type(model.backbone).settings_class.aliases
    _check_same_settings(checkpoint, saved, is_staged, model.backbone_settings, aliases)
    prefix = "backbone." if is_staged else ""
    return {k.removeprefix(prefix): v for k, v in saved.weights.items() if k.startswith(prefix)}


def check_has_stage_one(file: str, stages: tuple[str, ...], model: Any) -> None:
    """Raise ValueError where a run has no stage one before another, whose place `file` would take.

    Args:
        file: ``stage_one_checkpoint``.
        stages: of the run; none where they are not known yet.
        model: class of its model.
    """
    if len(stages) == 1:
        reason = "two_stage: False" if stages[0] == "two" else model.without_stage_two
        raise ValueError(
            f"stage_one_checkpoint: {file} takes the place of stage one before stage two, and with {reason} there is "
            f"stage {stages[0]} alone; leave one of both out"
        )


def check_stage_one(
    file: str, model: str, backbone: str, settings: dict[str, Any], aliases: Mapping[str, str], trust_pickle: bool
) -> None:
    """Raise what :func:`backbone_weights` would, as far as the file shows it before data are loaded.

    Args:
        file: checkpoint, any of its three files.
        model, backbone: names of the run's.
        settings: of the backbone, those that it declares.
        aliases: earlier names of these.
        trust_pickle: whether a `.pth` alone may be unpickled.
    """
    checkpoint = f"stage_one_checkpoint {file}"
    saved = _read(file, checkpoint, trust_pickle)
    is_staged = _check_backbone(checkpoint, saved, model, backbone)
    _check_same_settings(checkpoint, saved, is_staged, settings, aliases)


def _check_backbone(checkpoint: str, saved: SafeCheckpoint, model: str, backbone: str) -> bool:
    """Whether a checkpoint is of a staged model, and not of the backbone alone.

    Raises ValueError for one of another backbone, or of a later stage.
    """
    is_staged = saved.model == model
    saved_backbone = saved.settings.get("backbone") if is_staged else saved.model
    if saved_backbone != backbone:
        raise ValueError(f"{checkpoint} has backbone {saved_backbone}, this run has {backbone}")
    stage = saved.other_parameter.get("stage") if is_staged else "one"
    if stage != "one":
        raise ValueError(
            f"{checkpoint} is of stage {stage}, and this run would begin stage two with it; give the file of stage one"
        )
    return is_staged


def _read(file: str, checkpoint: str, trust_pickle: bool) -> SafeCheckpoint:
    try:
        if not Path(file).exists() or has_safe_pair(Path(file)):
            return read_safe_pair(file)
    except (OSError, ValueError) as error:
        raise type(error)(f"stage_one_checkpoint: {error}") from error
    if trust_pickle:
        return read_trusted(file)
    raise FileNotFoundError(
        f"{checkpoint} has no .safetensors and .json of its name beside it, which its weights are read from; "
        "restore them, train stage one again, or set trust_pickle: True if you trust the .pth, a pickle"
    )


def _check_same_settings(
    checkpoint: str, saved: SafeCheckpoint, is_staged: bool, settings: dict[str, Any], aliases: Mapping[str, str]
) -> None:
    different = []
    for key in sorted(settings.keys() - OF_THE_TRAINING):
        names = [key, *(earlier for earlier, now in aliases.items() if now == key)]
        if is_staged:  # whose own `backbone` was never the backbone's
            names = [name for name in names if name != "backbone"]
        there = next((saved.settings[name] for name in names if name in saved.settings), settings[key])
        if there != settings[key]:
            different.append(f"{key}: {there} there, {settings[key]} here")
    if different:
        raise ValueError(
            f"{checkpoint} was trained with other settings of the backbone than this run's ({'; '.join(different)}); "
            "set the same in both"
        )


def load_stage_one(model: BackboneModel, file: str, dataset: MultimodalDataset) -> None:
    """Give a staged model the backbone's weights of `file`; arguments and errors as of :func:`backbone_weights`.

    Raises ValueError also where the names or shapes of the weights are not the backbone's.
    """
    try:
        model.take_stage_one(backbone_weights(file, model, dataset))
    except RuntimeError as error:
        raise ValueError(
            f"stage_one_checkpoint {file} has other weights than this run's backbone: {one_line(error)}"
        ) from error
