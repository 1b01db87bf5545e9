"""Synthetic data with the exact shape of a published data set, for speed and memory only, never for quality.

``python benchmarks/shapes.py --shape baby --scale 0.25`` writes atomic files, already split, with one Arrow
file per modality. Users and items belong to groups of taste: most interactions of a user are with items of
the own group, and the features of an item are noisy views of its group, so that nothing degenerates in
training.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

VERSION = 1  # of what make() draws: another version is made anew
DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Shape:
    """Counts of a data set and the width of each modality's features."""

    n_users: int
    n_items: int
    n_interactions: int
    widths: dict[str, int]

    def scaled(self, factor: float) -> Shape:
        """Users, items and interactions times `factor`: the mean degrees stay."""
        counts = (int(count * factor) for count in (self.n_users, self.n_items, self.n_interactions))
        return Shape(*counts, self.widths)


SHAPES = {
    "baby": Shape(19_445, 7_050, 160_792, {"visual": 4096, "textual": 384}),
    "sports": Shape(35_598, 18_357, 296_337, {"visual": 4096, "textual": 384}),
    "clothing": Shape(39_387, 23_033, 278_677, {"visual": 4096, "textual": 384}),
    "tmall": Shape(13_104, 7_848, 151_928, {"visual": 512, "textual": 512}),
    "microlens": Shape(46_420, 14_079, 332_730, {"visual": 512, "textual": 512}),
    "hm": Shape(43_543, 16_915, 369_945, {"visual": 512, "textual": 512}),
    "tiktok": Shape(18_855, 34_756, 1_493_532, {"visual": 128, "textual": 128, "acoustic": 256}),
    "movielens": Shape(23_018, 10_698, 896_006, {"visual": 2048, "textual": 768, "acoustic": 256}),
}


