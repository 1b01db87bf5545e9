"""A conversion through the command line: options, what is left out and why, and what bad input says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from recbole.config import Config
from recbole.data import create_dataset

from recbole_mm.__main__ import main
from recbole_mm.data.conversion import convert as conversion
from recbole_mm.data.describe import describe
from recbole_mm.data.feature_file import read_features
from recbole_mm.io.tables import read_table
from recbole_mm.testing.toy import QUIET
from tests.data.conversion.samples import make
from tests.io.test_files import killed

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["convert", *map(str, arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture
def ratings() -> Path:
    """Three users with three items each, and one of a single interaction; one repetition, two low ratings."""
    lines = ["reviewer,asin,stars,date,text"]
    lines += [f"u{u},i{i},{5 - (u + i == 4) * 3},{1_700_000_000 + 10 * u + i},x" for u in range(3) for i in range(3)]
    lines += ["u0,i0,4.50,1700000100,again", "rare,i0,5,1700000000.25,x"]
    Path("ratings.csv").write_text("\n".join(lines) + "\n")
    return Path("ratings.csv")


def inter(name: str = "ratings", split: str = "") -> list[tuple[str, ...]]:
    path = Path("dataset_atomic", name, f"{name}{split}.inter")
    return [tuple(row) for row in read_table(path).itertuples(index=False)]


def test_values_of_the_file_are_kept(capsys, ratings):
    code, out, _ = run(capsys, "auto", ratings)
    assert code == 0
    assert "layout table (ratings.csv)" in out
    assert "user = 'reviewer', item = 'asin', rating = 'stars', time = 'date'; not read: text" in out
    text = Path("dataset_atomic/ratings/ratings.inter").read_text()
    assert text.startswith(HEADER + "u0\ti0\t5\t1700000000\n")
    assert text.endswith("u0\ti0\t4.50\t1700000100\nrare\ti0\t5\t1700000000.25\n")


def test_dry_run_says_what_it_would_do_and_writes_nothing(capsys, ratings):
    code, out, _ = run(capsys, "auto", ratings, "--dry-run", "--k-core", 2, "--split", "time", "--name", "mine")
    assert code == 0 and "2-core, split: time 0.8 0.1 0.1; to dataset_atomic/mine" in out
    assert "Nothing was written" in out and os.listdir() == ["ratings.csv"]


def test_what_is_left_out_is_counted_by_reason(capsys, ratings):
    options = ("--min-rating", 3, "--duplicates", "first", "--k-core", 2)
    code, out, _ = run(capsys, "auto", ratings, *options)
    assert code == 0
    for line in ("left out                   1  interactions: rating below 3",
                 "left out                   1  interactions: repeated; the first is kept",
                 "left out                   1  interactions: outside the 2-core",
                 "interactions              11            8", "users                      4            3"):  # fmt: skip
        assert line in out
    assert ("rare", "i0") not in {row[:2] for row in inter()}


def test_splits(capsys, ratings):
    options = ("--duplicates", "last", "--k-core", 2, "--overwrite")
    assert run(capsys, "auto", ratings, *options, "--split", "leave-one-out")[0] == 0
    assert {row[:2] for row in inter(split=".test")} == {("u0", "i0"), ("u1", "i2"), ("u2", "i2")}
    assert {row[:2] for row in inter(split=".valid")} == {("u0", "i2"), ("u1", "i1"), ("u2", "i1")}
    assert run(capsys, "auto", ratings, *options, "--split", "random", "--ratios", 0.4, 0.3, 0.3)[0] == 0
    assert [len(inter(split=split)) for split in (".train", ".valid", ".test")] == [3, 3, 3]
    assert run(capsys, "auto", ratings, *options, "--split", "time", "--ratios", 0.6, 0.2, 0.2)[0] == 0
    latest = [max(float(row[3]) for row in inter(split=split)) for split in (".train", ".valid", ".test")]
    assert latest == sorted(latest)


def test_columns_that_are_named(capsys, ratings):
    Path("r.csv").write_text("a,b,c\nx,y,1\n")
    assert run(capsys, "table", "r.csv", "--user", "b", "--item", "a", "--time", "none")[0] == 0
    assert inter("r") == [("y", "x")]
    assert run(capsys, "table", "r.csv", "--user", "b", "--item", "a", "--rating", "c", "--overwrite")[0] == 0
    assert inter("r") == [("y", "x", "1")]


def test_dates_become_seconds(capsys):
    Path("r.csv").write_text("user,item,date\na,b,2024-05-31 10:00:00\nc,d,2024-06-01\n")
    code, out, _ = run(capsys, "auto", "r.csv")
    assert code == 0 and "dates became seconds since 1970" in out
    assert [row[2] for row in inter("r")] == ["1717149600", "1717200000"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("user,item\na,b\n", ["--min-rating", "3"], "--min-rating: r.csv has no ratings"),
        ("user,item\na,b\n", ["--split", "time"], "--split time: r.csv has no times"),
        ("user,item\na,b\n", ["--split", "leave-one-out"], "r.csv: the valid split is empty"),
        ("user,item\na,b\n", ["--k-core", "5"], "r.csv: no interaction is left (1 outside the 5-core)"),
        ("user,item\na,b\n", ["--k-core", "-1"], "--k-core: -1"),
        ("user,item\na,b\n", ["--split", "random", "--ratios", "1", "1", "1"], "--ratios: 1.0 1.0 1.0 are no shares"),
        ("user,item\na,b\n", ["--ratios", "nan", "0.5", "0.5", "--split", "random"], "--ratios: nan 0.5 0.5"),
        ("user,item\na,b\n", ["--seed", "-1"], "--seed: -1 is no seed"),
        ("user,item,rating\na,b,1\n", ["--min-rating", "nan"], "--min-rating: nan is no rating"),
        ("user,item\na,b\n", ["--user", "usr"], "--user: r.csv has no column 'usr' (did you mean user?)"),
        ("user,item\na,b\n", ["--name", "a/b"], "'a/b' cannot name a data set"),
        ("user,item\na,b\n", ["--name", ""], "'' cannot name a data set"),
        ("user,item\na,b\n", ["--name", " "], "' ' cannot name a data set"),
        ("user,item\na,b\n", ["--name", "a\nb"], "cannot name a data set; give a plain name of at most 150 bytes"),
        ("user,item\na,b\n", ["--name", "ä" * 76], "cannot name a data set; give a plain name of at most 150 bytes"),
        ("user,item\n", [], "r.csv holds no interactions"),
        ("user,item\na,b\n,c\n", [], "r.csv, line 3: the user id is empty"),
        ("user,item,rating\na,b,1\n\na,b,good\n", [], "r.csv, line 4: the rating is 'good', which is no number"),
        ("user,item,rating\na,b,\n", [], "r.csv, line 2: the rating is missing"),
        ("user,item,rating\na,b,inf\n", [], "r.csv, line 2: the rating is 'inf', which is not finite"),
        ("user,item,time\na,b,soon\n", [], "r.csv, line 2: the time is 'soon', neither a number nor a date"),
        ("user,item,time\na,b,1\na,b,2024-01-01\n", [], "r.csv, line 3: the time is '2024-01-01', which is no number"),
        ('user,item\na,"b\nc"\n', [], "r.csv, line 2: the item id 'b\\nc' has a tab, a line's end or a NUL"),
        ("user,item\na,b\0c\n", [], "r.csv, line 2: the item id 'b\\x00c' has a tab, a line's end or a NUL"),
        ("who,what,much,more,less\na,b,c,d,e\n", [], "r.csv, line 1: no column looks like the user and the item"),
        ("", [], "r.csv is empty"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(capsys, content, options, message):
    Path("r.csv").write_text(content)
    code, _, err = run(capsys, "auto", "r.csv", *options)
    assert code == 2 and message in err and err.count("\n") == 1
    assert not Path("dataset_atomic").exists() or not os.listdir("dataset_atomic")


REVIEW = {"user_id": "u", "parent_asin": "a", "rating": 5, "timestamp": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{bad", "line 2: no JSON object"),
        ("[1]", "line 2: expected an object"),
        (json.dumps({"user_id": "u"}), "line 2: there is no parent_asin or asin; found user_id"),
        (json.dumps({**REVIEW, "parent_asin": ["x"]}), "line 2: parent_asin is ['x'], neither a text nor a number"),
        (json.dumps({**REVIEW, "rating": None}), "line 2: there is no rating"),
        (json.dumps({**REVIEW, "rating": "good"}), "line 2: the rating is 'good', which is no number"),
        (json.dumps({**REVIEW, "parent_asin": "\ud800"}), "line 2: no JSON object ('utf-8' codec can't encode"),
        ("[" * 100_000, "line 2: no JSON object (maximum recursion depth exceeded"),
    ],
)
def test_a_bad_record_is_named(capsys, line, message):
    Path("r.jsonl").write_text(f"{json.dumps(REVIEW)}\n{line}\n")
    code, _, err = run(capsys, "auto", "r.jsonl")
    assert code == 2 and f"r.jsonl, {message}" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    ["{'asin': exit()}", "{'asin': 'a'", "{[]: 1}", "{'asin': " + "-" * 9999 + "1}"],
    ids=["code", "cut short", "no key", "deep"],
)
def test_bad_metadata_is_named_in_plain_words(capsys, tmp_path, line):
    source = make("amazon2014", tmp_path).source
    (source / "meta_Toys.json.gz").write_text(f"{line}\n")
    code, _, err = run(capsys, "auto", source)
    reason = "nor a Python dictionary of plain values; code is not run"
    assert code == 2 and f"meta_Toys.json.gz, line 1: no JSON object ({reason})" in err and err.count("\n") == 1


def test_features_without_rows_are_named(capsys, tmp_path):
    source = make("amazon2014", tmp_path).source
    (source / "image_features_Toys.b").write_bytes(b"")
    code, _, err = run(capsys, "auto", source)
    assert code == 2 and "image_features_Toys.b holds no features; fill it" in err and err.count("\n") == 1


def test_records_with_large_and_mixed_numbers_keep_them(capsys):
    records = [REVIEW, {**REVIEW, "user_id": 10**30, "rating": "4", "timestamp": 10**20}]
    Path("r.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert run(capsys, "auto", "r.jsonl")[0] == 0
    assert inter("r") == [("u", "a", "5", "1"), (str(10**30), "a", "4", str(10**20))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"0": [1], "0": [2]}', "the key '0' is there twice"),
        ('{"0": [NaN]}', "user '0' has the item nan, which is no row number"),
        ('{"0": [1.5]}', "user '0' has the item 1.5, which is no row number"),
        ('{"0": 1}', "user '0' has int instead of a list of items"),
        ('{"0": [99]}', "item 99 has no row in"),
        ("{}", "is split into train and valid, without test"),
        ('{"0": [1,', "line 1, column 10: no JSON"),
        ("[1]", "expected an object from users to lists of items, found list"),
    ],
)
def test_a_bad_json_split_is_named(capsys, tmp_path, content, message):
    sample = make("mmssl", tmp_path)
    (sample.source / "test.json").write_text(content)
    code, _, err = run(capsys, "auto", sample.source)
    assert code == 2 and message in err and str(sample.source) in err and err.count("\n") == 1


def test_another_layout_is_named(capsys, tmp_path):
    sample = make("hkuds", tmp_path)
    code, _, err = run(capsys, "mmrec", sample.source, "--name", "x")
    assert code == 2 and "looks like the layout hkuds (trnMat.pkl" in err and "convert auto" in err
    assert run(capsys, "auto", tmp_path / "nothing")[0] == 2
    Path("atomic").mkdir()
    Path("atomic/atomic.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    assert "is a data set of RecBole's already" in run(capsys, "auto", "atomic")[2]


@pytest.mark.parametrize("layout", ["mmrec", "hkuds", "mmssl", "lattice", "amazon2023"])
def test_an_option_that_a_layout_does_not_read_is_refused(capsys, tmp_path, layout):
    sample = make(layout, tmp_path)
    for option in ("--user", "--items", "--interactions"):
        code, _, err = run(capsys, "auto", sample.source, option, "x")
        assert code == 2 and f"{option}: x is not read from {sample.source}" in err and err.count("\n") == 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_items_of_a_folder_may_be_of_another_form_and_what_is_not_read_is_told(capsys, form):
    pairs, items = pd.DataFrame({"user": ["u", "v"], "item": ["a", "b"]}), pd.DataFrame({"item": ["a"], "title": ["A"]})
    source = Path("source")
    source.mkdir()
    for name, frame in (("ratings", pairs), ("items", items)):
        if (name == "ratings") == (form == "csv"):
            frame.to_csv(source / f"{name}.csv", index=False)
        else:
            frame.to_parquet(source / f"{name}.parquet")
    np.save(source / "features.npy", np.eye(2))
    (source / "users.csv").write_text("user,age\nu,3\n")
    (source / "README.md").write_text("what it is")
    code, out, _ = run(capsys, "auto", source, "--name", "toys")
    assert code == 0 and "not read: features.npy, users.csv\n" in out
    assert read_table("dataset_atomic/toys/toys.item").to_numpy().tolist() == [["a", "A"]]


def test_features_that_are_made_afterwards_are_used_too(capsys, tmp_path):
    sample = make("hkuds", tmp_path)
    assert run(capsys, "auto", sample.source, "--name", "toys")[0] == 0
    folder = Path("dataset_atomic/toys")
    before = [modality["name"] for modality in describe(folder)["modalities"]]
    np.save("late.npy", np.eye(2, dtype=np.float32))
    Path("ids.txt").write_text("0\n1\n")
    assert run(capsys, "npy", "late.npy", "--ids", "ids.txt", "--modality", "late", "--dataset", folder)[0] == 0
    settings = {**QUIET, **yaml.safe_load((folder / "toys.yaml").read_text()), "data_path": "dataset_atomic"}
    assert sorted(create_dataset(Config("VBPR", "toys", config_dict=settings)).modalities) == sorted([*before, "late"])


def test_features_of_items_that_are_filtered_out_are_left_out(capsys, tmp_path):
    sample = make("mmssl", tmp_path)
    np.save(sample.source / "image_feat.npy", np.ones((14, 2)))  # two rows of items without interactions stay
    path = sample.source / "train.json"
    listed = json.loads(path.read_text())
    few = {user: [item for item in items if item != 0 or user in "01"] for user, items in listed.items()}
    path.write_text(json.dumps(few))
    code, out, _ = run(capsys, "auto", sample.source, "--k-core", 5, "--split", "none", "--name", "toys")
    assert code == 0 and "visual                    14           13" in out
    assert "1 row of items that are not in the data set left out" in out
    assert "0" not in read_features(Path("dataset_atomic/toys"), "toys", "visual").ids


@pytest.mark.parametrize("header", ["", "user\titem\n", "who\twhat\n"])
def test_ids_of_elliot_that_are_words_are_no_header(capsys, tmp_path, header):
    """Two columns of words, the second without one that any column is called; a header is known or named."""
    for split, item in (("train", "apple"), ("val", "plum"), ("test", "pear")):
        (tmp_path / f"{split}.tsv").write_text(f"{header}ann\t{item}\nbob\t{item}\n")
    words = ["--user", "who", "--item", "what"] if "who" in header else []
    assert run(capsys, "elliot", tmp_path, "--name", "toys", *words)[0] == 0
    written = Path("dataset_atomic/toys/toys.train.inter").read_text()
    assert written == "user_id:token\titem_id:token\nann\tapple\nbob\tapple\n"


def test_the_summary_names_folders_by_their_path(capsys, tmp_path):
    code, out, _ = run(capsys, "auto", make("ducho", tmp_path).source)
    assert code == 0 and "from visual_embeddings/torch/ResNet50/avgpool\n" in out


def test_features_of_other_items_are_refused(capsys, tmp_path):
    sample = make("ducho", tmp_path)
    table = sample.source / "reviews.tsv"
    table.write_text(table.read_text().replace("\tB", "\tC"))
    code, _, err = run(capsys, "auto", sample.source)
    assert code == 2 and "none of its 12 rows (first: 'B0') is of an item of the interactions" in err


def test_killed_while_it_writes_the_old_folder_is_whole(capsys, ratings):
    assert run(capsys, "auto", ratings)[0] == 0
    target = Path("dataset_atomic", "ratings")
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def die_at_the_last_file():
        conversion._settings = lambda *_: os._exit(9)
        main(["convert", "auto", str(ratings), "--overwrite", "--k-core", "2"])

    assert killed(die_at_the_last_file) == 9
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert run(capsys, "auto", ratings, "--overwrite")[0] == 0
    assert os.listdir("dataset_atomic") == ["ratings"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("start, step", [(1_700_000_000, 7), (1_700_000_000_000_000_000, 1), (2**53, 1)])
def test_times_and_ids_of_any_size_keep_their_order_and_value(capsys, form, start, step):
    """Above 2 ** 53 float64 rounds whole numbers; no two of these are equal."""
    rows = [(2**53 + user, 2**62 + (7 * user + 3 * place) % 25, start + (user * 6 + place) * step)
            for place in (3, 0, 5, 1, 4, 2) for user in range(8)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    frame.to_csv("log.csv", index=False) if form == "csv" else frame.to_parquet("log.parquet")
    code, _, err = run(capsys, "table", f"log.{form}", "--split", "leave-one-out")
    assert code == 0, err
    latest = {user: (item, time) for user, item, time in sorted(rows, key=lambda row: row[2])}
    assert inter("log", ".test") == [(str(user), str(item), str(time)) for user, (item, time) in sorted(latest.items())]
