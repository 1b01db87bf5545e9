"""Encoders of texts from folders: any text model of transformers, and models of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from recbole_mm.encoder.blip import load_blip
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.pretrained import folder_config, load_tokenizer, projected, provenance, reads, stored_weights
from recbole_mm.encoder.safety import MODULES_FILE, EncoderError, is_number
from recbole_mm.encoder.trial import try_encoder
from recbole_mm.registry import register_encoder

TOKENIZER_FILE = "tokenizer_config.json"
TRIED = ["a", "some words of a longer text " * 20]
UNLIMITED = 10**6  # tokenizers without a context of their own say 10**30


@register_encoder("auto-texts", reads="texts")
class AutoTexts(ContentEncoder):
    """Any text model of transformers: the projected feature of a dual encoder, else the mean over tokens.

    Args:
        context: how many tokens the model reads; longer texts are cut there and counted.
        pooling: ``projection``, ``text projection``, ``mean``, ``cls`` (the first token) or ``last`` (as embedders that
            are language models do).
        prefix: stands before each text, such as ``query: ``.
    """

    has_files = True
    options = frozenset({"pooling", "prefix", "dtype"})

    def __init__(
        self, model: Any, tokenizer: Any, context: int | None, pooling: str, facts: dict[str, Any], prefix: str = ""
    ):
        super().__init__(facts)
        self.model, self.tokenizer, self.context, self.pooling = model, tokenizer, context, pooling
        self.prefix = prefix
        # SigLIP was trained on texts of one length, without masks, and reads the last place
        self._is_siglip = str(model.config.model_type).startswith("siglip")
        self.padding = "max_length" if self._is_siglip else True

    def forward(self, contents: list[str]) -> Tensor:
        contents = [self.prefix + text for text in contents]
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
            masked = {} if self._is_siglip else {"attention_mask": mask}
            return projected(self.model.get_text_features(input_ids=ids, **masked)).float()
        if self.pooling == "text projection":
            return self.model(input_ids=ids, attention_mask=mask).text_embeds.float()
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return pooled(states.float(), mask, self.pooling)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Any: what reads no texts is an error when it is loaded."""
        return True

    @classmethod
    def load(
        cls, name: str, folder: Path, device: str, pooling: str = "", prefix: str = "", dtype: str = "float32"
    ) -> Self:
        """Raises ValueError where the model reads no texts, or has a pooling of its own beside the one asked for."""
        config = folder_config(folder)
        model, own = _text_model(folder, config, getattr(torch, dtype))
        if pooling and own != "mean":
            raise EncoderError(f"its features are a {own}, which leaves no choice of --pooling; leave it out")
        pooling = pooling or own
        tokenizer = load_tokenizer(folder)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # of GPT's kin; padding is masked
        if tokenizer.pad_token is None:
            raise EncoderError(f"{TOKENIZER_FILE}: there is neither a pad_token nor an eos_token; add one")
        tokenizer.padding_side = "right"  # so that positions count from the first token in every model
        context = context_of(model, config.get_text_config(), tokenizer)
        said = {"pooling": pooling, "tokenizer": type(tokenizer).__name__, "context": context}
        facts = provenance(name, folder, **said, **_stated(prefix, dtype))
        encoder = cls(model, tokenizer, context, pooling, facts, prefix).to(device)
        check_reads_texts(encoder.eval(), tokenizer, context, type(model).__name__)
        encoder.truncated = 0
        return encoder


def check_reads_texts(
    encode: Callable[[list[str]], Tensor], tokenizer: Any, context: int | None, reader: str
) -> None:
    """Raise EncoderError where an encoder cannot read texts: it is tried on a short one and a longer one.

    Args:
        encode: gives the features of texts.
        tokenizer: of its texts.
        context: tokens that it reads.
        reader: the model's name, for messages.
    """
    not_words = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), "▁"}  # the last begins words
    if not tokenizer.get_vocab().keys() - not_words:  # transformers makes one where its file is missing
        raise EncoderError("its tokenizer knows no words, so all texts are one; bring tokenizer.json back")
    n_special = tokenizer.num_special_tokens_to_add()
    if context is not None and context <= n_special:
        raise EncoderError(
            f"it reads {context} tokens of a text, of which {n_special} are special ones; correct model_max_length in "
            f"{TOKENIZER_FILE}, or the positions in config.json"
        )
    try_encoder(
        lambda: encode(TRIED),
        "two texts exhaust",
        f"its tokenizer: what {type(tokenizer).__name__} makes of a text is not what {reader} reads",
        "both",
        "its features of a text are NaN or infinite; replace its files, or choose another --dtype",
    )


