"""Margins of training triplets and ratings of hard negatives, against the model's own predictions."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from recbole.utils import init_seed

from recbole_mm.__main__ import main
from recbole_mm.analysis.weak_modality.entry import triplet_margins, write_weak_modality
from recbole_mm.load import open_checkpoint


@pytest.fixture(scope="module")
def opened(train):
    return open_checkpoint(train("POWERec", n_layers=1))


def test_margins_add_up_to_differences_of_predictions(opened):
    margins, positive = triplet_margins(opened)
    assert margins.shape == (39 * 8, 3)  # 39 users with 8 training items, modalities id, visual, textual
    model, expected = opened.model, []
    init_seed(opened.config["seed"], True)  # the same negatives in the same order
    opened.train_data.generator.manual_seed(opened.config["seed"])
    with torch.no_grad():
        for batch in opened.train_data:
            user, item, negative = model.batch(batch)
            pairs = ({"user_id": user, "item_id": item}, {"user_id": user, "item_id": negative})
            expected.append(torch.stack([model.predict(pair) for pair in pairs]).numpy())
    rated, unrated = np.concatenate(expected, axis=1)
    # sums of a few dozen float32 products in another order
    np.testing.assert_allclose(positive, rated, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(margins.sum(axis=1), rated - unrated, rtol=1e-4, atol=1e-6)


def test_tables_hold_the_histograms(opened, tmp_path):
    files = write_weak_modality([opened], tmp_path / "out")
    assert [file.name for file in files] == [f"weak-modality.{form}" for form in ("png", "svg", "pdf", "csv")]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    margins, positive = triplet_margins(opened)
    series = dict(zip(opened.model.rated_modalities, margins.T, strict=True))
    series |= {"positive": positive, "hard negative": positive - margins.min(axis=1)}
    rows = list(csv.DictReader(files[-1].open()))
    assert {row["series"] for row in rows} == set(series)
    for name, values in series.items():
        mine = [row for row in rows if row["series"] == name]
        assert len(mine) == 60
        # the table has six digits
        np.testing.assert_allclose(float(mine[0]["mean"]), values.mean(), rtol=1e-4)
        np.testing.assert_allclose(float(mine[0]["share_below_zero"]), (values < 0).mean(), rtol=1e-4)
        # the outermost thousandth of all series together is outside the bins
        assert 0 <= len(values) - sum(int(row["count"]) for row in mine) <= 4


def test_needs_a_rating_per_modality(train, capsys):
    assert main(["analyse", "weak-modality", str(train("LayerGCN", n_layers=1))]) == 2
    assert "LayerGCN has no rating per modality" in capsys.readouterr().err
