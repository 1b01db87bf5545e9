"""Pictures per second, in pairs against another checkout: ``python benchmarks/pictures.py --against DIR``.

Extraction of 600 x 600 JPEGs by a CLIP tower of 4 blocks, 192 wide, with random weights. Each run has an interpreter of
its own and times `extract` alone, from the first picture to the feature file, with its processes and their start. The
two checkouts take turns, so that what else the machine does meets both; what is printed is the median of the pairs'
ratios, of the time and of the processor time that all processes took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
SIDE, KINDS = 600, 100
RUN = """
import json, resource, sys, time
from pathlib import Path
from recbole_mm.encoder import load_image_encoder
from recbole_mm.extraction import Pictures, extract
encoder = load_image_encoder("encoder")
shop, started = Path("shop"), time.perf_counter()
def processor_seconds():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)
before = processor_seconds()
contents = Pictures(shop, Path("images"))
if encoder_prepares := getattr(encoder, "preparation", None):
    from recbole_mm.extraction.prepared_pictures import prepared
    contents = prepared(contents, encoder_prepares, Path("pictures"), None)
extract(shop, "visual", contents, encoder)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({"seconds": seconds, "processor": processor_seconds() - before, "peak_mb": peak}))
"""


def write_pictures(folder: Path, count: int) -> None:
    """`count` JPEGs of soft colours with noise, of KINDS pictures, each file of other bytes; and who bought them."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    contents = []
    for _ in range(KINDS):
        soft = Image.fromarray(rng.integers(0, 256, (38, 38, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        noisy = np.asarray(soft) + rng.normal(0, 6, (SIDE, SIDE, 3))
        file = folder / "one.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=85)
        contents.append(file.read_bytes())
        file.unlink()
    (folder / "images").mkdir()
    (folder / "shop").mkdir()
    for item in range(count):  # what stands behind a picture's end is not read as one
        (folder / "images" / f"{item}.jpg").write_bytes(contents[item % KINDS] + str(item).encode())
    rows = "".join(f"u\t{item}\n" for item in range(count))
    (folder / "shop" / "shop.inter").write_text(f"user_id:token\titem_id:token\n{rows}", encoding="utf-8")


def write_encoder(folder: Path) -> None:
    """A small CLIP tower as ``save_pretrained`` writes it."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3, "num_hidden_layers": 4}
    config = transformers.CLIPVisionConfig(**sizes, image_size=224, patch_size=32, projection_dim=64)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    transformers.CLIPImageProcessorPil().save_pretrained(folder)


def measure(folder: Path, checkout: Path) -> dict[str, float]:
    """One extraction by a checkout's code, without any rows or pictures of earlier ones."""
    subprocess.run(["rm", "-rf", "pictures", "shop/shop.visual.arrow"], cwd=folder, check=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure in pairs and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="another checkout of the project")
    parser.add_argument("--count", type=int, default=1500, help="pictures")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder, arguments.count)
        write_encoder(folder / "encoder")
        ratios = []
        for pair in range(arguments.pairs):
            order = [arguments.against.resolve(), ROOT]
            runs = {tree: measure(folder, tree) for tree in (order if pair % 2 == 0 else order[::-1])}
            before, after = runs[order[0]], runs[ROOT]
            ratios.append((before["seconds"] / after["seconds"], before["processor"] / after["processor"]))
            shown = "; ".join(
                f"{name} {arguments.count / run['seconds']:.0f} pictures/s, {run['processor']:.1f} s of processor, "
                f"{run['peak_mb']:.0f} MB"
                for name, run in (("before", before), ("now", after))
            )
            print(f"{shown}; {ratios[-1][0]:.2f} times as fast", flush=True)
    speed, work = (median(pair_ratios) for pair_ratios in zip(*ratios, strict=True))
    print(f"median of {len(ratios)} pairs: {speed:.2f} times as many pictures per second, {work:.2f} times less work")


if __name__ == "__main__":
    main()