def _stated(prefix: str, dtype: str) -> dict[str, str]:
    """What features depend on, where it is not as by default."""
    return ({"prefix": prefix} if prefix else {}) | ({"dtype": dtype} if dtype != "float32" else {})


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """``[n, width]`` of a text model's states ``[n, length, width]`` and mask ``[n, length]``: mean, cls or last."""
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)
    places = torch.arange(mask.shape[1], device=mask.device) * mask
    place = places.argmax(dim=1) if pooling == "last" else mask.int().argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), place]


def _text_model(folder: Path, config: Any, dtype: torch.dtype) -> tuple[Any, str]:
    """The model, and how its states become a feature."""
    from transformers import (
        MODEL_FOR_TEXT_ENCODING_MAPPING,
        AutoModel,
        AutoModelForTextEncoding,
        CLIPTextModelWithProjection,
    )

    if config.model_type == "clip_text_model":
        return stored_weights(CLIPTextModelWithProjection, folder, config, dtype=dtype), "text projection"
    if not reads(config, "input_ids", "get_text_features"):
        raise EncoderError(f"it is of type '{config.model_type}', which reads no texts")
    if config.model_type == "blip":
        model = load_blip(folder, config).to(dtype)
        if not hasattr(model, "get_text_features"):
            raise EncoderError("its text tower writes texts and encodes none")
    else:
        # sentence-T5 and its kin are stored without the decoder, which no feature needs
        encoders: Any = MODEL_FOR_TEXT_ENCODING_MAPPING
        is_half = type(config) in encoders and encoders[type(config)].__name__.endswith("EncoderModel")
        kind = AutoModelForTextEncoding if is_half else AutoModel
        model = stored_weights(kind, folder, config, optional="pooler", dtype=dtype)
    is_dual = hasattr(model, "get_text_features")
    is_two = getattr(config, "is_encoder_decoder", False)
    return model.get_encoder() if is_two else model, "projection" if is_dual else "mean"


@register_encoder("sentence-texts", reads="texts")
class SentenceTexts(ContentEncoder):
    """A model of sentence-transformers, with the pooling and normalisation it was made with."""

    has_files = True
    options = frozenset({"prefix", "dtype"})

    def __init__(self, model: Any, facts: dict[str, Any], prefix: str = ""):
        super().__init__(facts)
        self.model, self.prefix = model, prefix

    def forward(self, contents: list[str]) -> Tensor:
        whole = [self.prefix + text for text in contents]
        self.truncated += count_longer(self.model.tokenizer, whole, self.model.max_seq_length)
        options = {"batch_size": len(contents), "convert_to_tensor": True, "show_progress_bar": False}
        # as its prompt, which some models leave out of their mean
        return self.model.encode(contents, prompt=self.prefix or None, **options).float()

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Has the file that lists the modules of such a model."""
        return (folder / MODULES_FILE).is_file()

    @classmethod
    def load(cls, name: str, folder: Path, device: str, prefix: str = "", dtype: str = "float32") -> Self:
        """Raises ValueError where sentence-transformers is not installed."""
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EncoderError(
                'it is a model of sentence-transformers; type: pip install "recbole-mm[sentence]"'
            ) from error
        weights = {"use_safetensors": True, "dtype": getattr(torch, dtype)}
        options: dict[str, Any] = {"trust_remote_code": False, "model_kwargs": weights}
        model = SentenceTransformer(str(folder), device=device, **options)
        modules = [type(module).__name__ for module in model]
        said = {"modules": modules, "context": model.max_seq_length, **_stated(prefix, dtype)}
        encoder = cls(model, provenance(name, folder, **said), prefix)
        check_reads_texts(encoder.eval(), model.tokenizer, model.max_seq_length, " and ".join(modules))
        encoder.truncated = 0
        return encoder


def count_longer(tokenizer: Any, texts: list[str], context: int | None) -> int:
    """How many texts have more tokens, special ones included, than `context`; none if that is None."""
    if context is None:
        return 0
    return sum(len(ids) > context for ids in tokenizer(texts, verbose=False)["input_ids"])


def context_of(model: Any, config: Any, tokenizer: Any) -> int | None:
    """How many tokens a text model reads, by its tokenizer and its table of positions; None without a limit."""
    limits = [tokenizer.model_max_length]
    if not is_number(limits[0]):
        raise EncoderError(f"{TOKENIZER_FILE}: model_max_length is {str(limits[0])[:60]!r}, which is no number")
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        limits.append(positions - _reserved_positions(model))
    limit = min(limits)
    return int(limit) if limit < UNLIMITED else None


def _reserved_positions(model: Any) -> int:
    """Positions before the first token's: RoBERTa and its kin count from behind the padding's."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.padding_idx + 1
    return 0
