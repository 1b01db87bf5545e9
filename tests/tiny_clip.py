"""Encoders of the real classes, small and with random weights, written as folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def write_clip(
    folder: Path,
    width: int = 6,
    side: int = 32,
    patch: int = 8,
    blocks: int = 3,
    whole: bool = True,
) -> Path:
    """A CLIP of transformers with features of `width`, or its image tower alone; skips without transformers."""
    transformers = pytest.importorskip("transformers")
    towers = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    vision = {**towers, "num_hidden_layers": blocks, "image_size": side, "patch_size": patch}
    tokens = {"vocab_size": 10, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {**towers, "num_hidden_layers": 1, **tokens}
    torch.manual_seed(0)
    if whole:
        config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=width)
        model = transformers.CLIPModel(config)
    else:
        config = transformers.CLIPVisionConfig(**vision, projection_dim=width)
        model = transformers.CLIPVisionModelWithProjection(config)
    model.save_pretrained(folder)
    size = {"height": side, "width": side}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=size).save_pretrained(folder)
    return folder


def write_clip_resnet(folder: Path, width: int = 6, side: int = 64) -> Path:
    """A CLIP ResNet of timm as transformers wraps it, a sixteenth as wide as RN50; skips without timm."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("timm", reason="timm is not here: its torchvision is built for another torch than ours")
    preprocessing = {
        "input_size": [3, side, side],
        "mean": [0.48, 0.46, 0.41],
        "std": [0.27, 0.26, 0.28],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
    config = transformers.TimmWrapperConfig(
        architecture="resnet50_clip",
        model_args={"width_factor": 1 / 16, "img_size": side},
        num_labels=width,
        pretrained_cfg=preprocessing,
    )
    torch.manual_seed(0)
    model = transformers.TimmWrapperForImageClassification(config).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # so that one pass sets its statistics; without them random layers fade to nothing
    with torch.no_grad():
        model(pixel_values=torch.randn(8, 3, side, side))
    model.save_pretrained(folder)
    return folder


def write_dual_clip(folder: Path, width: int = 6, context: int = 16, blocks: int = 3, heads: int = 2) -> Path:
    """A whole CLIP with tokenizer, one token per letter, and image processor; text tower narrower than the visual."""
    transformers = pytest.importorskip("transformers")
    letters = sorted(pytest.importorskip("tokenizers").pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(
        vocab={name: number for number, name in enumerate(names)}, merges=[], model_max_length=context
    )
    tower = {"num_attention_heads": heads, "num_hidden_layers": blocks}
    config = transformers.CLIPConfig(
        vision_config={**tower, "hidden_size": 16, "intermediate_size": 32, "image_size": 32, "patch_size": 8},
        text_config={
            **tower, "hidden_size": 12, "intermediate_size": 24, "vocab_size": len(names),
            "max_position_embeddings": context, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513,
        },
        projection_dim=width,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder
