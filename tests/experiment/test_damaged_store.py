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
        (edited(run="another"), "is of run another; restore it, or delete it to run it again"),
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
    for use in (Store(out).write_tables, lambda: Store(out).trials(file.stem)):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert str(file) in str(caught.value) and "delete it to search again" in str(caught.value)


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
        assert store.has(run) and store.trials(search)


def test_the_tables_come_back(out, capsys):
    """From the files of runs and searches, whatever happened to them."""
    before = {table: pd.read_parquet(out / f"{table}.parquet") for table in TABLES}
    for table in TABLES:
        (out / f"{table}.parquet").write_bytes(b"damage")
    assert main(RESUME) == 0
    for table, content in before.items():
        pd.testing.assert_frame_equal(pd.read_parquet(out / f"{table}.parquet"), content)
