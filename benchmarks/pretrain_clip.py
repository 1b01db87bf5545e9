"""A small CLIP, trained on a data set's own pictures and texts: ``python benchmarks/pretrain_clip.py --dataset
dataset_atomic/films --images PICTURES --fields title,genres,plot --out films-clip``.

So that "pre-trained" means something where no weights can be had: matching pairs of picture and text against all
others of the batch (CLIP's contrastive loss), with a tenth of the items held out to tell whether anything was learned.
It knows a few thousand pictures; CLIP saw 400 million.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.encoder import load_dual_encoder
from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.extraction import Pictures, Texts
from recbole_mm.extraction.item_inputs import image_inputs, text_inputs
from recbole_mm.extraction.prepared_pictures import prepared

START, END = "<|startoftext|>", "<|endoftext|>"


def build(folder: Path, texts: list[str], sizes: argparse.Namespace) -> DualEncoder:
    """An untrained encoder of CLIP's class in `folder`, whose tokens are learned from the texts."""
    import transformers

    side, hidden = sizes.side, sizes.hidden
    tower = {
        "hidden_size": hidden, "intermediate_size": 4 * hidden, "num_attention_heads": hidden // 32,
        "num_hidden_layers": sizes.blocks,
    }  # fmt: skip
    tokenizer = _learn_tokens(texts, sizes.words, sizes.context)
    size = tokenizer.vocab_size
    config = transformers.CLIPConfig(
        vision_config={**tower, "image_size": side, "patch_size": sizes.patch},
        text_config={
            **tower, "vocab_size": size, "max_position_embeddings": sizes.context,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        projection_dim=sizes.width,
    )  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    crop = {"height": side, "width": side}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=crop).save_pretrained(folder)
    return load_dual_encoder(folder)


def _learn_tokens(texts: list[str], words: int, context: int):
    """CLIP's tokenizer with byte pairs of these texts."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        (text.lower() for text in texts),
        trainers.BpeTrainer(vocab_size=words, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False),
    )
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split()) for pair in learned["merges"]]
    names = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters), *learned["vocab"], START, END])
    vocabulary = {name: number for number, name in enumerate(names)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=context)


def contrast(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss of matching rows, ``[n, width]`` each: cross entropy in both directions."""
    scores = scale.exp() * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def train(encoder: DualEncoder, inputs, items: Tensor, epochs: int, batch_size: int, rate: float) -> None:
    """Train all parameters on these items' pairs."""
    encoder.model.requires_grad_(True)
    encoder.checkpoints_gradients = False
    optimizer = torch.optim.AdamW(encoder.model.parameters(), lr=rate, weight_decay=0.1)
    steps = epochs * (len(items) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 1), pct_start=0.1)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        batches = items[torch.randperm(len(items))].split(batch_size)
        for batch in (chunk for chunk in batches if len(chunk) == batch_size):
            optimizer.zero_grad()
            loss = contrast(*features(encoder, inputs, batch), encoder.model.logit_scale)
            loss.backward()
            optimizer.step()
            schedule.step()
            encoder.model.logit_scale.data.clamp_(max=4.6052)  # 100, as CLIP
            total += loss.item()
        print(f"epoch {epoch}: loss {total / max(1, len(items) // batch_size):.3f}, "
              f"{time.perf_counter() - started:.1f} s", flush=True)  # fmt: skip


def features(encoder: DualEncoder, inputs, items: Tensor) -> tuple[Tensor, Tensor]:
    """Image and text features of items, ``[n, width]`` each."""
    towers = (encoder.image_features, encoder.text_features)
    device = encoder.mean.device
    return tuple(contents.features(tower, items, device) for contents, tower in zip(inputs, towers, strict=True))


@torch.no_grad()
def retrieval(encoder: DualEncoder, inputs, items: Tensor) -> dict[str, float]:
    """How often an item's own text is the first, or among the first ten, of all these items', by its picture."""
    image, text = (F.normalize(torch.cat(rows), dim=1) for rows in zip(
        *(features(encoder, inputs, part) for part in items.split(256)), strict=True))  # fmt: skip
    scores = image @ text.T
    ranks = (scores > scores.diagonal().unsqueeze(1)).sum(dim=1)
    found = {f"recall@{k}": (ranks < k).float().mean().item() for k in (1, 10)}
    return {**found, "by chance @10": min(1.0, 10 / len(items)), "items": len(items)}


def main() -> int:
    """The command; gives its exit code."""
    options = _parse()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    pictures, texts = Pictures(options.dataset, options.images), Texts(options.dataset, options.fields.split(","))
    ids = ["[PAD]", *pictures.items]
    options.out.mkdir(parents=True, exist_ok=True)
    corpus = [text for text in texts.texts.values() if text]
    encoder = build(options.out, corpus, options)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    pixels = prepared(pictures, encoder.preparation, options.out / "pixels", workers=None)
    inputs = (image_inputs(pixels, ids), text_inputs(encoder, texts, ids))
    both = inputs[0].items[torch.isin(inputs[0].items, inputs[1].items)]
    both = both[torch.randperm(len(both))]
    held_out, trained = both[: len(both) // 10], both[len(both) // 10 :]
    print(f"{len(trained)} pairs to train on, {len(held_out)} held out, {encoder.n_parameters:,} parameters, "
          f"{encoder.truncated} texts cut")  # fmt: skip
    train(encoder, inputs, trained, options.epochs, options.batch_size, options.rate)
    for name, items in (("held-out", held_out), ("training", trained)):
        print(f"retrieval among the {name} items: {retrieval(encoder, inputs, items)}")
    encoder.model.save_pretrained(options.out)
    shutil.rmtree(options.out / "pixels")
    print(f"Wrote {options.out}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures by item id")
    parser.add_argument("--fields", default="title,genres,plot")
    parser.add_argument("--out", type=Path, required=True, help="folder of the encoder")
    for name, default in (("epochs", 30), ("batch-size", 128), ("side", 64), ("patch", 8), ("width", 64),
                          ("hidden", 128), ("blocks", 4), ("context", 77), ("words", 4000), ("seed", 0)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=5e-4, help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
