"""The leak sentinel of plans and checkpoints: once for each data set and modality, kept, resumed, joined, reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from recbole_mm.experiment import experiment, leak_checks
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.leak_checks import LeakCheck, leaks_of_checkpoint, leaks_table
from recbole_mm.experiment.leaks import cooccurrence_views, find_leaks
from recbole_mm.experiment.plan import read_plan
from recbole_mm.experiment.plan_rows import rows_of
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.store import Store, join
from recbole_mm.experiment.tables import read_store
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset
from recbole_mm_command import main
from tests.experiment.in_this_process import in_this_process

N_ITEMS, N_USERS = 140, 200
PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
models: [%s]
settings: {epochs: 1, embedding_size: 4, train_batch_size: 2048}
topk: [5]
audit: [leak]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Data of which ``visual`` is made of all interactions, ``textual`` of nothing, and ``audio`` is of few items."""
    rng = np.random.default_rng(0)
    tastes = rng.normal(size=(N_ITEMS, 6)) @ rng.normal(size=(6, N_USERS)) + 2 * rng.gumbel(size=(N_ITEMS, N_USERS))
    dense = np.zeros((N_ITEMS, N_USERS))
    liked = np.argsort(-tastes, axis=0)[:24]
    dense[liked, np.arange(N_USERS)] = 1
    training = np.zeros_like(dense)
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "valid": [], "test": []}
    for user in range(N_USERS):
        for place, item in enumerate(rng.permutation(liked[:, user])):
            split = "train" if place < 18 else "valid" if place < 20 else "test"
            splits[split].append((f"u{user}", f"i{item}"))
            training[item, user] += split == "train"
    left, sizes, _ = svds(cooccurrence_views(csr_matrix(dense))["cosine"], k=32, random_state=rng)
    features = {"visual": left * sizes, "textual": rng.normal(size=(N_ITEMS, 8)), "audio": rng.normal(size=(99, 3))}
    named = {modality: {f"i{item}": row for item, row in enumerate(table)} for modality, table in features.items()}
    return write_dataset(tmp_path_factory.mktemp("data"), splits, named), features, training, dense


@pytest.fixture(autouse=True)
def one_process(monkeypatch) -> None:
    """Nothing here is about processes."""
    monkeypatch.setattr(experiment, "results_of", in_this_process)


def plan(world, models: str = "VBPR", more: str = "") -> Path:
    Path("plan.yaml").write_text(PLAN % (world[0], models) + more)
    return Path("plan.yaml")


def run(file: Path, out: str, resume: bool = False) -> list[str]:
    lines: list[str] = []
    run_experiment(file, Path(out), 1, resume=resume, tell=lines.append)
    return lines


def test_a_plans_checks_are_those_of_the_sentinel_and_once_for_each_modality(world):
    _, features, training, dense = world
    lines = run(plan(world, "VBPR, LayerGCN, {FREEDOM: {knn_k: 4}}", "seeds: 2\n"), "out")
    said = [line for line in lines if line.startswith("leak")]
    assert sorted(said) == [
        "leak sentinel: audio of toy: cannot tell",
        "leak sentinel: textual of toy: not found",
        "leak sentinel: visual of toy: found",
    ]
    assert lines.index("6 of 6 runs to do") == 3  # checked before anything trains
    found = pd.read_parquet("out/leaks.parquet").set_index("modality")
    names = ("visual", "textual")
    expected = find_leaks(csr_matrix(training), csr_matrix(dense), {modality: features[modality] for modality in names})
    for name in names:  # all items are compared, so that their order does not matter
        own, leak = found.loc[name], expected[name]
        assert own["n_items"] == N_ITEMS and own["verdict"] == leak.verdict and own["seed"] == 2020
        assert (own["excess"], own["of_all"]) == pytest.approx((leak.excess, leak.of_all), abs=1e-4)
    assert found.loc["audio", "n_items"] == 99


def test_the_report_says_what_was_found_and_why_it_cannot_tell(world):
    run(plan(world), "out")
    page = write_report(Path("out"))
    lines = page.with_suffix(".md").read_text().splitlines()
    start_of = lines.index("### Do features know held-out interactions?")
    rows = [line.split(" | ") for line in lines[start_of:] if line.startswith("| ")][:5]
    assert [row[1] for row in rows[2:]] == ["cannot tell", "not found", "found"]
    assert "99 items have features and 5 training interactions; it takes 100" in rows[2][-1]
    assert rows[2][2] == ""  # no T of what was not measured
    assert float(rows[4][2]) > 0.14 > float(rows[3][2])
    assert "Do features know held-out" in page.read_text()
    table = pd.read_csv("out/tables/toy-leaks.csv")
    assert list(table["leak"]) == ["cannot tell", "not found", "found"]
    assert r"\toprule" in Path("out/tables/toy-leaks.tex").read_text()


