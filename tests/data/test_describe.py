"""The counts of `describe`, by hand on a small data set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from recbole.config import Config
from recbole.data import create_dataset

from recbole_mm.data.converters.mmrec import convert_mmrec
from recbole_mm.data.describe import describe
from recbole_mm.data.description_lines import format_description
from recbole_mm.data.feature_file import write_arrow, write_text
from recbole_mm.testing.toy import QUIET, write_dataset

VALUES = np.array([[3, 4], [0, 0], [-0.0, 0], [3, 4], [6, 8], [-0.0, 2], [0, 2]], np.float32)


@pytest.fixture
def folder(tmp_path):
    """Two users, items a, b, c with five interactions; features of a, b and of five items without any."""
    path = tmp_path / "toy"
    path.mkdir()
    (path / "toy.inter").write_text(
        "rating:float\titem_id:token\tuser_id:token\n1\ta\t1\n1\tb\t1\n1\tc\t1\n1\ta\t2\n1\tb\t2\n"
    )
    write_arrow(path / "toy.visual.arrow", list("abpqrst"), VALUES.astype(np.float16), encoder="ViT")
    return path


def test_interactions_are_counted(folder):
    description = describe(folder)
    assert {key: description[key] for key in ("name", "users", "items", "interactions", "splits")} == {
        "name": "toy",
        "users": 2,
        "items": 3,
        "interactions": 5,
        "splits": {},
    }
    assert description["sparsity"] == pytest.approx(1 / 6)


def test_a_modality_is_counted(folder, monkeypatch):
    monkeypatch.setattr("recbole_mm.data.feature_table.BLOCK_VALUES", 4)
    (visual,) = describe(folder)["modalities"]
    assert visual == {
        "name": "visual",
        "file": "toy.visual.arrow",
        "form": "arrow",
        "width": 2,
        "dtype": "float16",
        "rows": 7,
        "present": 2,
        "missing": 1,
        "without_interactions": 5,
        "zero": 2,
        "duplicate": 2,  # (3, 4) again, and (0, 2), which equals (-0, 2); the zero rows are counted as such
        "non_finite": 0,
        "norms": (0.0, 2.0, 10.0),  # of 5, 0, 0, 5, 10, 2, 2
        "mean_cosine": None,  # of the rows of items with interactions, all but a's are zeros
        "size_mb": (folder / "toy.visual.arrow").stat().st_size / 1e6,
        "encoder": "ViT",
    }


def test_values_that_are_not_finite_are_counted_not_refused(folder):
    (folder / "toy.textual").write_text("item_id:token\tx:float_seq\na\tnan inf\nb\t3 4\n")
    rows = pa.array([[float("inf"), 1.0]], pa.list_(pa.float32(), 2))
    table = pa.table({"item_id": ["a"], "acoustic_feature": rows})
    with pa.ipc.new_file(str(folder / "toy.acoustic.arrow"), table.schema) as writer:
        writer.write_table(table)
    _, textual, acoustic = describe(folder)["modalities"]
    assert (textual["form"], textual["non_finite"], textual["norms"]) == ("text", 2, (5.0, 5.0, 5.0))
    assert (acoustic["form"], acoustic["non_finite"], acoustic["norms"]) == ("arrow", 1, None)
    assert "none finite" in format_description(describe(folder))


def test_half_precision_norms_do_not_overflow(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\n1\ta\n")
    write_arrow(folder / "toy.visual.arrow", ["a"], np.full((1, 4), 60_000, np.float16))
    stored = float(np.float16(60_000))
    assert describe(folder)["modalities"][0]["norms"] == (2 * stored,) * 3


def test_pre_split_data_are_counted_by_split(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "toy.inter").write_text("userID\titemID\tx_label\n1\t0\t0\n1\t1\t1\n1\t2\t2\n2\t0\t0\n")
    np.save(source / "text_feat.npy", np.eye(3))
    description = describe(convert_mmrec(source, "toy", tmp_path / "out"))
    assert (description["users"], description["items"], description["interactions"]) == (2, 3, 4)
    assert list(description["splits"].items()) == [("train", 2), ("valid", 1), ("test", 1)]
    assert [modality["name"] for modality in description["modalities"]] == ["textual"]


def test_description_shows_every_count(folder):
    text = format_description(describe(folder))
    for shown in (
        "users         2",
        "items         3",
        "interactions  5",
        "sparsity      16.6667%",
        "width         2, float16",
        "rows          7: 2 items present, 1 missing, 5 without interactions",
        "bad rows      2 zero, 2 duplicate; 0 non-finite values",
        "norms         min 0, median 2, max 10",
        "cosine        mean of all pairs of items no pairs",
        "warning       visual: 2 rows of zeros are taken as features",
        "warning       visual: 33% of the items have no row",
        "encoder       ViT",
    ):
        assert shown in text


def test_absent_and_bad_data_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*toy"):
        describe(tmp_path / "toy")
    folder = tmp_path / "toy"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no toy\.inter, nor toy\.train\.inter"):
        describe(folder)
    for text in ("user_id:token\titem_id:token\n", "userID\titemID\n1\t2\n", ""):
        (folder / "toy.inter").write_text(text)
        with pytest.raises(ValueError, match=r"toy\.inter"):
            describe(folder)


def test_data_without_features_say_how_to_make_them(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\n1\ta\n")
    assert "no modality files; make one with: python -m recbole_mm convert" in format_description(
        describe(folder)
    )
    write_text(folder / "toy.visual", "visual", ["a"], np.ones((1, 2)))
    assert "visual: toy.visual (text" in format_description(describe(folder))


@pytest.mark.parametrize("row", ["u\t", "\ta", "u"])
def test_an_interaction_without_an_id_is_an_error(tmp_path, row):
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "toys.inter").write_text(f"user_id:token\titem_id:token\nu\ta\n{row}\n")
    with pytest.raises(ValueError, match=r"toys.inter, line 3: (there is no (user|item)_id; correct|1 cell where)"):
        describe(folder)


def test_mean_cosine_is_that_of_all_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_mm.data.feature_table.BLOCK_VALUES", 16)
    folder = tmp_path / "toy"
    folder.mkdir()
    values = np.random.default_rng(0).standard_normal((9, 4)) + 0.7
    values[3] = 0
    ids = [f"i{i}" for i in range(9)]
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"u\t{item}\n" for item in ids[:8]))
    write_arrow(folder / "toy.visual.arrow", ids, values)
    rows = np.delete(values[:8], 3, axis=0).astype(np.float32).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [rows[i] @ rows[j] for i in range(7) for j in range(7) if i != j]
    assert describe(folder)["modalities"][0]["mean_cosine"] == pytest.approx(np.mean(pairs), abs=1e-12)


def test_cold_items_and_leaks_of_splits(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    splits = {"train": "u1 a,u1 b,u2 a,u2 a", "valid": "u1 c,u2 a", "test": "u3 c,u1 d,u2 b"}
    for split, rows in splits.items():
        lines = "".join(row.replace(" ", "\t") + "\n" for row in rows.split(","))
        (folder / f"toy.{split}.inter").write_text("user_id:token\titem_id:token\n" + lines)
    description = describe(folder)
    assert description["cold"] == {"items": 2, "users": 1, "interactions": 3, "held_out": 5, "leaked": 1}
    assert description["repeated"] == 2
    text = format_description(description)
    assert "cold          2 items and 1 user without training; 3 of 5 interactions held out" in text
    for warning in (
        "2 interactions repeat a pair",
        "1 of 5 interactions held out are in training too",
        "60% of the interactions held out are with items that training has not",
    ):
        assert f"warning       {warning}" in text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.eye(6) * 33, "rows of norm 33 (median) saturate activations"),
        (np.eye(6) + 2, "all rows point alike (mean cosine of pairs 0.97)"),
        (np.repeat(np.eye(6)[:3], 2, axis=0), "50% of the rows equal another item's"),
        (np.eye(6)[:5], "17% of the items have no row"),
        (np.eye(6), None),
    ],
)
def test_what_costs_quality_is_said(tmp_path, values, said):
    folder = tmp_path / "toy"
    folder.mkdir()
    ids = list("abcdef")
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"u\t{item}\n" for item in ids))
    write_arrow(folder / "toy.visual.arrow", ids[: len(values)], values)
    found = describe(folder)["warnings"]
    assert [said in line for line in found] == ([True] if said else [])


def test_modalities_of_different_lengths_are_said(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\nu\ta\nu\tb\n")
    write_arrow(folder / "toy.visual.arrow", ["a", "b"], np.eye(2) * 9)
    write_arrow(folder / "toy.textual.arrow", ["a", "b"], np.eye(2) * 0.5)
    (line,) = describe(folder)["warnings"]
    assert line.startswith("rows of visual are 18 times as long as those of textual")


RNG = np.random.default_rng(0)
COSTLY = {  # rows as they are met, keys that a warning offers, and what it warns of
    "norm 33": (33 / 20 * np.sign(RNG.standard_normal((40, 400))), ["normalize_feature"], "rows of norm 33 (median)"),
    "a common mean": (RNG.standard_normal((40, 16)) + 5 * np.eye(16)[0], ["center_feature"], "all rows point alike"),
    "a mean in all columns": (RNG.standard_normal((40, 16)) + 3, ["standardize_feature"], "all rows point alike"),
    "columns of other scales": (
        RNG.standard_normal((40, 400)) * np.logspace(0, 3, 400), ["standardize_feature", "normalize_feature"],
        "(median) saturate activations",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rows, keys, warning", COSTLY.values(), ids=COSTLY)
def test_the_keys_that_are_offered_mend_what_is_warned_of(tmp_path, rows, keys, warning):
    """Described again as a run with the keys sees them, the warning is gone."""
    ids = [f"i{number}" for number in range(len(rows))]
    pairs = [(f"u{user}", ids[(3 * user + place) % len(ids)]) for user in range(len(ids)) for place in range(5)]
    folder = write_dataset(tmp_path, {"": pairs}, {}) / "toy"
    write_arrow(folder / "toy.visual.arrow", ids, rows.astype(np.float32))
    (line,) = (line for line in describe(folder)["warnings"] if warning in line)
    assert all(f"{key}: True" in line for key in keys)
    settings = {**QUIET, "data_path": str(tmp_path), **dict.fromkeys(keys, True)}
    dataset = create_dataset(Config("VBPR", "toy", config_dict=settings))
    names = [str(token) for token in dataset.field2id_token["item_id"][1:]]
    write_arrow(folder / "toy.visual.arrow", names, dataset.modality_feature("visual")[1:].numpy())
    assert not [line for line in describe(folder)["warnings"] if warning in line]
