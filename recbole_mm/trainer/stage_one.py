"""A backbone inside a staged model: its settings, and its weights from a first stage that was trained before."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recbole_mm.trainer.checkpoint import fingerprint, read_safe_pair


class BackboneSettings:
    """The configuration as the backbone sees it: its own `backbone` key, where it has one, is ours to choose."""

    def __init__(self, config):
        self._config = config

    def __getitem__(self, key: str) -> Any:
        return self._config["backbone_of_backbone" if key == "backbone" else key]


def backbone_weights(file: str, wrapper: str, backbone: str, dataset) -> dict[str, Tensor]:
    """The backbone's weights from the first stage of another run, or from a run of the backbone itself.

    Args:
        file: checkpoint, any of its three files.
        wrapper: name of the staged model, whose checkpoints hold the backbone as ``backbone.``.
        backbone: name of this run's backbone.
        dataset: this run's training data.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is damaged, of another backbone or of other data; the message names both sides.
    """
    saved = read_safe_pair(file)
    theirs = saved.settings.get("backbone") if saved.model == wrapper else saved.model
    if theirs != backbone:
        raise ValueError(f"stage_one_checkpoint {file} has backbone {theirs}, this run has {backbone}")
    if saved.fingerprint != fingerprint(dataset):
        raise ValueError(
            f"stage_one_checkpoint {file} was trained on '{saved.dataset}', whose users, items or training "
            f"interactions are not those of this run's '{dataset.dataset_name}'"
        )
    prefix = "backbone." if saved.model == wrapper else ""
    return {k.removeprefix(prefix): v for k, v in saved.weights.items() if k.startswith(prefix)}


def load_backbone(backbone: nn.Module, weights: dict[str, Tensor], file: str) -> None:
    """Give the backbone the weights of `file`; raises ValueError where their names or shapes are not its own."""
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"stage_one_checkpoint {file} has other settings than this run: {error}") from error
