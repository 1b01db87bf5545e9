"""A tiny data set with pictures and texts to extract features from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PLOTS = {
    "a": "A cowboy doll",
    "b": "A doll in space",
    "c": "",
    "d": "space and a cowboy and a very long way",
    "e": "zebra",
}


def write_shop(folder: Path, n_items: int = 5) -> Path:
    """Data set `shop` with items a, b, c ... or i0, i1 ..., their pictures beside it, texts for the first five."""
    items = list(PLOTS) if n_items == 5 else [f"i{number}" for number in range(n_items)]
    shop, images = folder / "shop", folder / "images"
    shop.mkdir()
    images.mkdir()
    pairs = "".join(f"u\t{item}\n" for item in items)
    (shop / "shop.inter").write_text(f"user_id:token\titem_id:token\n{pairs}")
    rows = "".join(f"{item}\t{item.upper()}\t{plot}\n" for item, plot in PLOTS.items())
    (shop / "shop.item").write_text(f"item_id:token\ttitle:token_seq\tplot:token_seq\n{rows}")
    rng = np.random.default_rng(0)
    for item in items:
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(images / f"{item}.png")
    return shop
