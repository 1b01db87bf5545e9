"""Names that a layout reads and that are no files: refused by name, never passed over or waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recbole_mm.__main__ import main
from tests.data.conversion import samples

KINDS = {"pipe": "is a pipe", "device": "is a device", "nowhere": "leads nowhere", "folder": "is a folder"}
NAMES = [
    ("mmrec", "toys.inter"),
    ("mmrec", "image_feat.npy"),
    ("mmrec", "audio_whisper.npy"),
    ("mmrec", "i_id_mapping.csv"),
    ("mmrec", "u_id_mapping.csv"),
    ("mmrec", "item_ids.txt"),
    ("mmrec", "toys.item"),
    ("hkuds", "trnMat.pkl"),
    ("hkuds", "valMat.pkl"),
    ("hkuds", "image_feat.npy"),
    ("mmssl", "train.json"),
    ("mmssl", "val.json"),
    ("mmssl", "text_feat.npy"),
    ("lattice", "5-core/train.json"),
    ("lattice", "5-core/val.json"),
    ("lattice", "text_feat.npy"),
    ("amazon2014", "meta_Toys.json.gz"),
    ("amazon2014", "image_features_Toys.b"),
    ("amazon2023", "meta_Toys.jsonl.gz"),
    ("elliot", "val.tsv"),
    ("microlens", "pairs.csv"),
    ("microlens", "toys_titles.csv"),
    ("table", "items.csv"),
    ("table", "item_ids.txt"),
]


def put(kind: str, path: Path) -> None:
    """Something that is no file, or no folder, in the place of what was there."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "nowhere": "none"}[kind])


def refused(capsys, *words) -> str:
    assert main(["convert", *map(str, words), "--name", "toys"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sample(layout: str) -> Path:
    Path("source").mkdir()
    return getattr(samples, layout)(Path("source")).source


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layout", "name"), NAMES)
@pytest.mark.parametrize("command", ["own", "auto"])
def test_refused_by_name(capsys, layout, name, kind, command):
    source = sample(layout)
    source = source if source.is_dir() else source.parent
    put(kind, source / name)
    message = refused(capsys, layout if command == "own" else "auto", source)
    assert f"{source / name} {KINDS[kind]}, so it cannot be read; restore the file, or delete the name" in message


@pytest.mark.parametrize("kind", ["pipe", "device", "nowhere"])
@pytest.mark.parametrize(("layout", "name"), [("microlens", "toys_covers"), ("elliot", "audio_embeddings")])
def test_where_a_folder_is_expected(capsys, layout, name, kind):
    put(kind, sample(layout) / name)
    assert f"{name} {KINDS[kind]}" in refused(capsys, layout, "source")


@pytest.mark.parametrize("kind", KINDS)
def test_other_names_are_left_alone(capsys, kind):
    put(kind, sample("mmrec") / "notes.md")
    assert main(["convert", "auto", "source", "--name", "toys"]) == 0


def test_a_folder_of_parquet_files_may_be_called_as_they_are(capsys):
    source = sample("huggingface")
    (source / "more.parquet").mkdir()
    assert main(["convert", "auto", str(source), "--name", "toys"]) == 0


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_the_source_itself(capsys, kind):
    put(kind, Path("orders.csv"))
    assert f"orders.csv {KINDS[kind]}; give a regular file" in refused(capsys, "auto", "orders.csv")


@pytest.mark.parametrize("kind", KINDS)
def test_beside_a_file(capsys, kind):
    source = sample("amazon2023")
    put(kind, source / "meta_Toys.jsonl.gz")
    assert f"meta_Toys.jsonl.gz {KINDS[kind]}" in refused(capsys, "auto", source / "Toys.jsonl.gz")
