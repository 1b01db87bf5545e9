"""The image tower of a tuned dual encoder, as attribution reads it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.encoder.hooked_dual_encoder import blocks_of
from recbole_mm.encoder.image_encoder import ImageEncoder
from recbole_mm.encoder.vision_tower import has_class_token


class TunedTower(ImageEncoder):
    """Its activation is as :class:`~recbole_mm.encoder.vision_tower.VisionTower`'s, of the patches without the prompts.

    Args:
        encoder: tuned, or not.
    """

    def __init__(self, encoder: DualEncoder):
        preparation = encoder.preparation
        super().__init__(encoder.width, list(preparation.mean), list(preparation.std), encoder.processor)
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        self.encoder.set_training(False)
        return self.encoder.of_normalised(pixels)

    def activation(self, pixels: Tensor) -> Tensor:
        tower = self.encoder.model.vision_model
        last, n_first = blocks_of(tower)[-1], int(has_class_token(tower))
        seen: list[Tensor] = []

        def before(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
            seen.append(inputs[0] if inputs else options["hidden_states"])

        def behind(module: nn.Module, inputs: tuple[Any, ...], output: Tensor | tuple[Any, ...]) -> None:
            seen.append(output if isinstance(output, Tensor) else output[0])

        if n_first:
            handle = last.register_forward_pre_hook(before, with_kwargs=True)
        else:
            handle = last.register_forward_hook(behind)
        try:
            self(pixels)
        finally:
            handle.remove()
        patch = self.encoder.model.config.vision_config.patch_size
        rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch
        patches = seen[0][:, n_first : n_first + rows * columns]  # the prompts stand behind them
        return patches.transpose(1, 2).unflatten(2, (rows, columns))
