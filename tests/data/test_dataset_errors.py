"""What the data set refuses: modalities, features and splits that no model can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from recbole.config import Config
from recbole.data import create_dataset

from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_dataset

PAIRS = [
    *[("u1", item) for item in ("a", "b", "c", "rare")],
    *[("u2", item) for item in ("a", "b", "d")],
    *[("u3", item) for item in ("b", "c", "d")],
]
VISUAL = {"visual": {item: [1.0, 2.0] for item in ("a", "b", "c", "d", "rare")}}
ONLY_TEST = {"eval_args": {"split": {"LS": "test_only"}}}


def load(folder: Path, model: str = "POWERec", **settings):
    columns = {"load_col": {"inter": ["user_id", "item_id"]}, "data_path": str(folder)}
    return create_dataset(Config(model, "toy", config_dict={**QUIET, **columns, **settings}))


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("modalities", ["audio"], r"modality 'audio' has no file beside .*/toy\.inter; .* there: visual\."),
        ("modalities", ["visual", "visual"], r"modalities: .* is not allowed.* \(visual stands there twice\)"),
        (
            "missing_modality",
            "median",
            "missing_modality: 'median' is not allowed for POWERec; give one of mean, zero, random, neighbor_mean, "
            "multi_hop, pagerank, heat, drop, error",
        ),
    ],
)
def test_bad_keys(tmp_path, key, value, message):
    with pytest.raises(ValueError, match=message):
        load(write_dataset(tmp_path, {"": PAIRS}, VISUAL), **{key: value})


def test_error_policy_names_the_first_item_without_features(tmp_path):
    write_dataset(tmp_path, {"": PAIRS}, {"visual": {"a": [1.0], "b": [2.0]}})
    message = r"toy\.visual: 3 of 5 items have no visual features \(first: item 'c'\); add them"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, missing_modality="error")
    with pytest.raises(ValueError, match="2 of 4 items have no visual features"):
        load(tmp_path, missing_modality="error", item_inter_num_interval="[2,inf)")


@pytest.mark.parametrize("policy", ["mean", "zero", "error"])
def test_features_of_another_data_set(tmp_path, policy):
    write_dataset(tmp_path, {"": PAIRS}, {"visual": {"B0001": [1.0], "B0002": [2.0]}})
    message = r"none of its 2 item ids \(first: 'B0001'\) occurs in the interactions of 'toy' \(first: 'a'\)"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, missing_modality=policy)


def test_too_few_rows_for_a_mean(tmp_path):
    """A tenth of the items is the least."""
    pairs = [("u1", f"i{number}") for number in range(11)]
    write_dataset(tmp_path, {"": pairs}, {"visual": {"i3": [1.0]}})
    with pytest.raises(ValueError, match="only 1 of 11 items have visual features; the mean of so few"):
        load(tmp_path)
    assert load(tmp_path, missing_modality="zero").modality_feature("visual").sum() == 1
    write_dataset(tmp_path / "enough", {"": pairs[:10]}, {"visual": {"i3": [1.0]}})
    assert load(tmp_path / "enough").modality_feature("visual").sum() == 10


@pytest.mark.parametrize(
    "features, settings, reason",
    [({}, {}, "data set 'toy' has none: put a file"), (VISUAL, {"modalities": []}, r"modalities: \[\] leaves out all")],
    ids=["no file", "none chosen"],
)
@pytest.mark.parametrize("model", ["POWERec", "ContentKNN"])
def test_a_multimodal_model_without_modalities(tmp_path, features, settings, reason, model):
    write_dataset(tmp_path, {"": PAIRS}, features)
    with pytest.raises(ValueError, match=f"^{model} needs modality features, and {reason}"):
        start(model, tmp_path, **ONLY_TEST, **settings)


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_empty_split_of_pre_split_data(tmp_path, name):
    write_dataset(tmp_path, {split: [] if split == name else PAIRS for split in ("train", "valid", "test")}, VISUAL)
    with pytest.raises(ValueError, match=f"toy.{name}.inter holds no interactions; fill it"):
        load(tmp_path, **PRE_SPLIT)


def test_empty_split_by_ratio(tmp_path):
    """One interaction a user: RecBole leaves it in training."""
    dataset = load(write_dataset(tmp_path, {"": [("u1", "a"), ("u2", "b"), ("u3", "c")]}, VISUAL))
    message = r"the validation split of 'toy' is empty; .* eval_args split \({'RS': \[0.8"
    with pytest.raises(ValueError, match=message):
        dataset.build()


@pytest.mark.parametrize(
    "split, sizes",
    [
        ({"LS": "valid_and_test"}, [4, 3, 3]),
        ({"LS": "valid_only"}, [7, 3, 0]),
        ({"LS": "test_only"}, [7, 0, 3]),
        ({"RS": [0.5, 0.5, 0.0]}, [6, 4, 0]),
    ],
    ids=str,
)
def test_splits_that_were_not_asked_for_may_be_empty(tmp_path, split, sizes):
    dataset = load(write_dataset(tmp_path, {"": PAIRS}, VISUAL), eval_args={"split": split})
    assert [len(part) for part in dataset.build()] == sizes


def test_swapped_splits_need_both(tmp_path):
    dataset = load(write_dataset(tmp_path, {"": PAIRS}, VISUAL), eval_args={"split": {"LS": "test_only"}},
                   swap_valid_test=True)  # fmt: skip
    with pytest.raises(ValueError, match=r"swap_valid_test: True needs a validation .* rows \[7, 0, 3\]"):
        dataset.build()


@pytest.mark.parametrize("value", [1e20, -1e20, 3e38, 1e16])
@pytest.mark.parametrize("model", ["VBPR", "FREEDOM", "LATTICE", "BM3"])
def test_finite_features_whose_squares_are_not_are_refused(tmp_path, value, model):
    rows = {item: [1.0, 2.0] for item in "abcd"} | {"c": [3.0, value]}
    write_dataset(tmp_path, {"": PAIRS}, {"visual": rows})
    with pytest.raises(ValueError, match=r"toy\.visual: item 'c' has a value of .*, too large to compute with; scale"):
        load(tmp_path, model=model)


def test_the_item_of_the_value_is_named_and_none_that_has_the_mean(tmp_path):
    write_dataset(tmp_path, {"": PAIRS}, {"visual": {"b": [1.0, 2.0], "c": [3.0, -1e38], "d": [0.0, 1e37]}})
    with pytest.raises(ValueError, match=r"toy\.visual: item 'c' has a value of -1e\+38, too large to compute with"):
        load(tmp_path)


@pytest.mark.parametrize("scale", [1e-30, 1e-14, 1e14, 1e20, 1e37])
def test_features_of_any_scale_are_normalised(tmp_path, scale):
    rows = {item: [3.0 * scale, 4.0 * scale] for item in "ab"} | {item: [0.6, 0.8] for item in ("c", "d", "rare")}
    write_dataset(tmp_path, {"": PAIRS}, {"visual": rows})
    found = load(tmp_path, normalize_feature=True).modality_feature("visual")[1:]
    shrunk = 5 * scale / 1e-12 if scale < 1e-13 else 1  # as torch's normalize has it, of lengths below 1e-12
    expected = [[0.6 * shrunk, 0.8 * shrunk]] * 2 + [[0.6, 0.8]] * 3
    assert sorted(found.tolist()) == [pytest.approx(row, rel=1e-6) for row in sorted(expected)]
