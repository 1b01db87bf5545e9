"""Stores that are damaged: each file in each way is one line that names it, and nothing is computed of the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from recbole_mm.__main__ import main
from recbole_mm.experiment import experiment, search
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.store import Store, join
from recbole_mm.testing.toy import write_planted
from tests.experiment.in_this_process import in_this_process

PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
models: [BPR, {FREEDOM: {knn_k: [3, 4]}}]
settings: {epochs: 2, embedding_size: 8, train_batch_size: 64}
topk: [5]
search: {budget: 2, metric: NDCG@5}
"""


CALLED = "data set, model, settings and seed are not those that row and run are called by"
RESUME = ["experiment", "plan.yaml", "--out", "out", "--resume"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished experiment, in a folder with its plan."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_planted(folder / "data", {"visual": 6})
    (folder / "plan.yaml").write_text(PLAN % data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["script"])  # RecBole reads pytest's
        patch.chdir(folder)
        for module in (experiment, search):
            patch.setattr(module, "results_of", in_this_process)
        run_experiment(folder / "plan.yaml", folder / "out", tell=lambda line: None)
    return folder


@pytest.fixture
def out(whole, tmp_path, monkeypatch) -> Path:
    """A copy of it; what is run again is run in this process, as nothing here is about processes."""
    monkeypatch.setattr(experiment, "results_of", in_this_process)
    shutil.copytree(whole / "out", tmp_path / "out")
    shutil.copy(whole / "plan.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Path("out")


def first(out: Path, pattern: str) -> Path:
    return sorted(out.glob(pattern))[0]


def refusal(command: list[str], capsys) -> str:
    assert main(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


# ---------------------------------------------------------------- JSON of runs and searches


def edited(**values) -> Callable[[dict], None]:
    return lambda content: content["record"].update(values)


@pytest.mark.parametrize(
    "edit, message",
    [
        (edited(seed="2020"), r"record.seed: .*integer"),
        (edited(seed=-1), "record.seed: .*greater than or equal to 0"),
        (edited(seed=True), "record.seed: .*integer"),
        (edited(epochs=-3), "record.epochs: "),
        (edited(seconds=-1.0), "record.seconds: .*it is no amount"),
        (edited(peak_memory=float("-inf")), "record.peak_memory: .*it is no amount"),
        (edited(ended="well"), "record.ended: .*'stopped'"),
        (edited(settings="{}"), f"record: .*{CALLED}"),
        (edited(row="0123456789abcdef"), f"record: .*{CALLED}"),
        (edited(dataset="other"), f"record: .*{CALLED}"),
        (edited(model="LightGCN"), f"record: .*{CALLED}"),
        (edited(seed=2021), f"record: .*{CALLED}"),
        (edited(own='{"embedding_size": 9}'), "record: .*own has another embedding_size than settings"),
        (edited(parameters=10**30), "record.parameters: .*less than 9223372036854775808"),
        (edited(model=7), "record.model: .*string"),
        (edited(run="../../x"), "record.run: string should match pattern"),
        (edited(row="a/b"), "record.row: string should match pattern"),
        (edited(data="../data"), "record.data: string should match pattern"),
        (edited(settings={"a": 1}), "record.settings: .*string"),
        (edited(settings="[1]"), "record.settings: .*it is no JSON object"),
        (edited(sweep="{"), "record.sweep: "),
        (edited(settings='{"a":' * 100_000), "record.settings: .*nested too deeply"),
        (edited(sweep='{"k": 1, "k": 2}'), "record.sweep: .*'k' is there twice"),
        (edited(test={"ndcg@5": float("nan")}), "record.test.ndcg@5: .*finite"),
        (edited(test={"ndcg@5": "0.4"}), "record.test.ndcg@5: .*number"),
        (edited(valid=[1]), "record.valid: "),
        (edited(versions={"torch": 2}), "record.versions.torch: .*string"),
        (edited(run="another"), f"record: .*{CALLED}.; restore it, or delete it to run"),
        (lambda content: content["record"].pop("label"), "record.label: field required"),
        (lambda content: content.pop("curves"), "curves: field required"),
        (lambda content: content["curves"].append({"epoch": 1}), r"curves.\d+.stage: field required"),
        (lambda content: content["curves"][0].update(value="x"), "curves.0.value: .*number"),
    ],
)  # fmt: skip
def test_a_run(out, edit, message):
    file = first(out, "runs/*.json")
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    for use in (Store(out).write_tables, lambda: Store(out).has(file.stem), lambda: join([out], Path("joined"))):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert not list(Path("joined").rglob("*.json"))[1:]  # but store.json


def test_a_run_under_the_name_of_another(out):
    file = first(out, "runs/*.json")
    shutil.copy(file, file.with_name("another.json"))
    with pytest.raises(ValueError, match=f"another.json is of run {file.stem}; restore it, or delete it to run it"):
        Store(out).check()


@pytest.mark.parametrize("test", [{}, {"ndcg@5": 0.4}])
def test_a_run_without_the_mean_of_what_its_users_have(out, test, capsys):
    file = first(out, "runs/*.json")
    content = json.loads(file.read_text())
    content["record"]["test"] = test
    file.write_text(json.dumps(content))
    said = f"{file.absolute()} is damaged (record.test has no recall@5); {remedy(file)}"
    assert refusal(RESUME, capsys) == f"error: {said}"


def remedy(file: Path) -> str:
    return f"restore both files of the run, or delete {file.absolute()} to run it again"


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda users: users.iloc[3:], "recall@5 is [0-9.]+, and [0-9.]+ on average of its users"),
        (lambda users: users.assign(**{"ndcg@5": 0.9}), "ndcg@5 is [0-9.]+, and 0.9 on average of its users"),
        (lambda users: pd.concat([users, users]), r"its users are damaged \(user '.+' is there twice\)"),
    ],
)
def test_a_run_that_is_not_of_its_users(out, change, said, capsys):
    file = first(out, "runs/*.json")
    users = file.with_suffix(".users.parquet")
    change(pd.read_parquet(users)).to_parquet(users, index=False)
    assert re.fullmatch(f"error: {file.absolute()}: {said}; {remedy(file)}", refusal(RESUME, capsys))


