"""Time and memory of tuning a CLIP by prompts, LoRA and adapters: ``python benchmarks/tuning_cost.py``.

The encoder has ViT-B/16's size and random weights; time and memory do not depend on their values. One micro-batch of
stage two is measured, forward, backward and optimizer step, each kind in an interpreter of its own. The backbone, a
thousandth of it, is left out.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median

import harness
from machine import memory, versions

KINDS = ("prompt", "lora", "adapter")
PAIRS = 118_551  # of training in Baby (7,050 items): the paper's epoch
EXPLANATION = """\
A micro-batch of {size} pictures (224 x 224) and texts (77 tokens) through CLIP ViT-B/16's towers, forward, backward and
step; median of {repeats}, on {device}. Epoch: as many micro-batches as Baby's {pairs:,} training pairs are of {size}.
Memory: {memory}."""


def step(kind: str, size: int, repeats: int, checkpointing: bool) -> dict:
    """Seconds and peak memory of one micro-batch. Runs in an interpreter of its own."""
    import torch
    import transformers

    from recbole_mm.encoder.dual_encoder import DualEncoder
    from recbole_mm.encoder.tuning import TuningSettings, tune

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "patch_size": 16}
    vision |= {"num_hidden_layers": 12, "image_size": 224}
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=512)
    encoder = DualEncoder(transformers.CLIPModel(config), None, transformers.CLIPImageProcessorPil(), {})
    tune(encoder, kind, TuningSettings()).to(device)
    encoder.checkpoints_gradients = checkpointing
    optimizer = torch.optim.Adam(encoder.tunable().values(), lr=1e-3)
    pixels = torch.randint(0, 256, (size, 3, 224, 224), dtype=torch.uint8, device=device)
    ids = torch.randint(0, 49_000, (size, 77 - encoder.n_text_prompts), device=device)
    ids[:, 0], ids[:, -1] = 49_406, 49_407
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time  # others' use of the cores is not counted
    before, seconds = memory().now, []
    for _ in range(repeats + 1):
        started = clock()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            loss = encoder.image_features(pixels).float().square().mean()
            loss = loss + encoder.text_features(ids, torch.ones_like(ids)).float().square().mean()
        loss.backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(clock() - started)
    return {
        "seconds": median(seconds[1:]),  # the first also loads kernels
        "peak": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else memory().peak - before,
        "memory": "allocated on the device, weights included" if on_gpu else "of the process, above the built encoder",
        "device": torch.cuda.get_device_name() if on_gpu else "the CPU (processor time)",
        "trainable": encoder.n_tunable,
        "total": encoder.n_parameters,
    }


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="pairs of a micro-batch (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--checkpointing", action="store_true", help="with gradient checkpointing")
    options = parser.parse_args()
    rows = []
    for kind in KINDS:
        cost = harness.call_alone(
            step, kind=kind, size=options.size, repeats=options.repeats, checkpointing=options.checkpointing
        )
        minutes = cost["seconds"] * PAIRS / options.size / 60
        rows.append([kind, f"{cost['trainable']:,}", f"{cost['total']:,}", f"{cost['seconds']:.2f}", f"{minutes:.1f}",
                     f"{cost['peak']:,.0f}"])  # fmt: skip
        print(rows[-1], flush=True)
    table = harness.table(["tuning", "trained", "total", "s / micro-batch", "min / epoch", "peak MB"], rows)
    explanation = EXPLANATION.format(
        size=options.size, repeats=options.repeats, device=cost["device"], pairs=PAIRS, memory=cost["memory"]
    )
    title = "# Cost of tuning CLIP ViT-B/16" + (" with gradient checkpointing" if options.checkpointing else "")
    path = harness.write_results("tuning-cost", title, harness.versions_line(versions()), explanation, table)
    print(f"{table}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