def draw_interactions(shape: Shape, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct user-item pairs; degrees of users and popularity of items follow power laws.

    Every user has at least 5 interactions (3 where the mean degree is not above 6), every item at least one.

    Returns:
        users, items: ``[n_interactions]``, sorted by user, the items of a user in random order.
        splits: ``[n_interactions]``, 0 training, 1 validation, 2 test.
        item_groups: ``[n_items]`` group of taste of each item.
    """
    rng = np.random.default_rng(seed)
    n_groups = max(2, shape.n_items // 60)
    item_groups = rng.integers(n_groups, size=shape.n_items)
    user_groups = item_groups[rng.integers(shape.n_items, size=shape.n_users)]  # a group with items
    degrees = _degrees(rng, shape)
    draw = _ItemDraw(rng, item_groups)
    slots = rng.permutation(np.repeat(np.arange(shape.n_users), degrees))[: shape.n_items]
    keys = slots * shape.n_items + np.arange(shape.n_items)  # each item once
    own_share = 0.75
    while len(keys) < shape.n_interactions:
        lacking = degrees - np.bincount(keys // shape.n_items, minlength=shape.n_users)
        users = np.repeat(np.arange(shape.n_users), lacking)
        items = draw(user_groups[users], own_share)
        keys = np.union1d(keys, users * shape.n_items + items)
        own_share /= 2  # a user of many interactions may have exhausted the own group
    users, items = np.divmod(rng.permutation(keys), shape.n_items)
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    return users, items, _split(degrees), item_groups


def _degrees(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Interactions of each user, ``[n_users]``, in total exactly those of the shape.

    At least 5 or 3, at most half of the items.
    """
    least, most = (5 if shape.n_interactions > 6 * shape.n_users else 3), shape.n_items // 2
    if not least * shape.n_users <= shape.n_interactions <= most * shape.n_users:
        raise ValueError(f"{shape} has too few or too many interactions for its users and items")
    # The exponent and the flat head give Baby the published sizes of its split and its largest degree, about.
    weights = (0.002 * shape.n_users + np.arange(shape.n_users)) ** -0.8
    spare = shape.n_interactions - least * shape.n_users
    degrees = least + np.floor(weights * (spare / weights.sum())).astype(np.int64)
    degrees = np.minimum(degrees, most)
    while lacking := shape.n_interactions - degrees.sum():
        degrees[np.flatnonzero(degrees < most)[:lacking]] += 1
    return rng.permutation(degrees)


class _ItemDraw:
    """Draws items by popularity, from a group or from all: by the inverse of the cumulative popularity."""

    def __init__(self, rng: np.random.Generator, item_groups: np.ndarray):
        self.rng = rng
        self.by_group = np.argsort(item_groups, kind="stable")
        popularity = rng.permutation((10.0 + np.arange(len(item_groups))) ** -0.7)
        self.cumulative = np.concatenate(([0.0], np.cumsum(popularity[self.by_group])))
        self.starts = np.searchsorted(item_groups[self.by_group], np.arange(item_groups.max() + 2))

    def __call__(self, groups: np.ndarray, own_share: float) -> np.ndarray:
        """One item for each of `groups`: of that group with probability `own_share`, else of any."""
        own = self.rng.random(len(groups)) < own_share
        low = np.where(own, self.cumulative[self.starts[groups]], 0.0)
        high = np.where(own, self.cumulative[self.starts[groups + 1]], self.cumulative[-1])
        positions = np.searchsorted(
            self.cumulative, low + self.rng.random(len(groups)) * (high - low), side="right"
        )
        return self.by_group[np.clip(positions - 1, 0, len(self.by_group) - 1)]


def _split(degrees: np.ndarray) -> np.ndarray:
    """About 8:1:1 per user, as the published splits count; the interactions of a user lie one after the
    other.

    Of n < 10 interactions one is for validation and one for test, else ``int(0.2 n)`` are held out, half of
    them (rounded down) for validation.
    """
    held_out = np.where(degrees < 10, 2, degrees * 2 // 10)
    position = np.arange(degrees.sum()) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    test = position < np.repeat(held_out - held_out // 2, degrees)
    valid = position < np.repeat(held_out, degrees)
    return np.where(test, 2, np.where(valid, 1, 0))


def draw_features(shape: Shape, item_groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Per modality float32 ``[n_items, width]``: a random view of an item's group and itself, and noise."""
    rng = np.random.default_rng((seed, 1))
    rank = 24
    centres = rng.standard_normal((item_groups.max() + 1, rank), dtype=np.float32)
    factors = centres[item_groups] + 0.5 * rng.standard_normal((shape.n_items, rank), dtype=np.float32)
    features = {}
    for modality, width in shape.widths.items():
        view = rng.standard_normal((rank, width), dtype=np.float32) / np.float32(rank**0.5)
        features[modality] = rng.standard_normal((shape.n_items, width), dtype=np.float32)
        features[modality] += factors @ view
    return features


def dataset_name(shape: str, scale: float) -> str:
    """Name of the data set, and of its folder."""
    return shape if scale == 1 else f"{shape}-x{scale:g}"


def make(shape: str, scale: float = 1.0, data: Path = DATA, seed: int = 7) -> Path:
    """Write `<data>/<dataset_name>/` unless it is there as this version makes it; gives the folder."""
    from recbole_mm.data.feature_file import write_arrow
    from recbole_mm.io.files import publish_folder, temporary_folder

    name = dataset_name(shape, scale)
    target = data / name
    sizes = SHAPES[shape].scaled(scale)
    made_as = json.dumps({**asdict(sizes), "seed": seed, "version": VERSION})
    note = target / "made_as.json"
    if note.is_file() and note.read_text(encoding="utf-8") == made_as:
        return target
    with temporary_folder(target) as folder:
        users, items, splits, item_groups = draw_interactions(sizes, seed)
        for number, split in enumerate(("train", "valid", "test")):
            part = splits == number
            pairs = zip(users[part].tolist(), items[part].tolist(), strict=True)
            lines = ["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item in pairs)]
            (folder / f"{name}.{split}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
        ids = [str(item) for item in range(sizes.n_items)]
        for modality, values in draw_features(sizes, item_groups, seed).items():
            write_arrow(folder / f"{name}.{modality}.arrow", ids, values, source="benchmarks/shapes.py")
        (folder / note.name).write_text(made_as, encoding="utf-8")
        publish_folder(folder, target)
    return target


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description="Write synthetic data with the shape of a published data set."
    )
    parser.add_argument("--shape", choices=SHAPES, default="baby")
    parser.add_argument("--scale", type=float, default=1.0, help="times users, items and interactions")
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of the data sets (default: %(default)s)"
    )
    arguments = parser.parse_args()
    print(make(arguments.shape, arguments.scale, arguments.data))


if __name__ == "__main__":
    main()