@pytest.mark.parametrize("table", ["runs", "per_user"])
def test_a_table_of_runs_that_are_not_of_their_users(out, table, capsys):
    file = out / f"{table}.parquet"
    name = {"runs": "test_ndcg@5", "per_user": "ndcg@5"}[table]
    pd.read_parquet(file).assign(**{name: 0.9}).to_parquet(file, index=False)
    said = "runs.parquet: run .*: ndcg@5 is [0-9.]+, and [0-9.]+ on average of its users; write the tables again by "
    assert re.search(said, refusal(["report", "out"], capsys))


def test_a_table_of_runs_without_the_mean_of_what_its_users_have(out, capsys):
    pd.read_parquet(out / "runs.parquet").drop(columns="test_recall@5").to_parquet(out / "runs.parquet", index=False)
    assert "runs.parquet has no column 'test_recall@5' for per_user.parquet; " in refusal(["report", "out"], capsys)


def test_a_table_of_runs_that_lacks_some(out, capsys):
    """What is left would be reported as all."""
    file = out / "runs.parquet"
    pd.read_parquet(file).iloc[1:].to_parquet(file, index=False)
    assert re.search(
        "runs.parquet has no run .*, which per_user.parquet has; write", refusal(["report", "out"], capsys)
    )


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda tried: tried[0].update(settings="knn_k=3"), "0.settings: "),
        (lambda tried: tried[0].update(value="best"), "0.value: "),
        (lambda tried: tried[0].update(evaluations=-1), "0.evaluations: "),
        (lambda tried: tried[0].pop("status"), "0.status: field required"),
        (lambda tried: [trial.update(chosen=False) for trial in tried], "not one setting is chosen"),
        (lambda tried: [trial.update(chosen=True) for trial in tried], "not one setting is chosen"),
        (lambda tried: tried.clear(), "not one setting is chosen"),
    ],
)
def test_a_search(out, edit, message):
    file = first(out, "trials/*.json")
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    for use in (Store(out).write_tables, Store(out).check):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert str(file) in str(caught.value) and "delete it to search again" in str(caught.value)


