"""Every layout: recognised, converted as it is, loaded by RecBole and trained for one epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_mm.__main__ import main
from recbole_mm.data import converters
from recbole_mm.data.feature_file import find_modalities, read_features
from recbole_mm.io.tables import read_table
from recbole_mm.registry import CONVERTERS
from recbole_mm.testing.toy import start
from tests.data.conversion.samples import SAMPLES, Sample, make


def test_there_is_a_sample_of_each_layout():
    converters.load()
    assert set(CONVERTERS) == set(SAMPLES)


@pytest.mark.parametrize("layout", SAMPLES)
def test_the_right_layout_alone_is_recognised(layout, tmp_path):
    sample = make(layout, tmp_path)
    assert list(converters.recognise(sample.source)) == [layout]


@pytest.mark.parametrize("layout", SAMPLES)
def test_what_is_written_is_what_was_read(layout, tmp_path):
    sample = make(layout, tmp_path)
    folder = convert(sample, "auto")
    assert sorted(written_pairs(folder), key=str) == sorted(sample.pairs, key=str)
    assert find_modalities(folder, "toys") == list(sample.features)
    for modality, vectors in sample.features.items():
        table = read_features(folder, "toys", modality)
        assert set(table.ids) == set(vectors)
        for item, row in zip(table.ids, table.values, strict=True):
            assert row.dtype == vectors[item].dtype and row.tobytes() == vectors[item].tobytes()
    if sample.titles:
        items = read_table(folder / "toys.item")
        title = next(column for column in items if column.partition(":")[0] in ("title", "Titel"))
        assert dict(zip(items["item_id:token"], items[title], strict=True)) == sample.titles
    else:
        assert not (folder / "toys.item").exists()


@pytest.mark.parametrize("layout", SAMPLES)
def test_recbole_trains_on_what_was_converted(layout, tmp_path):
    sample = make(layout, tmp_path)
    folder = convert(sample, layout)
    settings = yaml.safe_load((folder / "toys.yaml").read_text())
    model = "VBPR" if sample.features else "BPR"
    small = {"epochs": 1, "embedding_size": 4, "train_batch_size": 64, "topk": [5], "valid_metric": "Recall@5"}
    run = start(model, folder.parent, "toys", **small, **settings)
    assert run.dataset.inter_num == len(sample.pairs)
    if sample.pairs[0][2] is not None:
        assert [len(loader._dataset) for loader in (run.train_data, run.valid_data, run.test_data)] == [80, 20, 20]
    run.trainer().fit(run.train_data, run.valid_data, saved=False, verbose=False, show_progress=False)
    for modality, vectors in sample.features.items():
        ids = run.dataset.field2id_token["item_id"]
        feature = run.dataset.modality_feature(modality).numpy()
        for number in range(1, run.dataset.item_num):
            np.testing.assert_array_equal(feature[number], vectors[ids[number]].astype(np.float32))


def test_ids_of_mmrec_that_the_mapping_does_not_tell_apart_are_refused(tmp_path, capsys):
    sample = make("mmrec", tmp_path)
    mapping = sample.source / "i_id_mapping.csv"
    mapping.write_text(mapping.read_text().replace("B003", "B002"))
    assert main(["convert", "mmrec", str(sample.source), "--name", "toys"]) == 2
    assert "i_id_mapping.csv, line 5: the id 'B002' is that of itemID 2 and 3" in capsys.readouterr().err


def convert(sample: Sample, layout: str) -> Path:
    """Through the command line, as the data set `toys`."""
    options = [*sample.options, "--name", "toys", "--out", "data"]
    assert main(["convert", layout, str(sample.source), *options]) == 0
    return Path("data", "toys").absolute()


def written_pairs(folder: Path) -> list[tuple[str, str, str | None]]:
    found = []
    for path in folder.glob("*.inter"):
        split = path.name.removeprefix("toys.").removesuffix("inter").rstrip(".") or None
        table = read_table(path, ["user_id:token", "item_id:token"])
        found += [
            (user, item, split) for user, item in zip(table["user_id:token"], table["item_id:token"], strict=True)
        ]
    return found
