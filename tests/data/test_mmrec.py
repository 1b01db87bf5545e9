"""MMRec's layout: what is written is what was read, and bad input writes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_mm.data.converters.mmrec import convert_mmrec
from recbole_mm.data.describe import describe
from recbole_mm.data.feature_file import read_features
from recbole_mm.io import files
from recbole_mm.io.tables import read_table
from recbole_mm_command import main
from tests.io.test_files import killed

VISUAL = np.arange(12, dtype=np.float16).reshape(4, 3) / 4
TEXTUAL = np.random.default_rng(1).standard_normal((4, 5))
ROWS = [
    "x_label\ttimestamp\titemID\tuserID\trating\tnote",
    "0\t30\t2\tu1\t5\tx",
    "1\t31\t0\tu1\t4\tx",
    "2\t32\t1\tu1\t3\tx",
    "0\t33\t1\tu2\t2.5\tx",
]


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "mmrec"
    folder.mkdir()
    write_inter(folder, ROWS)
    np.save(folder / "image_feat.npy", VISUAL)
    np.save(folder / "text_feat.npy", TEXTUAL)
    return folder


def write_inter(folder: Path, rows: list[str]) -> None:
    (folder / "toy.inter").write_text("\n".join(rows) + "\n")


def test_mmrec_becomes_pre_split_atomic_files(source, tmp_path):
    folder = convert_mmrec(source, "toy", tmp_path / "out")
    assert folder == tmp_path / "out" / "toy"
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    assert (folder / "toy.train.inter").read_text() == header + "u1\t2\t5\t30\nu2\t1\t2.5\t33\n"
    assert (folder / "toy.valid.inter").read_text() == header + "u1\t0\t4\t31\n"
    assert (folder / "toy.test.inter").read_text() == header + "u1\t1\t3\t32\n"
    visual = read_features(folder, "toy", "visual")
    assert (visual.ids, visual.values.dtype, visual.source) == (
        ["0", "1", "2", "3"],
        np.float16,
        "image_feat.npy",
    )
    np.testing.assert_array_equal(visual.values, VISUAL)
    np.testing.assert_array_equal(read_features(folder, "toy", "textual").values, TEXTUAL.astype(np.float32))
    assert yaml.safe_load((folder / "toy.yaml").read_text()) == {
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
    }
    assert [path.name for path in folder.parent.iterdir()] == ["toy"]


def test_vectors_of_the_item_file_are_a_modality_by_the_ids_of_the_mapping(source, tmp_path):
    (source / "toy.item").write_text("itemID\ttitle\ttaste:float_seq\n0\tA\t0.5 1\n2\tC\t-1.5 2\n")
    (source / "i_id_mapping.csv").write_text("asin\titemID\n" + "".join(f"B{item}\t{item}\n" for item in range(4)))
    folder = convert_mmrec(source, "toy", tmp_path / "out")
    table = read_features(folder, "toy", "taste")
    assert table.ids == ["B0", "B2"] and table.values.tolist() == [[0.5, 1], [-1.5, 2]]
    assert read_table(folder / "toy.item").to_numpy().tolist() == [["B0", "A"], ["B2", "C"]]


def test_mmrec_without_rating_and_timestamp(source, tmp_path):
    write_inter(source, ["userID\titemID\tx_label", "1\t007\t0", "1\t1\t1.0", "1\t2\t2"])
    np.save(source / "image_feat.npy", np.ones((8, 2)))
    (source / "text_feat.npy").unlink()
    folder = convert_mmrec(source, "toy", tmp_path / "out")
    assert (folder / "toy.train.inter").read_text() == "user_id:token\titem_id:token\n1\t7\n"


def test_atomic_header_and_item_ids_are_read(tmp_path):
    source = tmp_path / "atomic"
    source.mkdir()
    rows = [
        "user_id:token\titem_id:token\trating:float\tx_label:float",
        "1\tb\t1.0\t0",
        "1\ta\t1.0\t1",
        "2\tb\t1.0\t2",
    ]
    write_inter(source, rows)
    (source / "item_ids.txt").write_text("a\nb\nc\n")
    np.save(source / "audio.npy", np.eye(3))
    folder = convert_mmrec(source, "toy", tmp_path / "out")
    assert (
        folder / "toy.test.inter"
    ).read_text() == "user_id:token\titem_id:token\trating:float\n2\tb\t1.0\n"
    table = read_features(folder, "toy", "acoustic")
    assert table.ids == ["a", "b", "c"]
    np.testing.assert_array_equal(table.values, np.eye(3))


def test_recbole_reads_what_was_converted(source, tmp_path):
    from recbole.config import Config
    from recbole.data import create_dataset

    folder = convert_mmrec(source, "toy", tmp_path / "out")
    config = Config("BPR", "toy", [str(folder / "toy.yaml")], {"data_path": str(tmp_path / "out")})
    assert [len(split) for split in create_dataset(config).build()] == [2, 1, 1]


def test_tiktok_keeps_its_official_split(shared_data, tmp_path):
    folder = convert_mmrec(shared_data / "tiktok", "tiktok", tmp_path)
    lines = {
        split: (folder / f"tiktok.{split}.inter").read_text().count("\n")
        for split in ("train", "valid", "test")
    }
    assert lines == {"train": 59_541 + 1, "valid": 3_051 + 1, "test": 6_130 + 1}
    for modality, name in (("visual", "visual.npy"), ("acoustic", "audio.npy")):
        table = read_features(folder, "tiktok", modality)
        np.testing.assert_array_equal(table.values, np.load(shared_data / "tiktok" / name))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["userID\titemID", "1\t2"],
            "line 1: there is no column x_label; found userID, itemID",
        ),
        (["userID,itemID,x_label", "1,2,0"], "no column user_id, item_id, x_label"),
        (["userID\tuser_id\titemID\tx_label", "1\t1\t1\t0"], "a column is named twice"),
        (["userID\titemID\tx_label", "1\t1\t0\t9", "1\t1\t1\t9"], "line 2: 4 cells where the first line has 3"),
        ([*ROWS, "3\t1\t1\tu1\t1\tx"], "line 6: x_label is '3'; it must be 0"),
        ([*ROWS, "", "x\t1\t1\tu1\t1\tx"], "line 7: x_label is 'x'; it must be 0"),
        ([*ROWS, "0\t1\t1\tu1\tgood\tx"], "line 6: the rating is 'good', which is no number"),
        ([*ROWS, "0\t1\t1\t\t1\tx"], "line 6: the user id is empty"),
        ([*ROWS, "0\t1\t1"], "line 6: 3 cells where the first line has 6"),
        ([*ROWS, "0\t1\t1\tu1\t1\tx\t8"], "line 6: 7 cells where the first line has 6"),
        ([*ROWS, "0\t1\t4\tu1\t1\tx"], r"line 6: item 4 has no row in .*image_feat.npy, which holds 4 rows"),
        ([*ROWS, "0\t1\tB01\tu1\t1\tx"], "line 6: the item id 'B01' is no row number; .*item_ids.txt"),
        ([ROWS[0], ROWS[1], ROWS[2]], "is split into train and valid, without test"),
        ([ROWS[0], ROWS[1], ROWS[3]], "is split into train and test, without valid"),
        ([ROWS[0], ROWS[2], ROWS[3]], "is split into valid and test, without train"),
        ([], "toy.inter"),
    ],
)
def test_bad_interactions_are_named_and_nothing_is_written(source, tmp_path, rows, message):
    write_inter(source, rows)
    with pytest.raises(ValueError, match=message) as error:
        convert_mmrec(source, "toy", tmp_path / "out")
    assert str(source / "toy.inter") in str(error.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([[1.0], [np.nan], [0], [0]]), r"row 1 \(item '1'\) holds a value that is not finite"),
        (np.ones(4), "must be a table of numbers"),
        (np.array([[None]] * 4), "is an array of Python objects"),
    ],
)
def test_bad_features_are_named_and_nothing_is_written(source, tmp_path, content, message):
    np.save(source / "text_feat.npy", content, allow_pickle=True)
    with pytest.raises(ValueError, match=f"text_feat.npy.*{message}"):
        convert_mmrec(source, "toy", tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_truncated_features_are_an_error(source, tmp_path):
    path = source / "image_feat.npy"
    for kept in (0, 100, -1):
        np.save(path, VISUAL)
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(ValueError, match="image_feat.npy is not a whole .npy file"):
            convert_mmrec(source, "toy", tmp_path / "out")


def test_the_only_file_takes_another_name(source, tmp_path, capsys):
    for name in ("toy", "other"):
        assert main(["convert", "auto", str(source), "--name", name, "--out", str(tmp_path / "out")]) == 0
    toy, other = (sorted((tmp_path / "out" / name).iterdir()) for name in ("toy", "other"))
    assert [file.name.replace("other.", "toy.") for file in other] == [file.name for file in toy]
    pairs = list(zip(toy, other, strict=True))
    assert all(file.read_bytes() == renamed.read_bytes() for file, renamed in pairs if file.suffix != ".yaml")


def test_absent_and_doubled_files_are_errors(source, tmp_path):
    (source / "more.inter").touch()
    with pytest.raises(FileNotFoundError, match="other.inter; the folder holds more.inter, toy.inter: --name more"):
        convert_mmrec(source, "other", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        convert_mmrec(source / "nowhere", "toy", tmp_path / "out")
    np.save(source / "visual.npy", VISUAL)
    with pytest.raises(ValueError, match="image_feat.npy and .*visual.npy both give the visual modality"):
        convert_mmrec(source, "toy", tmp_path / "out")


@pytest.mark.parametrize("name", ["audio_feat.npy", "i_id_mapping.csv", "toy.item"])
@pytest.mark.parametrize("kind", ["pipe", "link", "device"])
def test_names_that_are_no_files_are_not_passed_over(source, tmp_path, name, kind):
    file = source / name
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/nonexistent" if kind == "link" else "/dev/zero")
    with pytest.raises(ValueError, match=f"{name} (is a pipe|is a device|leads nowhere), so it cannot be read"):
        convert_mmrec(source, "toy", tmp_path / "out")
    assert not (tmp_path / "out" / "toy").exists()


def test_interactions_alone_are_converted(source, tmp_path, capsys):
    for path in source.glob("*.npy"):
        path.unlink()
    assert main(["convert", "auto", str(source), "--name=toy", "--out", str(tmp_path / "out")]) == 0
    assert "interactions alone, as there is none of image_feat.npy, visual.npy" in capsys.readouterr().out
    with open(tmp_path / "out/toy/toy.train.inter") as written:
        assert written.readline() == "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    assert sorted(path.suffix for path in (tmp_path / "out/toy").iterdir()) == [".inter", ".inter", ".inter", ".yaml"]


def test_existing_folder_is_replaced_only_when_asked(source, tmp_path):
    target = tmp_path / "out" / "toy"
    target.mkdir(parents=True)
    convert_mmrec(source, "toy", tmp_path / "out")  # an empty folder is no obstacle
    (target / "mine").write_text("notes")
    with pytest.raises(ValueError, match="is not empty.*--overwrite"):
        convert_mmrec(source, "toy", tmp_path / "out")
    assert (target / "mine").exists()
    convert_mmrec(source, "toy", tmp_path / "out", overwrite=True)
    assert not (target / "mine").exists() and (target / "toy.yaml").exists()
    assert [path.name for path in target.parent.iterdir()] == ["toy"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("exchanges", [True, False])
def test_killed_while_it_replaces_the_old_or_the_new_folder_is_whole(source, tmp_path, moment, exchanges):
    """Killed at the exchange, or between the two renames of a file system that has none; `describe` finds a folder."""
    target = convert_mmrec(source, "toy", tmp_path / "out")
    (target / "mine").write_text("notes")

    def die_while_replacing():
        exchange, rename = files.exchange, os.rename

        def killing(call):
            def call_and_die(*arguments):
                if moment == "after":
                    call(*arguments)
                os._exit(9)

            return call_and_die

        if exchanges:
            files.exchange = killing(exchange)
        else:
            files.exchange = lambda first, second: setattr(os, "rename", killing(rename))
        convert_mmrec(source, "toy", tmp_path / "out", overwrite=True)

    assert killed(die_while_replacing) == 9
    assert describe(target)["users"] == 2
    assert (target / "mine").exists() == (not exchanges or moment == "before")
    convert_mmrec(source, "toy", tmp_path / "out", overwrite=True)
    assert [path.name for path in target.parent.iterdir()] == ["toy"]


def test_failed_replacement_keeps_the_old_folder(source, tmp_path):
    target = convert_mmrec(source, "toy", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    write_inter(source, ROWS[:3])
    with pytest.raises(ValueError, match="without test"):
        convert_mmrec(source, "toy", tmp_path / "out", overwrite=True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in target.parent.iterdir()] == ["toy"]


def test_source_is_never_replaced(source):
    with pytest.raises(ValueError, match="is the source, or holds it"):
        convert_mmrec(source, "mmrec", source.parent, overwrite=True)
    (source / "raw").mkdir()
    with pytest.raises(ValueError, match="is the source, or holds it"):
        convert_mmrec(source / "raw", "mmrec", source.parent, overwrite=True)
    with pytest.raises(ValueError, match="cannot name a data set"):
        convert_mmrec(source, "a/b", source.parent)