def test_trials_of_another_search(out, capsys):
    """Whose settings would be those of the rows."""
    file = first(out, "trials/*.json")
    whole = json.loads(file.read_text())
    better, worse = sorted((0, 1), key=lambda number: whole[number]["chosen"], reverse=True)
    edits = {
        "0.settings is {'knn_k': 9}, and {'knn_k': 3} is searched": {0: {"settings": {"knn_k": 9}}},
        "1.metric is 'MRR@5', and 'NDCG@5' is searched": {1: {"metric": "MRR@5"}},
        "1.trial is 3, and 1 is searched": {1: {"trial": 3}},
        f"{worse}.chosen: another is better": {
            better: {"chosen": False, "value": 0.9}, worse: {"chosen": True, "value": 0.1}
        },
    }  # fmt: skip
    for said, edit in edits.items():
        file.write_text(json.dumps([{**trial, **edit.get(number, {})} for number, trial in enumerate(whole)]))
        again = "restore it, or delete it to search again"
        assert refusal(RESUME, capsys) == f"error: {file.absolute()} is damaged ({said}); {again}"
    file.write_text(json.dumps(whole[:1]))
    assert "(it has 1 settings, and 2 are searched)" in refusal(RESUME, capsys) or whole[1]["chosen"]


@pytest.mark.parametrize("damage", ["gone", "another data set's"])
def test_digests_of_data_that_are_gone(out, damage, capsys):
    """Other data would pass for those of the runs."""
    file = out / "data_files.json"
    file.unlink() if damage == "gone" else file.write_text('{"other": {}}')
    line = refusal(RESUME, capsys)
    assert f"{file.absolute()} has no digests of toy, and {out.absolute()} has runs of it; restore the file" in line


def test_a_digest_of_data_that_is_gone(out, whole, capsys):
    file = out / "data_files.json"
    kept = json.loads(file.read_text())
    del kept["toy"]["toy.train.inter"]
    file.write_text(json.dumps(kept))
    for modalities in (None, ["visual"]):
        with pytest.raises(ValueError, match=r"toy\.train\.inter changed since the runs"):
            Store(out).check_data("toy", whole / "data" / "toy", modalities)


def test_a_joined_store_goes_on(out):
    """With what its parts knew of the data, where they are the same."""
    join([out, out], Path("joined"))
    assert main([*RESUME[:3], "joined", "--resume"]) == 0
    digests = json.loads((out / "data_files.json").read_text())
    digests["toy"]["toy.train.inter"] = "0"
    (out / "data_files.json").write_text(json.dumps(digests))
    with pytest.raises(ValueError, match="toy.train.inter of toy is another than in a store before"):
        join([Path("joined"), out], Path("another"))


@pytest.mark.parametrize("content", ['{"toy": 3}', '{"toy": {"toy.train.inter": 3}}', "[]", "nan", "\x00"])
def test_digests_of_data(out, whole, content):
    (out / "data_files.json").write_text(content)
    with pytest.raises(ValueError, match=r"out/data_files.json is damaged \("):
        Store(out).check_data("toy", whole / "data" / "toy")


def test_the_command_ends_before_anything_runs(out, capsys):
    file = first(out, "runs/*.json")
    file.write_text("{}")
    assert "is damaged (record: field required)" in refusal(RESUME, capsys)
    file.unlink()
    users = file.with_suffix(".users.parquet")
    assert main(RESUME) == 0 and users.is_file()  # the run, again
    capsys.readouterr()
    users.unlink()
    here = Path.cwd()
    line = refusal(RESUME, capsys)
    assert f"{here / users} is missing; restore it, or delete {here / file} to run it again" in line


# ---------------------------------------------------------------- Parquet

TABLES = ("runs", "per_user", "lists", "curves", "trials")


@pytest.mark.parametrize("table", TABLES)
def test_a_column_that_is_gone(out, capsys, table):
    file = out / f"{table}.parquet"
    content = pd.read_parquet(file)
    for column in [name for name in content if name != "audit" and "@" not in name and not name.startswith("beyond_")]:
        content.drop(columns=column).to_parquet(file)
        line = refusal(["report", "out"], capsys)
        assert f"{file}" in line and f"has no column '{column}'" in line


TEXT, NUMBER, ANY_NUMBER = (0.5, None, [1]), ("text", [1], float("nan")), ("text", [1])
FLAG, LIST = ("x", 1), ("x", [1])
KINDS = {
    "runs": {
        **dict.fromkeys(["run", "row", "dataset", "label", "model", "settings", "sweep", "audit", "versions"], TEXT),
        **dict.fromkeys(["seed", "epochs", "best_epoch", "budget", "test_ndcg@5"], ("text", [1], float("inf"))),
        **dict.fromkeys(["seconds", "peak_memory", "valid_ndcg@5"], ANY_NUMBER),
    },
    "per_user": {"run": TEXT, "user": TEXT, "ndcg@5": NUMBER},
    "lists": {"run": TEXT, "user": TEXT, "items": LIST},
    "curves": {"run": TEXT, "stage": TEXT, "epoch": ANY_NUMBER, "name": TEXT, "value": ANY_NUMBER},
    "trials": {"label": TEXT, "trial": ANY_NUMBER, "settings": TEXT, "value": ANY_NUMBER, "chosen": FLAG},
}


