"""The aligned data set: which items there are, and which row of a feature file becomes whose."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset

from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.data.feature_file import write_arrow
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_dataset

PAIRS = [
    *[("u1", item) for item in ("a", "b", "c", "rare")],
    *[("u2", item) for item in ("a", "b", "d")],
    *[("u3", item) for item in ("b", "c", "d")],
]
TWICE = {"user_inter_num_interval": "[2,inf)", "item_inter_num_interval": "[2,inf)"}
"""Filters `rare`, the only item with one interaction."""
VISUAL = {
    "rare": [9.0, 9.0], "d": [2.0, 2.0], "c": [0.0, 6.0],
    "unseen": [7.0, 7.0], "a": [3.0, 4.0], "b": [1.0, 0.0],
}  # fmt: skip


def write(folder: Path, pairs=PAIRS, features=None, items: dict[str, str] | None = None) -> Path:
    """A data set in one `.inter`, with features and the colours of an `.item` file; gives `folder`."""
    write_dataset(folder, {"": pairs}, {"visual": VISUAL} if features is None else features)
    if items:
        lines = ["item_id:token\tcolour:token", *("\t".join(pair) for pair in items.items())]
        (folder / "toy" / "toy.item").write_text("\n".join(lines) + "\n")
    return folder


def config_of(folder: Path, model="POWERec", dataset="toy", **settings) -> Config:
    columns = {"load_col": {"inter": ["user_id", "item_id"]}, "checkpoint_dir": str(folder / "saved")}
    return Config(model, dataset, config_dict={**QUIET, **columns, "data_path": str(folder), **settings})


def load(folder: Path, **settings):
    return create_dataset(config_of(folder, **settings))


def rows(dataset, modality="visual") -> dict[str, list[float]]:
    """The feature of each item by its token, [PAD] included."""
    tokens = dataset.field2id_token["item_id"]
    return {str(t): row for t, row in zip(tokens, dataset.modality_feature(modality).tolist(), strict=True)}


def present(dataset, modality="visual") -> set[str]:
    tokens = dataset.field2id_token["item_id"]
    return {
        str(t) for t, there in zip(tokens, dataset.modality_mask(modality).tolist(), strict=True) if there
    }


# ---------------------------------------------------------------- which items, which rows


def test_rows_follow_filtering_and_remapping(tmp_path):
    dataset = load(write(tmp_path), **TWICE)
    assert rows(dataset) == {"[PAD]": [0, 0], "a": [3, 4], "b": [1, 0], "c": [0, 6], "d": [2, 2]}
    feature, mask = dataset.modality_feature("visual"), dataset.modality_mask("visual")
    assert (feature.dtype, mask.dtype) == (torch.float32, torch.bool)
    assert mask.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("filters, kept", [({}, ["rare"]), (TWICE, [])], ids=["all", "filtered"])
def test_items_without_interactions_are_neither_candidates_nor_in_the_graph(tmp_path, filters, kept):
    """`unseen` has features alone, `listed` a row of `.item` alone, and `rare` may be filtered out."""
    colours = {"listed": "red", "rare": "green", "c": "blue", "d": "grey", "b": "white", "a": "black"}
    columns = {"inter": ["user_id", "item_id"], "item": ["item_id", "colour"]}
    split = {"eval_args": {"split": {"LS": "test_only"}}}
    run = start("POWERec", write(tmp_path, items=colours), load_col=columns, **filters, **split)
    assert set(rows(run.dataset)) == {"[PAD]", "a", "b", "c", "d", *kept}
    assert run.model.graph.n_items == run.dataset.item_num == 5 + len(kept)
    scores = run.model.eval().full_sort_predict({"user_id": torch.tensor([1])})
    assert scores.shape == (5 + len(kept),)
    feature = run.dataset.get_item_feature()
    tokens = run.dataset.id2token("item_id", feature["item_id"].numpy())
    found = dict(zip(tokens, run.dataset.id2token("colour", feature["colour"].numpy()), strict=True))
    assert found == {"[PAD]": "[PAD]", **{item: colours[item] for item in ("a", "b", "c", "d", *kept)}}


def test_pre_split_data_keep_items_of_every_split(tmp_path):
    splits = {"train": [("u1", "a"), ("u2", "b")], "valid": [("u1", "c")], "test": [("u2", "c"), ("u1", "d")]}
    write_dataset(tmp_path, splits, {"visual": VISUAL})
    dataset = load(tmp_path, **PRE_SPLIT)
    assert rows(dataset) == {"[PAD]": [0, 0], "a": [3, 4], "b": [1, 0], "c": [0, 6], "d": [2, 2]}
    assert [len(split) for split in dataset.build()] == [2, 1, 2]


def test_another_item_field_and_separator(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.inter").write_text("user_id:token,asin:token\nu1,a\nu2,b\n")
    (folder / "toy.visual").write_text("asin:token,visual_feature:float_seq\nb,1;2\na,3;4\n")
    fields = {"ITEM_ID_FIELD": "asin", "load_col": {"inter": ["user_id", "asin"]}}
    dataset = load(tmp_path, **fields, field_separator=",", seq_separator=";")
    tokens = [str(token) for token in dataset.field2id_token["asin"]]
    assert dict(zip(tokens, dataset.modality_feature("visual").tolist(), strict=True)) == {
        "[PAD]": [0, 0], "a": [3, 4], "b": [1, 2],
    }  # fmt: skip


def test_three_modalities_of_any_name_and_width(tmp_path):
    features = {"smell": {"a": [1.0], "b": [2.0]}, "visual": VISUAL, "x-ray": {"c": [1.0, 2.0, 3.0]}}
    write(tmp_path, features=features)
    dataset = load(tmp_path, **TWICE)
    assert dataset.modalities == ["visual", "smell", "x-ray"]
    assert [dataset.modality_feature(name).shape[1] for name in dataset.modalities] == [2, 1, 3]
    assert [present(dataset, name) for name in dataset.modalities] == [set("abcd"), set("ab"), set("c")]
    run = start(
        "POWERec", tmp_path, modalities=["x-ray", "smell"], eval_args={"split": {"LS": "test_only"}}, **TWICE
    )
    assert run.dataset.modalities == ["x-ray", "smell"]
    assert run.model.rated_modalities == ["id", "x-ray", "smell"]
    assert run.model.feature("x-ray") is run.dataset.modality_feature("x-ray")


@pytest.mark.parametrize("given", ["visual", "[visual]", ["visual"]])
def test_modalities_as_a_command_line_or_a_yaml_gives_them(tmp_path, given):
    """RecBole hands `--modalities=[visual]` on as the string it is."""
    write(tmp_path, features={"visual": VISUAL, "textual": {"a": [1.0]}})
    assert load(tmp_path, modalities=given).modalities == ["visual"]


def test_an_empty_list_loads_none(tmp_path):
    dataset = load(write(tmp_path), modalities=[])
    assert dataset.modalities == []
    with pytest.raises(ValueError, match=r"modality 'visual' is not loaded; `modalities` gives \[\]"):
        dataset.modality_feature("visual")


def test_half_precision_is_computed_in_single(tmp_path):
    write(tmp_path, features={})
    stored = np.array([[0.1, 60000.0], [1 / 3, -2.0]], dtype=np.float16)
    write_arrow(tmp_path / "toy" / "toy.visual.arrow", ["b", "a"], stored)
    dataset = load(tmp_path, missing_modality="zero")
    assert dataset.modality_feature("visual").dtype == torch.float32
    assert rows(dataset)["b"] == stored[0].astype(np.float32).tolist()
    assert rows(dataset)["a"] == stored[1].astype(np.float32).tolist()


# ---------------------------------------------------------------- missing features


@pytest.mark.parametrize("policy, filled", [("mean", [2.0, 2.0]), ("zero", [0.0, 0.0])])
def test_missing_features(tmp_path, policy, filled):
    """The mean is that of the items that are left, `unseen` and the filtered `rare` take no part in it."""
    visual = {item: row for item, row in VISUAL.items() if item != "c"}
    dataset = load(write(tmp_path, features={"visual": visual}), missing_modality=policy, **TWICE)
    assert rows(dataset) == {"[PAD]": [0, 0], "a": [3, 4], "b": [1, 0], "c": filled, "d": [2, 2]}
    assert present(dataset) == set("abd")


def test_missing_features_are_counted_in_the_log(tmp_path, caplog):
    visual = {"a": [3.0, 4.0], "b": [1.0, 0.0]}
    with caplog.at_level("INFO"):
        load(write(tmp_path, features={"visual": visual}), **TWICE)
    assert "4 items, width 2, 2 without features (mean)" in caplog.text


def test_rows_are_normalised_after_the_mean_is_taken(tmp_path):
    visual = {"a": [3.0, 4.0], "b": [0.0, 0.0], "c": [9.0, 0.0]}
    pairs = [("u1", item) for item in "abcd"]
    found = rows(load(write(tmp_path, pairs, {"visual": visual}), normalize_feature=True))
    assert found["[PAD]"] == found["b"] == [0, 0]
    # the mean of a, b and c is (4, 4/3), of direction (3, 1); float32 keeps 7 digits
    expected = {"a": [0.6, 0.8], "c": [1, 0], "d": [3 / 10**0.5, 1 / 10**0.5]}
    for item, row in expected.items():
        assert found[item] == pytest.approx(row, rel=1e-6)


@pytest.mark.parametrize("block_values", [1 << 20, 4])
def test_columns_are_centred_and_standardised_over_the_items_with_a_row(tmp_path, monkeypatch, block_values):
    """Of a, b and c: the columns are (3, 0, 9), mean 4, and (4, 0, 0), mean 4/3; the third column is constant."""
    monkeypatch.setattr("recbole_mm.data.feature_table.BLOCK_VALUES", block_values)
    visual = {"a": [3.0, 4.0, 7.0], "b": [0.0, 0.0, 7.0], "c": [9.0, 0.0, 7.0]}
    path = write(tmp_path, [("u1", item) for item in "abcd"], {"visual": visual})
    values = np.array(list(visual.values()))
    centred = values - values.mean(axis=0)
    standard = centred / np.array([*values.std(axis=0)[:2], 1])
    for keys, expected in (
        ({"center_feature": True}, centred),
        ({"standardize_feature": True}, standard),
        ({"standardize_feature": True, "missing_modality": "zero"}, standard),
        ({"center_feature": True, "normalize_feature": True}, centred / np.linalg.norm(centred, axis=1)[:, None]),
    ):
        dataset = load(path, **keys)
        found = rows(dataset)
        assert found["[PAD]"] == found["d"] == [0, 0, 0]
        np.testing.assert_allclose([found[item] for item in "abc"], expected, rtol=1e-6, atol=1e-6)
        fresh = dataset.modality_scaling("visual")(torch.tensor(values, dtype=torch.float32))
        np.testing.assert_allclose(fresh, expected, rtol=1e-6, atol=1e-6)


def test_the_scaling_of_an_encoders_rows_is_found_again_after_a_pickle(tmp_path):
    path = write(tmp_path)
    dataset = pickle.loads(pickle.dumps(load(path, **TWICE, center_feature=True)))
    assert dataset.modality_scaling("visual").mean.tolist() == [1.5, 3.0]
    assert not pickle.loads(pickle.dumps(load(path, **TWICE))).modality_scaling("visual").centers


# ---------------------------------------------------------------- copies, pickles, caches


def test_splits_share_the_matrices(tmp_path):
    dataset = load(write(tmp_path), **TWICE, eval_args={"split": {"LS": "test_only"}})
    for split in dataset.build():
        assert split.modality_feature("visual") is dataset.modality_feature("visual")
        assert split.modality_mask("visual") is dataset.modality_mask("visual")


def test_a_matrix_given_away_is_read_again(tmp_path):
    dataset = load(write(tmp_path), **TWICE, eval_args={"split": {"LS": "test_only"}})
    train, _, test = dataset.build()
    taken = train.take_modality_feature("visual")
    before = taken.clone()
    taken += 1
    assert torch.equal(test.modality_feature("visual"), before)
    assert dataset.modality_feature("visual") is test.modality_feature("visual")
    with pytest.raises(ValueError, match="modality 'textual' is not loaded"):
        train.take_modality_feature("textual")


def test_a_matrix_can_be_taken_again_and_never_from_those_who_read_it(tmp_path):
    dataset = load(write(tmp_path), **TWICE)
    read = dataset.modality_feature("visual")
    before = read.clone()
    for _ in range(2):
        taken = dataset.take_modality_feature("visual")
        assert torch.equal(taken, before)
        taken += 1
    assert torch.equal(read, before)


def test_pickles_carry_no_matrix_and_read_it_again(tmp_path):
    wide = {item: np.arange(500.0) + number for number, item in enumerate("abcd")}
    narrow, broad = write(tmp_path / "narrow"), write(tmp_path / "broad", features={"visual": wide})
    sizes = [len(pickle.dumps(load(folder, **TWICE))) for folder in (narrow, broad)]
    assert abs(sizes[0] - sizes[1]) < 100  # a single row is 2000 bytes; the folders' names differ
    opened = pickle.loads(pickle.dumps(load(broad, **TWICE)))
    assert opened.modalities == ["visual"]
    assert rows(opened) == {"[PAD]": [0] * 500, **{item: row.tolist() for item, row in wide.items()}}
    assert present(opened) == set("abcd")


def test_a_cached_data_set_notices_changed_files(tmp_path):
    load(write(tmp_path), save_dataset=True, **TWICE)
    file = tmp_path / "toy" / "toy.visual"
    file.write_text(file.read_text().replace("3.0 4.0", "5.0 6.0"))
    (tmp_path / "toy" / "toy.textual").write_text("item_id:token\tx:float_seq\na\t1\nb\t2\nc\t3\n")
    reloaded = load(tmp_path, **TWICE)
    assert rows(reloaded)["a"] == [5, 6]
    assert reloaded.modalities == ["visual", "textual"]
    file.unlink()
    assert load(tmp_path, **TWICE).modalities == ["textual"]
    with pytest.raises(ValueError, match="modality 'visual' is not loaded"):
        load(tmp_path, **TWICE).modality_feature("visual")


@pytest.mark.slow
def test_the_default_data_set_is_built_where_it_is_absent(tmp_path):
    dataset = create_dataset(config_of(tmp_path / "data", dataset=DEFAULT_DATASET))
    assert dataset.modalities == ["textual", "relational"]
    assert (dataset.user_num, dataset.item_num) == (944, 1683)
    assert (tmp_path / "data" / DEFAULT_DATASET / f"{DEFAULT_DATASET}.inter").is_file()
