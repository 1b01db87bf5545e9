"""Sources of other layouts after a few edits: converted whole, or refused in one line, with nothing written."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.data import converters
from recbole_mm.data.conversion.convert import convert_dataset
from recbole_mm.data.conversion.delimited import DelimitedFile
from recbole_mm.data.conversion.layout import SourceOptions
from recbole_mm.data.conversion.safe_pickle import read_sparse_pickle
from recbole_mm.io.tables import read_table
from recbole_mm.registry import CONVERTERS
from tests.data.conversion.samples import make
from tests.fuzz.strategies import fuzz, letters, mutated, read_or_refuse

# the files of each layout that are damaged, one in a case
FILES = {
    "mmrec": ("toys.inter", "i_id_mapping.csv", "image_feat.npy"),
    "hkuds": ("trnMat.pkl", "valMat.pkl", "image_feat.npy"),
    "mmssl": ("train.json", "test.json"),
    "lattice": ("5-core/val.json",),
    "elliot": ("train.tsv", "visual_embeddings/3.npy"),
    "ducho": ("reviews.tsv",),
    "microlens": ("MicroLens-50k_pairs.csv", "MicroLens-50k_titles.csv"),
    "amazon2014": ("reviews_Toys_5.json.gz", "meta_Toys.json.gz", "image_features_Toys.b"),
    "amazon2023": ("Toys.jsonl.gz", "meta_Toys.jsonl.gz"),
    "huggingface": ("data/train-00000-of-00001.parquet", "items.parquet"),
    "table": ("käufe.csv", "artikel.csv"),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    converters.load()
    folder = tmp_path_factory.mktemp("samples")
    return {layout: make(layout, folder) for layout in FILES}


@pytest.mark.parametrize("layout", FILES)
@fuzz
@given(data=st.data())
def test_damaged_sources(tmp_path, samples, layout, data):
    sample, source, out = samples[layout], tmp_path / "raw", tmp_path / "out"
    if not source.exists():  # one copy for all cases, each of which damages a file of it
        shutil.copytree(sample.source, source)
    file = source / data.draw(st.sampled_from(FILES[layout]))
    whole = file.read_bytes()
    _damage(file, data)
    options = SourceOptions(*sample.options[1::2]) if layout == "table" else SourceOptions()
    try:
        converter = CONVERTERS.get(layout)(source, options)
        report = read_or_refuse(lambda: convert_dataset(converter, "toys", out), Path("raw"))
        if report is None:
            assert not (out / "toys").exists()
        else:
            written = [path for path in report.folder.glob("*.inter")]
            assert sum(len(read_table(path)) for path in written) == report.written.interactions > 0
    finally:
        file.write_bytes(whole)
        shutil.rmtree(out, ignore_errors=True)


def _damage(file: Path, data) -> None:
    content = file.read_bytes()
    if file.suffix == ".gz" and data.draw(st.booleans()):  # of what is in it, not of the packing alone
        file.write_bytes(gzip.compress(data.draw(mutated(gzip.decompress(content)))))
    else:
        file.write_bytes(data.draw(mutated(content)))


cells = st.text(st.one_of(letters, st.sampled_from(['"', '"', ",", "\n"])), max_size=6)


@fuzz
@given(rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=6))
def test_csv_as_python_writes_it_is_read_back(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("case") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["user", "item", "text"], *rows])
    read = read_or_refuse(lambda: _rows(path), path)
    assert read is None or read == rows


@fuzz
@given(rows=st.lists(st.lists(st.text(letters, max_size=6), min_size=3, max_size=3), min_size=1, max_size=6))
def test_raw_tsv_without_marks_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("case") / "a.tsv"
    rows = [[cell.replace('"', "'") for cell in row] for row in rows]
    path.write_text("\n".join("\t".join(row) for row in [["user", "item", "text"], *rows]) + "\n", encoding="utf-8")
    assert _rows(path) == rows


@fuzz
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_pickle(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("case") / "m.pkl"
    path.write_bytes(content)
    assert read_or_refuse(lambda: read_sparse_pickle(path), path) is None


def _rows(path: Path) -> list[list[str]]:
    file = DelimitedFile(path)
    return [
        list(row)
        for cells, _ in file.batches(file.columns)
        for row in zip(*(cells[column] for column in file.columns), strict=True)
    ]
