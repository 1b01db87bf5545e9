"""The synthetic data of the benchmarks: exact counts, the published split, the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset
from shapes import SHAPES, Shape, draw_features, draw_interactions, make

import recbole_mm  # noqa: F401

SMALL = SHAPES["baby"].scaled(0.02)


def degrees(shape: Shape) -> np.ndarray:
    users, *_ = draw_interactions(shape, seed=1)
    return np.bincount(users, minlength=shape.n_users)


@pytest.mark.parametrize("name", SHAPES)
def test_counts_are_exact_at_any_shape(name):
    shape = SHAPES[name].scaled(0.02)
    users, items, splits, _ = draw_interactions(shape, seed=1)
    assert len(users) == len(items) == len(splits) == shape.n_interactions
    assert len(np.unique(users * shape.n_items + items)) == shape.n_interactions
    assert len(np.unique(items)) == shape.n_items
    assert degrees(shape).min() >= (5 if shape.n_interactions > 6 * shape.n_users else 3)


def test_split_per_user():
    """Of n < 10 interactions one for validation and one for test, else int(0.2 n) held out, half for each."""
    users, _, splits, _ = draw_interactions(SMALL, seed=1)
    for user in range(SMALL.n_users):
        counts = np.bincount(splits[users == user], minlength=3)
        held_out = 2 if counts.sum() < 10 else int(0.2 * counts.sum())
        assert counts.tolist() == [counts.sum() - held_out, held_out // 2, held_out - held_out // 2]


def test_baby_has_the_published_split():
    """118,551 / 20,559 / 21,682; the degrees of the real users are another draw, so within 2 percent."""
    *_, splits, _ = draw_interactions(SHAPES["baby"], seed=7)
    assert np.bincount(splits) == pytest.approx([118_551, 20_559, 21_682], rel=0.02)


def test_users_prefer_their_group():
    """Three in four draws are from one group of about 60 items, of the 141 items here."""
    users, items, _, groups = draw_interactions(SMALL, seed=1)
    shares = [np.bincount(groups[items[users == user]]).max() for user in range(SMALL.n_users)]
    assert sum(shares) > 0.7 * SMALL.n_interactions


def test_the_seed_decides():
    first, same, other = (draw_interactions(SMALL, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(*pair) for pair in zip(first, same, strict=True))
    assert not np.array_equal(first[1], other[1])
    features = [draw_features(SMALL, first[3], seed)["visual"] for seed in (1, 1, 2)]
    assert np.array_equal(features[0], features[1])
    assert not np.array_equal(features[0], features[2])


def test_recbole_loads_it(tmp_path):
    folder = make("baby", 0.02, tmp_path)
    written = (folder / "made_as.json").stat().st_mtime_ns
    assert make("baby", 0.02, tmp_path) == folder
    assert (folder / "made_as.json").stat().st_mtime_ns == written
    settings = {
        "data_path": str(tmp_path),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "state": "WARNING",
    }
    dataset = create_dataset(Config("POWERec", folder.name, config_dict=settings))
    assert (dataset.user_num, dataset.item_num) == (SMALL.n_users + 1, SMALL.n_items + 1)
    assert dataset.inter_num == SMALL.n_interactions
    assert {name: dataset.modality_feature(name).shape[1] for name in dataset.modalities} == SMALL.widths
    assert torch.isfinite(dataset.modality_feature("visual")).all()