def test_what_was_checked_is_not_checked_again(world, monkeypatch):
    run(plan(world, "{VBPR: {modalities: [visual]}}"), "out")
    done: list[str] = []
    check = leak_checks.run_leak_check
    monkeypatch.setattr(experiment, "run_leak_check", lambda asked: done.append(asked.modality) or check(asked))
    run(
        plan(world, "{VBPR: {modalities: [visual]}}, {VBPR: {modalities: [textual, visual]}}", "seeds: 2\n"),
        "out",
        True,
    )
    assert done == ["textual"] and set(read_store(Path("out")).leaks["modality"]) == {"textual", "visual"}
    file = plan(world, "{VBPR: {modalities: [visual]}}")
    file.write_text(file.read_text().replace("audit: [leak]", ""))
    run(file, "out", True)
    assert not len(read_store(Path("out")).leaks)  # the tables are of the plan
    assert len(Store(Path("out")).leaks()) == 2


def test_stores_are_joined_and_one_of_before_the_sentinel_has_none(world):
    run(plan(world, "{VBPR: {modalities: [visual]}}"), "first")
    run(plan(world, "{VBPR: {modalities: [visual, textual]}}"), "second")
    join([Path("first"), Path("second")], Path("both"))
    assert sorted(read_store(Path("both")).leaks["modality"]) == ["textual", "visual"]
    Path("first/leaks.parquet").unlink()
    assert not len(read_store(Path("first")).leaks)
    write_report(Path("first"))


def test_a_checkpoint_says_the_same_as_a_plan(world):
    run(plan(world, "{VBPR: {modalities: [visual, textual]}}"), "out")
    trained = start(
        "VBPR", world[0], **PRE_SPLIT, modalities=["textual"], epochs=1, seed=2020, valid_metric="Recall@10"
    )
    trainer = trained.trainer()
    trainer.fit(trained.train_data, trained.valid_data, verbose=False)
    (own,) = leaks_table(leaks_of_checkpoint(open_checkpoint(trainer.saved_model_file))).to_dict("records")
    in_plan = pd.read_parquet("out/leaks.parquet").set_index("modality").loc["textual"]
    assert (own["leak"], own["T"]) == (in_plan["verdict"], in_plan["excess"])
    assert own["T of a leak"] == in_plan["reference"]


def test_the_command_of_an_audit_checks_a_plans_data_too(world):
    file = plan(world, "{VBPR: {modalities: [visual]}}")
    file.write_text(file.read_text().replace("audit: [leak]", ""))
    assert main(["audit", str(file), "--out=out", "--knock_out=zero,id_only"]) == 0
    tables = read_store(Path("out"))
    assert list(tables.leaks["verdict"]) == ["found"]
    assert set(tables.rows("toy")["model"]) == {"VBPR", "BPR"}
    (audits,) = tables.audits("toy").values()
    assert list(audits["kind"]) == ["zero"]
    assert "| all | id_only (BPR) |" in Path("out/report.md").read_text()


def test_a_check_that_fails_is_listed_and_done_again(world, monkeypatch):
    def broken(*_):
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(leak_checks, "find_leaks", broken)
        assert main(["experiment", str(plan(world, "{VBPR: {modalities: [visual]}}")), "--out=out"]) == 1
    tables = read_store(Path("out"))
    assert len(tables.runs) == 1 and list(tables.leaks["error"]) == ["MemoryError: no room"]
    assert "leak sentinel: visual of toy: MemoryError: no room" in Path("out/report.md").read_text()
    assert main(["experiment", "plan.yaml", "--out=out", "--resume"]) == 0
    assert list(read_store(Path("out")).leaks["verdict"]) == ["found"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "maybe"}, r"leaks/\w+.json is damaged .*verdict.*delete it to check again"),
        ({"excess": "high"}, r"leaks/\w+.json is damaged .*excess"),
        ({"check": "other"}, r"leaks/\w+.json is of check other; restore it"),
    ],
)
def test_a_damaged_check_is_named(world, change, message):
    run(plan(world, "{VBPR: {modalities: [visual]}}"), "out")
    (file,) = Path("out/leaks").iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        run(Path("plan.yaml"), "out", resume=True)


def test_features_that_a_row_replaces_are_not_what_is_checked(world):
    text = "{VBPR: {label: noise, knock_out: {visual: noise}}}, {VBPR: {modalities: [visual]}}"
    rows = rows_of(read_plan(plan(world, text)), "plan.yaml")
    checks = leak_checks.leak_checks(rows, 3)
    labels = {check.modality: check.row.label for check in checks}
    assert labels == {"visual": "VBPR (modalities=visual)", "textual": "noise", "audio": "noise"}


def test_another_split_is_another_check(world):
    row, *others = rows_of(read_plan(plan(world, "VBPR, {VBPR: {epochs: 9}}, {VBPR: {normalize_feature: true}}")), "p")
    names = [LeakCheck(plan_row, "visual", 0).name for plan_row in (row, *others)]
    assert names[0] == names[1] != names[2]
    assert names[0] != LeakCheck(row, "visual", 1).name != LeakCheck(row, "textual", 1).name