@pytest.mark.parametrize("table", TABLES)
def test_a_column_of_another_kind(out, capsys, table):
    file = out / f"{table}.parquet"
    whole = pd.read_parquet(file)
    for column, values in KINDS[table].items():
        for wrong in values:
            whole.assign(**{column: [wrong] * len(whole)}).to_parquet(file)
            line = refusal(["report", "out"], capsys)
            assert str(file) in line and column.split("_")[0] in line, (column, wrong)


@pytest.mark.parametrize("name", [*(f"{table}.parquet" for table in TABLES[1:]), "items", "users", "test"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "gone", "folder", "pipe", "link"])
def test_a_table_that_is_none(out, capsys, name, damage):
    file = out / name if name.endswith(".parquet") else first(out, f"data/*/{name}.parquet")
    content = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "pipe":
        os.mkfifo(file)
    elif damage == "link":
        file.symlink_to("/nonexistent")
    elif damage != "gone":
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"run,user\n"}[damage])
    line = refusal(["report", "out"], capsys)
    assert str(file) in line


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("items", lambda table: table.drop(columns="training_rows"), "has no column 'training_rows'"),
        ("items", lambda table: table.assign(training_rows=-1), "'training_rows' holds negative numbers, no count"),
        ("items", lambda table: table.assign(training_rows=0.5), "column 'training_rows' holds float, no count"),
        ("items", lambda table: table.assign(imputed_visual="no"), "column 'imputed_visual' holds str, no flag"),
        ("items", lambda table: table.assign(title=1), "column 'title' holds int, no text"),
        ("items", lambda table: table.iloc[:0], "has no row"),
        ("items", lambda table: pd.concat([table, table.iloc[:1]]), "is there twice"),
        ("users", lambda table: table[["user"]], "has no column 'training_rows'"),
        ("train", lambda table: table.assign(user=pd.Categorical([None] * len(table))), "column 'user' holds "),
        ("test", lambda table: table[["item"]], "has no column 'user'"),
    ],
)
@pytest.mark.parametrize("command", [RESUME, ["report", "out"]])
def test_a_table_of_the_data(out, name, change, said, command, capsys):
    file = first(out, f"data/*/{name}.parquet")
    change(pd.read_parquet(file)).to_parquet(file, index=False)
    line = refusal(command, capsys)
    assert f"{file}" in line and said in line and "run the experiment again with another --out" in line


def test_users_of_a_run_that_are_not_in_the_tables(out, capsys):
    for table in ("per_user", "lists"):
        file = out / f"{table}.parquet"
        content = pd.read_parquet(file)
        content[content["run"] != content["run"].iloc[0]].to_parquet(file)
        line = refusal(["report", "out"], capsys)
        assert f"{file} has no users of run" in line and "experiment --resume" in line
        content.to_parquet(file)
    assert main(["report", "out"]) == 0


@pytest.mark.parametrize("name", ["runs/{run}.json", "store.json", "data_files.json", "trials/{search}.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_a_name_that_is_no_file(out, whole, name, kind):
    """It would be taken for absent, and the run made again, whose result the disk then would not take."""
    run, search = first(out, "runs/*.json").stem, first(out, "trials/*.json").stem
    file = out / name.format(run=run, search=search)
    file.unlink()
    {"folder": file.mkdir, "pipe": lambda: os.mkfifo(file), "link": lambda: file.symlink_to("/nonexistent")}[kind]()
    with pytest.raises((ValueError, OSError), match=str(file)):
        store = Store(out)
        store.check_data("toy", whole / "data" / "toy")
        store.check()


def test_the_tables_come_back(out, capsys):
    """From the files of runs and searches, whatever happened to them."""
    before = {table: pd.read_parquet(out / f"{table}.parquet") for table in TABLES}
    for table in TABLES:
        (out / f"{table}.parquet").write_bytes(b"damage")
    assert main(RESUME) == 0
    for table, content in before.items():
        pd.testing.assert_frame_equal(pd.read_parquet(out / f"{table}.parquet"), content)
