"""Dual encoders of any family of transformers, such as SigLIP and BLIP, with prompts by hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.encoder.pretrained import projected
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.encoder.text_encoders import context_of, count_longer

BLOCKS = ("layers", "layer", "blocks")


class HookedDualEncoder(DualEncoder):
    """Both towers of a dual encoder as its own class computes them; prompts as PTMRec's, where a family's form allows.

    The J prompts ``p_l`` ``[n, width]`` come behind the image's tokens, and behind a text's first token, or before all
    (``prompts_lead``), as always of a SigLIP's, whose texts have no start. They are replaced before each of the first J
    blocks and taken out behind the last, so that what pools the tokens (SigLIP's attention, BLIP's class token) sees
    none. They have no positions.
    """

    def __init__(self, model: Any, tokenizer: Any, processor: Any, facts: dict[str, Any]):
        super().__init__(model, tokenizer, processor, facts)
        self._has_start = not str(model.config.model_type).startswith("siglip")
        self.context = context_of(model.text_model, model.config.text_config, tokenizer)
        with torch.no_grad():
            self.width = self.image_features(torch.zeros(1, *self.preparation.shape, dtype=torch.uint8)).shape[1]

    def tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask ``[n, length]``; SigLIP's are of one length and read whole."""
        self.truncated += count_longer(self.tokenizer, texts, self.context)
        padding = True if self._has_start else "max_length"
        options = {"truncation": True, "max_length": self.context, "padding": padding, "return_tensors": "pt"}
        ids = self.tokenizer(texts, return_attention_mask=True, **options)
        mask = ids["attention_mask"]
        return ids["input_ids"], mask if self._has_start else torch.ones_like(mask)

    @property
    def n_text_prompts(self) -> int:
        """None of the text's places are taken."""
        return 0

    def image_features(self, pixels: Tensor) -> Tensor:
        return self.of_normalised(self.preparation.normalised(pixels))

    def of_normalised(self, pixels: Tensor) -> Tensor:
        with self._prompted(self.model.vision_model, self.visual_prompts, None):
            return projected(self.model.get_image_features(pixel_values=pixels))

    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        inputs = {"input_ids": ids} | ({"attention_mask": mask} if self._has_start else {})
        place = int(self._has_start and not self.prompts_lead)
        with self._prompted(self.model.text_model, self.textual_prompts, place):
            return projected(self.model.get_text_features(**inputs))

    @contextmanager
    def _prompted(self, tower: Any, prompts: Tensor | None, place: int | None) -> Iterator[None]:
        """Within the context a tower's blocks see prompts at a place, None for the end, and save memory if asked."""
        with ExitStack() as stack:
            if prompts is not None:
                hooks = _Prompts(prompts, place)
                blocks = blocks_of(tower)
                for depth, block in enumerate(blocks):
                    handle = block.register_forward_pre_hook(hooks.before(depth), with_kwargs=True)
                    stack.callback(handle.remove)
                stack.callback(blocks[-1].register_forward_hook(hooks.behind).remove)
            if self.checkpoints_gradients and torch.is_grad_enabled():
                for block in blocks_of(tower):
                    stack.enter_context(_checkpointed(block))
            yield


class _Prompts:
    """Hooks of a tower's blocks during one pass."""

    def __init__(self, prompts: Tensor, place: int | None):
        self.prompts, self._place, self._n = prompts, place, prompts.shape[1]

    def before(self, depth: int) -> Any:
        """The hook of a block: insert, replace, or leave what came out of the block before."""

        def hook(
            module: Any, inputs: tuple[Any, ...], options: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            states, options = inputs[0] if inputs else options["hidden_states"], dict(options)
            first, last = self._split(states, 0 if depth == 0 else self._n)
            if depth < len(self.prompts):
                rows = self.prompts[depth].to(states.dtype).expand(len(states), -1, -1)
                states = torch.cat([first, rows, last], dim=1)
            if options.get("attention_mask") is not None:
                options["attention_mask"] = self._wider(options["attention_mask"])
            masks = tuple(self._wider(tensor) for tensor in inputs[1:])
            options.pop("hidden_states", None)
            return (states, *masks), options

        return hook

    def behind(self, module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """The hook of the last block: take them out."""
        states = output[0] if isinstance(output, tuple) else output
        kept = torch.cat(self._split(states, self._n), dim=1)
        return (kept, *output[1:]) if isinstance(output, tuple) else kept

    def _split(self, states: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """What stands before and behind `n` prompts."""
        place = states.shape[1] - n if self._place is None else self._place
        return states[:, :place], states[:, place + n :]

    def _wider(self, mask: Any) -> Any:
        """A mask ``[n, heads or 1, queries or 1, keys]`` in which the prompts are seen as the token before them.

        Where none is, as the first, which a causal encoder's prompts then see as well.
        """
        if mask is None:
            return mask
        if not isinstance(mask, Tensor) or mask.dim() != 4 or self._place is None:
            raise ValueError("prompts know no attention mask of this encoder's kind; choose another peft than prompt")
        for dim in (3, 2):
            if mask.shape[dim] > 1:
                before, behind = mask.split([self._place, mask.shape[dim] - self._place], dim=dim)
                seen = mask.narrow(dim, max(self._place - 1, 0), 1)
                new = seen.expand(*[self._n if d == dim else -1 for d in range(4)])
                mask = torch.cat([before, new, behind], dim=dim)
        return mask


@contextmanager
def _checkpointed(block: nn.Module) -> Iterator[None]:
    """Within the context a block computes its inner states twice instead of keeping them."""
    forward = block.forward
    block.forward = lambda *inputs, **options: checkpoint(forward, *inputs, use_reentrant=False, **options)
    try:
        yield
    finally:
        del block.forward


def blocks_of(tower: nn.Module) -> nn.ModuleList:
    """A transformer's blocks; raises EncoderError where the tower has none."""
    for name, module in tower.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in BLOCKS:
            return module
    raise EncoderError(f"{type(tower).__name__} has no blocks of a transformer, which prompts stand between")
