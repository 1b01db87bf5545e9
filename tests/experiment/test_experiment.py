"""Whole experiments on small data: the store, going on after a kill, and when test data are looked at."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from recbole_mm.experiment import experiment, run, search
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.store import Store, join
from recbole_mm.experiment.tables import read_store
from recbole_mm.ray_session import ray_session
from recbole_mm.testing.toy import write_planted
from recbole_mm_command import main
from tests import commands
from tests.experiment.in_this_process import in_this_process
from tests.kills import is_there
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("ray")
PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
seeds: %d
models: [LightGCN, {FREEDOM: {knn_k: 4}}%s]
settings: {epochs: %d, embedding_size: 8, train_batch_size: 64, learning_rate: 0.01}
topk: [5]
%s
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})
    lines = ["item_id:token\tmovie_title:token_seq", *(f"i{number}\tNumber {number}" for number in range(29))]
    (folder / "toy" / "toy.item").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def session():
    """One Ray for all experiments of this process, with workers that have imported torch already."""
    with ray_session():
        yield


def plan(data: Path, seeds: int = 2, models: str = "", epochs: int = 2, more: str = "") -> Path:
    Path("plan.yaml").write_text(PLAN % (data, seeds, models, epochs, more))
    return Path("plan.yaml")


def numbers(folder: Path) -> pd.DataFrame:
    """What must be the same however often the experiment was killed."""
    runs = read_store(folder).runs.set_index("run").sort_index()
    return runs[
        [name for name in runs if name.startswith(("test_", "valid_", "beyond_"))] + ["seed", "best_epoch", "epochs"]
    ]


def test_an_experiment_fills_a_store_that_others_can_read(data):
    lines: list[str] = []
    run_experiment(plan(data, more="sweep: {POWERec: {prompt_num: [1, 2]}}"), Path("out"), 2, tell=lines.append)
    runs = pd.read_parquet("out/runs.parquet")
    assert len(runs) == 8 and set(runs["error"]) == {""} and runs["run"].is_unique
    users = pd.read_parquet("out/per_user.parquet")
    for _, row in runs.iterrows():
        own = users[users["run"] == row["run"]]
        assert len(own) == 40
        assert row["test_ndcg@5"] == pytest.approx(own["ndcg@5"].astype(float).mean())
    lists = pd.read_parquet("out/lists.parquet")
    assert set(map(len, lists["items"])) == {5}
    curves = pd.read_parquet("out/curves.parquet")
    assert set(curves["name"]) >= {"loss", "valid_recall@5"} and len(curves[curves["name"] == "loss"]) == 16
    assert (runs["peak_memory"] > 0).all() and (runs["parameters"] > 0).all() and (runs["data"] != "").all()
    page = write_report(Path("out"), ["LightGCN"])
    report = page.with_suffix(".md").read_text()
    assert page.read_text().count("<h4>User") == 5 and "Number 2" in page.read_text()
    (folder,) = Path("out/data").iterdir()
    titles = pd.read_parquet(folder / "items.parquet").set_index("item")["title"]
    assert titles["i7"] == "Number 7" and titles["i29"] == ""
    for split in ("train", "test"):
        written = pd.read_csv(data / "toy" / f"toy.{split}.inter", sep="\t", dtype=str)
        kept = pd.read_parquet(folder / f"{split}.parquet").astype(str)
        assert kept.to_numpy().tolist() == written.to_numpy().tolist()
    assert "| FREEDOM (knn_k=4) | 2 |" in report and "### Sweep of POWERec" in report and "not shown" in report
    assert not Path("out/work").exists()


def test_more_models_and_seeds_run_only_what_is_missing(data):
    run_experiment(plan(data, seeds=1), Path("out"), 2)
    before = {file.name: file.stat().st_mtime_ns for file in Path("out/runs").glob("*.json")}
    with pytest.raises(ValueError, match="holds an experiment; add --resume"):
        run_experiment(plan(data, seeds=1), Path("out"), 2)
    lines: list[str] = []
    run_experiment(plan(data, seeds=2, models=", BPR"), Path("out"), 2, resume=True, tell=lines.append)
    assert "4 of 6 runs to do" in lines
    after = {file.name: file.stat().st_mtime_ns for file in Path("out/runs").glob("*.json")}
    assert len(after) == 6 and before.items() <= after.items()


def test_a_table_is_of_the_plan_and_not_of_what_it_was(data):
    """Else runs of other settings would count as seeds of one row."""
    run_experiment(plan(data, seeds=1), Path("out"), 2)
    first = set(read_store(Path("out")).runs["run"])
    run_experiment(plan(data, seeds=1, epochs=3), Path("out"), 2, resume=True)
    runs = read_store(Path("out")).runs
    assert set(runs["epochs"]) == {3} and len(runs) == 2 and not first & set(runs["run"])
    lines: list[str] = []
    run_experiment(plan(data, seeds=1), Path("out"), 2, resume=True, tell=lines.append)
    assert "0 of 2 runs to do" in lines and set(read_store(Path("out")).runs["run"]) == first


def test_an_experiment_has_one_writer(data):
    file, refused = plan(data, seeds=1), []

    def second(line: str) -> None:
        with pytest.raises(BlockingIOError, match="the experiment .*out: process .* does this already; wait until it"):
            run_experiment(file, Path("out"), 2, resume=True)
        refused.append(line)

    run_experiment(file, Path("out"), 2, tell=second)
    assert refused
    run_experiment(file, Path("out"), 2, resume=True)


def test_features_that_no_run_reads_may_come_and_go(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    text = plan(folder, seeds=1).read_text().replace("benchmark_filename:", "modalities: [visual], benchmark_filename:")
    Path("plan.yaml").write_text(text)
    run_experiment(Path("plan.yaml"), Path("out"), 2)
    (folder / "toy/toy.textual").unlink()
    run_experiment(Path("plan.yaml"), Path("out"), 2, resume=True)
    visual = (folder / "toy/toy.visual").read_text()
    (folder / "toy/toy.more").write_text(visual)
    run_experiment(Path("plan.yaml"), Path("out"), 2, resume=True)
    (folder / "toy/toy.visual").write_text(visual.replace("1", "2"))
    with pytest.raises(ValueError, match="toy.visual changed since the runs in .*out; bring the data back"):
        run_experiment(Path("plan.yaml"), Path("out"), 2, resume=True)


def test_an_audit_trains_every_multimodal_row_without_each_modality(data):
    run_experiment(plan(data, seeds=1, more="audit: [shuffle, without]"), Path("out"), 2)
    tables = read_store(Path("out"))
    assert set(tables.rows("toy")["model"]) == {"LightGCN", "FREEDOM"} and not len(tables.failed)
    (audits,) = tables.audits("toy").values()
    each = {(modality, kind) for modality in ("visual", "textual") for kind in ("shuffle", "without")}
    assert set(zip(audits["modality"], audits["kind"], strict=True)) == {*each, ("all", "shuffle")}
    settings = {run["modality"] + run["kind"]: json.loads(run["own"]) for _, run in audits.iterrows()}
    assert settings["visualwithout"]["modalities"] == ["textual"]
    assert settings["allshuffle"]["knock_out"] == {"textual": "shuffle", "visual": "shuffle"}
    features = [json.loads(text) for text in audits["features"]]
    assert len({json.dumps(used, sort_keys=True) for used in features}) == 5  # each was trained on features of its own
    (real,) = tables.rows("toy").query("model == 'FREEDOM'")["parameters"]
    assert set(audits["parameters"][audits["kind"] == "shuffle"]) == {real}  # the same without content
    report = write_report(Path("out")).with_suffix(".md").read_text()
    assert "### What each modality is worth" in report and "| FREEDOM (knn_k=4) | all | shuffle |" in report


def test_a_failing_run_is_listed_and_the_rest_goes_on(data):
    broken = ", {VBPR: {feature_adapter: befa, adapter_expansion: 0.1}}"  # of a width that makes no unit
    run_experiment(plan(data, seeds=1, models=broken), Path("out"), 2)
    tables = read_store(Path("out"))
    assert len(tables.runs) == 2
    (error,) = tables.failed["error"]
    assert "adapter_expansion" in error
    assert "## Runs that failed" in write_report(Path("out")).with_suffix(".md").read_text()


def test_test_data_are_looked_at_after_every_choice_alone(data, monkeypatch):
    """In one process, so that what is called in which order is seen."""
    events: list[str] = []
    evaluate, tried = run.evaluate_users, experiment.tried
    monkeypatch.setattr(run, "evaluate_users", lambda *a, **k: events.append("test") or evaluate(*a, **k))

    def noted(*arguments):
        for ended in tried(*arguments):
            events.append("choice")
            yield ended

    monkeypatch.setattr(experiment, "tried", noted)
    for module in (experiment, search):
        monkeypatch.setattr(module, "results_of", in_this_process)
    searched = "search: {budget: 2, metric: NDCG@5}\nsweep: {LightGCN: {reg_weight: [0.1, 0.2]}}"
    models = ", {BPR: {learning_rate: [0.01, 0.001]}}"
    text = (
        plan(data, seeds=2, models=models, more=searched)
        .read_text()
        .replace("LightGCN,", "{LightGCN: {n_layers: [1, 2]}},")
    )
    Path("plan.yaml").write_text(text)
    run_experiment(Path("plan.yaml"), Path("out"), 1)
    assert events == ["choice"] * 3 + ["test"] * 10
    trials = pd.read_parquet("out/trials.parquet")
    assert len(trials) == 6 and trials["chosen"].sum() == 3
    for _, own in trials.groupby("label"):
        assert own.loc[own["chosen"], "value"].item() == own["value"].max()
    runs = pd.read_parquet("out/runs.parquet")
    assert set(runs["budget"]) == {2} and set(runs["chosen_by"]) == {"NDCG@5"}
    (choice,) = trials.loc[trials["chosen"] & (trials["label"] == "LightGCN"), "settings"]
    for own in runs.loc[runs["sweep"] != "{}", "own"]:  # a study stands on what was chosen for its row
        assert json.loads(own).items() >= json.loads(choice).items()


def test_a_killed_experiment_goes_on_to_the_same_store(data):
    """kill -9 in the middle of a run with two jobs: no run twice, equal numbers. Another process goes on: this one."""
    whole = plan(data, epochs=60).read_text()
    arguments = ["experiment", "plan.yaml", "--jobs=2"]
    assert main([*arguments, "--out=whole"]) == 0
    printed = Path("printed.txt")
    with open(printed, "w") as output:
        words = ["-m", "recbole_mm", *arguments, "--out=killed"]
        process = commands.start(words, output, output, new_session=True)
    under_way = ("work/*/*.resume.safetensors", "runs/*.json")
    wait_until(lambda: all(is_there(Path("killed"), pattern) for pattern in under_way), process, printed)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for child in children:
        if child.is_running():
            child.kill()
    process.wait()
    ended = {file.name: file.stat().st_mtime_ns for file in Path("killed/runs").glob("*.json")}
    assert main([*arguments, "--out=killed", "--resume"]) == 0
    assert ended.items() <= {file.name: file.stat().st_mtime_ns for file in Path("killed/runs").glob("*.json")}.items()
    pd.testing.assert_frame_equal(numbers(Path("killed")), numbers(Path("whole")))
    assert whole == Path("plan.yaml").read_text()


def test_stores_are_joined(data):
    run_experiment(plan(data, seeds=1), Path("first"), 2)
    run_experiment(plan(data, seeds=1, models=", BPR"), Path("second"), 2)
    join([Path("first"), Path("second")], Path("both"))
    assert set(read_store(Path("both")).runs["model"]) == {"LightGCN", "FREEDOM", "BPR"}
    with pytest.raises(ValueError, match="holds no experiment"):
        join([Path("nowhere")], Path("other"))


def test_a_joined_store_has_the_runs_of_its_parts_tables_and_no_row_of_two_settings(data):
    """Runs with other epochs passed for more seeds of one row, and so did those of what a plan had before."""
    file = plan(data, seeds=1, epochs=1)
    run_experiment(file, Path("first"), 1)
    file.write_text(file.read_text().replace("epochs: 1", "epochs: 2"))
    run_experiment(file, Path("second"), 1)
    with pytest.raises(ValueError, match="two rows .* of toy have other values of epochs; give them labels"):
        join([Path("first"), Path("second")], Path("both"))
    assert not list(Path("both").rglob("*.parquet"))
    run_experiment(file, Path("first"), 1, resume=True)
    join([Path("first"), Path("second")], Path("joined"))
    joined = pd.read_parquet("joined/runs.parquet")
    assert len(joined) == 2 and len(list(Path("joined/runs").glob("*.json"))) == 4
    assert all(json.loads(settings)["epochs"] == 2 for settings in joined["settings"])


def test_items_have_the_modalities_of_all_runs_whoever_runs_first(data):
    """One of RecBole's own models knows of none, and *Where it is* lost its items without features."""
    both = plan(data, seeds=1, epochs=1)
    Path("ids.yaml").write_text(both.read_text().replace(", {FREEDOM: {knn_k: 4}}", ""))
    for file, out in (("ids.yaml", "first"), ("plan.yaml", "second")):
        run_experiment(Path(file), Path(out), 1)
    join([Path("first"), Path("second")], Path("joined"))
    for out in ("second", "joined"):
        (file,) = Path(out, "data").glob("*/items.parquet")
        imputed = pd.read_parquet(file).set_index("item")[["imputed_visual", "imputed_textual"]]
        assert imputed.loc["i29"].all() and not imputed.drop("i29").any(axis=None)
        assert "| items: without visual |" in write_report(Path(out), ["LightGCN"]).with_suffix(".md").read_text()


def test_a_store_of_another_version_and_other_folders_are_refused(tmp_path):
    Path("out").mkdir()
    Path("out/store.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(ValueError, match="holds a store of version 99 .store.json., this is for 1"):
        Store(Path("out"))
    Path("full").mkdir()
    Path("full/mine.txt").touch()
    with pytest.raises(ValueError, match="full is not empty and has no store.json, so it holds no experiment"):
        Store(Path("full"))


def test_the_lists_of_a_run_are_those_of_the_evaluation(data):
    """Recall from the lists and the held-out items by hand is the run's own."""
    from recbole_mm.experiment.strata import recall_and_ndcg

    run_experiment(plan(data, seeds=1), Path("out"), 2)
    tables = read_store(Path("out"))
    for _, row in tables.runs.iterrows():
        found = recall_and_ndcg(tables.lists_of(row["run"]), tables.data(row, "test"), 5)
        np.testing.assert_allclose(found["recall"].mean(), row["test_recall@5"])
        np.testing.assert_allclose(found["ndcg"].mean(), row["test_ndcg@5"], rtol=1e-6)
