"""``missing_share``: which items lose their features, and that they are as items whose files lack them."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_mm.data.hidden_features import hidden_items
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

IDS = ["[PAD]", *(f"i{number}" for number in range(200))]


def test_a_sample_by_id():
    hidden = hidden_items(IDS, 0.3, "visual", 1, False)
    assert hidden.sum() == 60 and not hidden[0]
    shuffled = ["[PAD]", *np.random.default_rng(0).permutation(IDS[1:])]
    again = hidden_items(shuffled, 0.3, "visual", 1, False)
    names = {name for name, is_hidden in zip(IDS, hidden, strict=True) if is_hidden}
    assert names == {name for name, is_hidden in zip(shuffled, again, strict=True) if is_hidden}
    assert not (hidden & ~hidden_items(IDS, 0.5, "visual", 1, False)).any()  # nested


@pytest.mark.parametrize("together", [False, True])
def test_modalities_and_seeds(together):
    visual, other = (hidden_items(IDS, 0.5, name, 1, together) for name in ("visual", "textual"))
    assert (visual == other).all() == together
    if not together:  # 50 of the hundred are expected, with a standard deviation of 3.5
        assert 32 < (visual & other).sum() < 68
    assert (visual != hidden_items(IDS, 0.5, "visual", 2, together)).any()


@pytest.mark.parametrize("policy", ["mean", "zero"])
def test_as_items_without_a_row(tmp_path, policy):
    folder = write_planted(tmp_path / "all", {"visual": 6, "textual": 4})
    settings = {**PRE_SPLIT, "missing_modality": policy}
    run = start("VBPR", folder, **settings, missing_share={"visual": 0.4}, missing_seed=3)
    mask = run.dataset.modality_mask("visual").numpy()
    hidden = hidden_items(run.dataset.field2id_token["item_id"], 0.4, "visual", 3, False)
    assert hidden.sum() == 12 and not mask[hidden].any() and mask[1:].sum() >= 30 - 12 - 1
    file = folder / "toy" / "toy.visual"
    gone = set(run.dataset.field2id_token["item_id"][hidden])
    file.write_text("\n".join(line for line in file.read_text().splitlines() if line.split("\t")[0] not in gone) + "\n")
    other = start("VBPR", folder, **settings)
    assert (other.dataset.modality_mask("visual").numpy() == mask).all()
    for name in ("visual", "textual"):
        assert (other.dataset.modality_feature(name) == run.dataset.modality_feature(name)).all()


def test_nine_of_ten_and_all(tmp_path):
    """The mean of two or three rows is what was asked for; no row is not."""
    folder = write_planted(tmp_path / "all", {"visual": 6})
    run = start("VBPR", folder, **PRE_SPLIT, missing_share={"visual": 0.9})
    assert run.dataset.modality_mask("visual").sum() in (2, 3)
    with pytest.raises(ValueError, match=r"missing_share.visual: 0.99 leaves no item with visual features; set less"):
        start("VBPR", folder, **PRE_SPLIT, missing_share={"visual": 0.99})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing_share": {"visual": 1}}, "missing_share.visual: 1 is not allowed.*above 0 and below 1"),
        ({"missing_share": {"visul": 0.5}}, "missing_share: 'visul' is no modality in use.*visual"),
        ({"missing_share": 0.5}, "missing_share: 0.5 is not allowed"),
        ({"missing_share": {"visual": 0.5}, "missing_modality": "error"}, "of 30 items have no visual features"),
    ],
)
def test_bad_input(tmp_path, settings, message):
    folder = write_planted(tmp_path, {"visual": 6, "textual": 4})
    with pytest.raises(ValueError, match=message):
        start("VBPR", folder, **PRE_SPLIT, **settings)
