"""CLIP with both towers, of which few parameters train: deep prompts, LoRA or bottleneck adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder.preparation import Preparation
from recbole_mm.encoder.text_encoders import count_longer
from recbole_mm.io.files import atomic_file
from recbole_mm.io.tensor_file import save_tensors

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from torch.nn.attention.flex_attention import BlockMask


class DualEncoder(nn.Module):
    r"""The two towers of a CLIP of transformers, frozen, with room for deep prompts.

    With prompts ``p_l`` ``[n, tower width]`` for the first J blocks (PTMRec, Eqs. 6 to 9; MaPLe without its coupling):

    - visual: :math:`[class, patches, p_1]` goes into the pre-LayerNorm, prompts without positions; in blocks 2 to J the
      last n tokens are replaced by :math:`p_l`. The feature is the class token, normalised and projected.
    - textual: :math:`[start, p_1, text, end]`, all with positions; in blocks 2 to J the tokens 1 to n are replaced by
      :math:`p_l`. The feature is the end-of-text token, n places later than without prompts. Eq. 9 prints
      :math:`[p_1, start, text, end]` (``prompts_lead``), where no prompt sees a word, as each token sees those before.

    Attributes:
        width: of the projected features of both towers.
        tuning: ``none``, or what :func:`recbole_mm.encoder.tuning.tune` made trainable.
        checkpoints_gradients: compute the blocks' inner states again in the backward pass instead of keeping them.
        prompts_lead: whether the textual prompts stand before the start-of-text token instead of behind it.
        truncated: how many texts were longer than the context that the prompts leave, and cut there.
    """

    mean: Tensor  # of colours, [3, 1, 1]
    std: Tensor

    def __init__(self, model: Any, tokenizer: Any, processor: Any, facts: dict[str, Any]):
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.processor, self.facts = tokenizer, processor, facts
        self.width: int = getattr(model.config, "projection_dim", 0)
        self.added: list[nn.Module] = []  # by a way of tuning; what of them is random is so in training alone
        self.tuning = "none"
        self.prompts_lead = False
        self.truncated = 0
        self.checkpoints_gradients = False
        self.visual_prompts: nn.Parameter | None = None  # [J, n, visual width]
        self.textual_prompts: nn.Parameter | None = None  # [J, n, textual width]
        self.preparation = Preparation.required(processor)
        self.preparation.check_side(getattr(model.config.vision_config, "image_size", None))
        self.register_buffer("mean", torch.tensor(processor.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(processor.image_std).view(3, 1, 1), persistent=False)

    # ---------------------------------------------------------------- contents

    def pixels(self, pictures: list[Picture]) -> Tensor:
        """Pillow images in RGB, resized and cropped, uint8 ``[n, 3, H, W]``: a quarter of what they are normalised."""
        return torch.from_numpy(np.stack([self.preparation(picture) for picture in pictures]))

    def tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask ``[n, length]`` of texts, cut to leave the prompts their places, and counted."""
        context = self.model.config.text_config.max_position_embeddings - self.n_text_prompts
        self.truncated += count_longer(self.tokenizer, texts, context)
        tokens = self.tokenizer(texts, truncation=True, max_length=context, padding=True, return_tensors="pt")
        return tokens["input_ids"], tokens["attention_mask"]

    @property
    def n_text_prompts(self) -> int:
        """Places that the prompts take in each text."""
        return 0 if self.textual_prompts is None else self.textual_prompts.shape[1]

    # ---------------------------------------------------------------- features

    def image_features(self, pixels: Tensor) -> Tensor:
        """Features ``[n, width]`` of uint8 pixels ``[n, 3, H, W]``."""
        return self.of_normalised((pixels.float() / 255 - self.mean) / self.std)

    def of_normalised(self, pixels: Tensor) -> Tensor:
        """Features ``[n, width]`` of pixels ``[n, 3, H, W]`` of normalised colours."""
        tower = self.model.vision_model
        states = tower.embeddings(pixels)
        prompts = self.visual_prompts
        if prompts is not None:
            states = torch.cat([states, _for_all(prompts[0], states)], dim=1)
        states = tower.pre_layrnorm(states)
        for depth, block in enumerate(tower.encoder.layers):
            if prompts is not None and 0 < depth < len(prompts):
                kept = states[:, : states.shape[1] - prompts.shape[1]]
                states = torch.cat([kept, _for_all(prompts[depth], states)], dim=1)
            states = self._run(block, states, None)
        return self.model.visual_projection(tower.post_layernorm(states[:, 0]))

    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Features ``[n, width]`` of token ids and their mask ``[n, length]``, as :meth:`tokens` gives them."""
        from transformers.masking_utils import create_causal_mask

        tower, prompts, length = self.model.text_model, self.textual_prompts, self.n_text_prompts
        words, place = tower.embeddings.token_embedding(ids), int(not self.prompts_lead)
        if prompts is not None:
            words = torch.cat([words[:, :place], _for_all(prompts[0], words), words[:, place:]], dim=1)
            mask = torch.cat([mask[:, :1].expand(-1, length), mask], dim=1)
        states = tower.embeddings(inputs_embeds=words)
        causal = create_causal_mask(
            config=tower.config, inputs_embeds=states, attention_mask=mask, past_key_values=None
        )
        for depth, block in enumerate(tower.encoder.layers):
            if prompts is not None and 0 < depth < len(prompts):
                rest = states[:, place + length :]
                states = torch.cat([states[:, :place], _for_all(prompts[depth], states), rest], dim=1)
            states = self._run(block, states, causal, is_causal=True)
        states = tower.final_layer_norm(states)
        ends = self._ends(ids) + length
        return self.model.text_projection(states[torch.arange(len(ids), device=ids.device), ends])

    def _ends(self, ids: Tensor) -> Tensor:
        """Position of each text's first end-of-text token, without prompts."""
        end = self.model.text_model.eos_token_id
        if end == 2:  # OpenAI's first configurations name a wrong token; theirs has the greatest id of all
            return ids.argmax(dim=-1)
        return (ids == end).int().argmax(dim=-1)

    def _run(self, block: nn.Module, states: Tensor, mask: Tensor | BlockMask | None, **options: Any) -> Tensor:
        if self.checkpoints_gradients and torch.is_grad_enabled():
            return checkpoint(block, states, mask, use_reentrant=False, **options)
        return block(states, mask, **options)

    def set_training(self, training: bool) -> None:
        """Have what was added drop out or not; the encoder's own parts never do."""
        for module in self.added:
            module.training = training

    # ---------------------------------------------------------------- what trains

    def tunable(self) -> dict[str, nn.Parameter]:
        """The parameters that train, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    @property
    def n_tunable(self) -> int:
        """Number of values that train."""
        return sum(parameter.numel() for parameter in self.tunable().values())

    @property
    def n_parameters(self) -> int:
        """Number of all values, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def save_tuned(self, file: Path) -> None:
        """Write what trains, and nothing else, as safetensors; atomically."""
        values = {name: value.detach().cpu().contiguous() for name, value in self.tunable().items()}
        metadata = {"encoder": self.facts["encoder"], "revision": self.facts["revision"], "tuning": self.tuning}
        metadata["prompts_lead"] = str(self.prompts_lead)
        with atomic_file(Path(file)) as temporary:
            save_tensors(temporary, values, metadata)

    def load_tuned(self, file: Path) -> None:
        """Take the values that :meth:`save_tuned` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, of another encoder, another kind of tuning or other sizes.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file} of tuned parameters")
        try:
            with safe_open(file, framework="pt") as opened:
                metadata = opened.metadata() or {}
                values = {name: opened.get_tensor(name) for name in opened.keys()}
        except SafetensorError as error:
            raise ValueError(f"{file} is no whole safetensors file ({error})") from error
        self._check_same(file, metadata, values)
        with torch.no_grad():
            for name, parameter in self.tunable().items():
                parameter.copy_(values[name])

    def _check_same(self, file: Path, metadata: dict[str, str], values: dict[str, Tensor]) -> None:
        for fact, declared in (("tuning", self.tuning), ("revision", self.facts["revision"])):
            if metadata.get(fact) != declared:
                raise ValueError(f"{file} is of {fact} {metadata.get(fact)}, this encoder of {declared}")
        if metadata.get("prompts_lead", "False") != str(self.prompts_lead):  # earlier files do not say
            raise ValueError(f"{file} is of another prompt_position than this encoder")
        shapes = {name: list(value.shape) for name, value in values.items()}
        declared = {name: list(parameter.shape) for name, parameter in self.tunable().items()}
        if shapes != declared:
            differing = sorted(
                name for name in shapes.keys() | declared.keys() if shapes.get(name) != declared.get(name)
            )[0]
            raise ValueError(
                f"{file} has other settings than this encoder: {differing} is {shapes.get(differing)} in the file and "
                f"{declared.get(differing)} here"
            )


def _for_all(prompt: Tensor, states: Tensor) -> Tensor:
    """One prompt ``[n, width]`` for every row of a batch, in the states' type."""
    return prompt.to(states.dtype).expand(len(states), -1, -1)
