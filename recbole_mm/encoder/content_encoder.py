"""Frozen encoders of pictures and of texts, as extraction uses them: contents in, feature rows out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from recbole_mm.encoder.image_encoder import ImageEncoder

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

UNLIMITED = 10**6  # tokenizers without a context of their own say 10**30


class ContentEncoder(nn.Module, ABC):
    """What turns a batch of contents (Pillow images in RGB, or texts) into features.

    Attributes:
        facts: `encoder`, `revision` and `preprocessing` (JSON values): all that the features depend on but the content.
        truncated: how many of the contents so far were longer than the encoder's context.
    """

    def __init__(self, facts: dict[str, Any]):
        super().__init__()
        self.facts = facts
        self.truncated = 0

    @abstractmethod
    def forward(self, contents: list) -> Tensor:
        """Features ``[n, width]``, float32, on the encoder's device."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


class ClipImages(ContentEncoder):
    """The image tower of a CLIP (see :func:`~recbole_mm.encoder.load_encoder`)."""

    def __init__(self, tower: ImageEncoder, facts: dict[str, Any]):
        super().__init__(facts)
        self.tower = tower

    def forward(self, contents: list[Picture]) -> Tensor:
        return self.tower(self.tower.preprocess(contents).to(self.device))


class AutoImages(ContentEncoder):
    """Any image model of transformers.

    The feature is the projected one of a dual encoder's image tower; otherwise the model's pooled output. Where the
    files have no weights for pooling, it is the class token, or without one the mean over places.
    """

    def __init__(self, model, processor, pooling: str, facts: dict[str, Any]):
        super().__init__(facts)
        self.model, self.processor, self.pooling = model, processor, pooling

    def forward(self, contents: list[Picture]) -> Tensor:
        inputs = self.processor(images=contents, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device)
        if self.pooling == "projection":
            return _projected(self.model.get_image_features(pixel_values=pixels))
        output = self.model(pixel_values=pixels)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)
        if self.pooling == "class token":
            return output.last_hidden_state[:, 0]
        places = output.last_hidden_state
        return places.mean(dim=(2, 3)) if places.dim() == 4 else places.mean(dim=1)


class AutoTexts(ContentEncoder):
    """Any text model of transformers: the projected feature of a dual encoder, else the mean over tokens.

    Args:
        context: how many tokens the model reads; longer texts are cut there and counted.
    """

    def __init__(self, model, tokenizer, context: int | None, pooling: str, facts: dict[str, Any]):
        super().__init__(facts)
        self.model, self.tokenizer, self.context, self.pooling = model, tokenizer, context, pooling
        # SigLIP was trained on texts of one length, and reads the last place
        self.padding = "max_length" if str(model.config.model_type).startswith("siglip") else True

    def forward(self, contents: list[str]) -> Tensor:
        self.truncated += count_longer(self.tokenizer, contents, self.context)
        tokens = self.tokenizer(
            contents,
            truncation=self.context is not None,
            max_length=self.context,
            padding=self.padding,
            return_tensors="pt",
        ).to(self.device)
        ids, mask = tokens["input_ids"], tokens.get("attention_mask")
        if self.pooling == "projection":
            return _projected(self.model.get_text_features(input_ids=ids, attention_mask=mask))
        if self.pooling == "text projection":
            return self.model(input_ids=ids, attention_mask=mask).text_embeds
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)


class SentenceTexts(ContentEncoder):
    """A model of sentence-transformers, with the pooling and normalisation it was made with."""

    def __init__(self, model, facts: dict[str, Any]):
        super().__init__(facts)
        self.model = model

    def forward(self, contents: list[str]) -> Tensor:
        self.truncated += count_longer(self.model.tokenizer, contents, self.model.max_seq_length)
        return self.model.encode(contents, batch_size=len(contents), convert_to_tensor=True, show_progress_bar=False)


def count_longer(tokenizer, texts: list[str], context: int | None) -> int:
    """How many texts have more tokens, special ones included, than `context`; none if that is None."""
    if context is None:
        return 0
    return sum(len(ids) > context for ids in tokenizer(texts, verbose=False)["input_ids"])


def context_of(model, config, tokenizer) -> int | None:
    """How many tokens a text model reads, by its tokenizer and its table of positions; None without a limit."""
    limits = [tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        limits.append(positions - _reserved_positions(model))
    limit = min(limits)
    return limit if limit < UNLIMITED else None


def _reserved_positions(model) -> int:
    """Positions before the first token's: RoBERTa and its kin count from behind the padding's."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.padding_idx + 1
    return 0


def _projected(output) -> Tensor:
    return output if isinstance(output, Tensor) else output.pooler_output
