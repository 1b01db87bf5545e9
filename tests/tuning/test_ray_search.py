"""`run_hyper_mm.py --tool=Ray`, in real Ray sessions on this machine."""

from __future__ import annotations

import ast
import csv
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray import tune

from recbole_mm.quick_start import run
from recbole_mm.ray_session import ray_session
from recbole_mm.tuning import ray_search
from recbole_mm.tuning.command import main

if not hasattr(tune, "RunConfig"):
    pytest.skip("this ray is older than --tool=Ray asks for", allow_module_level=True)


@pytest.fixture(scope="module")
def session():
    with ray_session():
        yield


def rows(folder: str = "search") -> list[dict[str, str]]:
    with open(Path(folder) / "results.csv", newline="") as source:
        return list(csv.DictReader(source))


def summary(printed: str) -> dict[str, str]:
    return dict(re.findall(r"^(best parameters|valid result|test result|checkpoint): (.*)$", printed, re.MULTILINE))


def write_hyper(text: str) -> str:
    Path("mine.hyper").write_text(text)
    return "--params_file=mine.hyper"


def search(arguments: list[str], *more: str, trials_at_a_time: int = 1) -> int:
    """The command; one trial at a time has one worker process, which takes seconds to start, for all of them."""
    return main([*arguments, "--tool=Ray", "--search_dir=search", f"--concurrent_trials={trials_at_a_time}", *more])


# ---------------------------------------------------------------- the search


def test_it_finds_what_recboles_tuning_finds(session, arguments, capsys):
    assert search(arguments, "--asha_grace=0", trials_at_a_time=2) == 0
    by_ray = summary(capsys.readouterr().out)
    table = rows()
    assert len(table) == 4
    assert {row["status"] for row in table} == {"finished"}
    assert main(arguments) == 0
    by_recbole = summary(capsys.readouterr().out)
    for name in ("best parameters", "valid result", "test result"):
        assert ast.literal_eval(by_ray[name]) == ast.literal_eval(by_recbole[name])
    text = Path("hyper_example.result").read_text()
    for row in table:
        params = f"prompt_num:{row['prompt_num']}, weak_weight:{row['weak_weight']}"
        score = re.search(rf"^{params}\nValid result:\n.*ndcg@5 : ([\d.]+)", text, re.MULTILINE)[1]
        assert float(row["best_valid_score"]) == float(row["ndcg@5"]) == float(score)
    assert run("POWERec", "toy", ["search/best.yaml"])["test_result"] == ast.literal_eval(by_ray["test result"])
    assert Path(by_ray["checkpoint"]).with_suffix(".safetensors").is_file()


def test_asha_stops_weak_trials_early(session, arguments, capsys):
    """A tiny learning rate learns nothing; one trial at a time, the good one first, so that it is compared with it."""
    hyper = write_hyper("weak_weight choice [0]\nembedding_size choice [16,1]\n")
    settings = ["--epochs=12", "--asha_grace=2", "--asha_reduction=2"]
    assert search([*arguments[:2], hyper], *settings) == 0
    good, weak = rows()
    assert (good["status"], weak["status"]) == ("finished", "stopped early")
    assert int(good["evaluations"]) > int(weak["evaluations"]) >= 2
    assert "'embedding_size': 16" in summary(capsys.readouterr().out)["best parameters"]


def test_a_staged_model_and_a_parameter_that_is_a_list(session, arguments, capsys):
    hyper = write_hyper("modality_weights choice [[0.2,0.8],[0.5,0.5]]\n")
    settings = ["--model=MARGO", "--stage_one_epochs=2", "--stage_two_epochs=1"]
    assert search([*arguments[:2], hyper], *settings) == 0
    assert {row["evaluations"] for row in rows()} == {"3"}
    found = ast.literal_eval(summary(capsys.readouterr().out)["test result"])
    assert run("MARGO", "toy", ["search/best.yaml"])["test_result"] == found


@pytest.mark.parametrize("algo", ["random", "bayes"])
def test_random_and_bayes(session, arguments, algo):
    hyper = write_hyper("weak_weight loguniform -6,0\nedge_dropout uniform 0,0.5\nprompt_num choice [1,2]\n")
    assert search([*arguments[:2], hyper], f"--algo={algo}", "--max_evals=3", "--epochs=1") == 0
    table = rows()
    assert len({row["weak_weight"] for row in table}) == 3
    assert all(0.0024 < float(row["weak_weight"]) < 1 and float(row["edge_dropout"]) < 0.5 for row in table)


def test_recboles_own_model(session, arguments):
    hyper = write_hyper("embedding_size choice [4,8]\n")
    assert search([*arguments[:2], hyper], "--model=BPR") == 0
    assert [row["status"] for row in rows()] == ["finished"] * 2


def test_a_parameter_that_changes_the_data(session, arguments):
    """Each trial loads its own data set then."""
    hyper = write_hyper("modalities choice [['visual'],['textual'],['visual','textual']]\n")
    assert search([*arguments[:2], hyper], "--epochs=1") == 0
    assert len({row["best_valid_score"] for row in rows()}) > 1


# ---------------------------------------------------------------- trials that fail


def test_failing_trials_are_listed_and_the_search_goes_on(session, arguments, capsys):
    hyper = write_hyper("adapter_expansion choice [0.3,1,2]\n")
    assert search([*arguments[:2], hyper], "--feature_adapter=befa") == 0
    shown = capsys.readouterr().out
    failed = r"^trial \w+ failed: \{'adapter_expansion': 0.3\}: ValueError: adapter_expansion: 0.3 times the width"
    assert re.search(failed, shown, re.M)
    table = {row["adapter_expansion"]: row for row in rows()}
    assert {name: row["status"] for name, row in table.items()} == {"0.3": "failed", "1": "finished", "2": "finished"}
    assert table["0.3"]["error"].startswith("ValueError: adapter_expansion: 0.3 times the width")


def test_all_trials_fail(session, arguments, capsys):
    hyper = write_hyper("adapter_expansion choice [0.3]\n")
    assert search([*arguments[:2], hyper], "--feature_adapter=befa") == 2
    error = capsys.readouterr().err
    first = "first error: {'adapter_expansion': 0.3}: ValueError"
    assert f"error: no trial ended with a validation score; {first}" in error
    assert rows()[0]["status"] == "failed"


# ---------------------------------------------------------------- what is refused before any trial


@pytest.mark.parametrize(
    "settings, message",
    [
        (["--ray_address=127.0.0.1:1"], r"--ray_address: nothing answers at 127.0.0.1:1 \(.*refused.*\)"),
        (["--ray_address=nowhere"], "--ray_address: 'nowhere' is no address; write host:port"),
        (["--ray_address=127.0.0.1:70000"], "--ray_address: '127.0.0.1:70000' is no address; write host:port"),
        (["--cpus_per_trial=1000"], r"cpus_per_trial: 1000 is more than any node has \(\d+ CPU\); lower it"),
        (["--gpus_per_trial=99"], r"gpus_per_trial: 99 is more than any node has \(\d+ GPU\); lower it"),
        (["--resume"], "--resume: .*search holds no search; leave --resume out"),
        (["--early_stop=3"], "--early_stop is an option of --tool=Hyperopt, and this is --tool=Ray"),
        (["--promt_num=3"], "unknown key 'promt_num'"),
    ],
)
def test_bad_input(session, arguments, capsys, settings, message):
    assert search(arguments, *settings) == 2
    assert re.match(f"error: {message}", capsys.readouterr().err)
    assert not Path("search").exists()


def test_an_earlier_search_is_not_overwritten(session, arguments, capsys):
    hyper = write_hyper("prompt_num choice [1]\n")
    assert search([*arguments[:2], hyper], "--epochs=1") == 0
    assert search([*arguments[:2], hyper], "--epochs=1") == 2
    assert "search holds an earlier search; add --resume to go on with it" in capsys.readouterr().err
    assert search([*arguments[:2], hyper], "--epochs=2", "--resume") == 2
    assert "--resume: the search in" in (error := capsys.readouterr().err)
    assert error.endswith("has epochs: 1, this one 2\n")
    assert search([*arguments[:2], write_hyper("prompt_num choice [1,2]\n")], "--epochs=1", "--resume") == 2
    assert "has ranges" in capsys.readouterr().err


# ---------------------------------------------------------------- honest


def refuse(phase: str):
    """A hook for workers, after which iterating over the data of that split raises."""

    def hook():
        from recbole.data.dataloader import AbstractDataLoader

        iterate = AbstractDataLoader.__iter__

        def guarded(loader):
            if loader._sampler.phase == phase:
                raise RuntimeError(f"the {phase} split was touched")
            return iterate(loader)

        AbstractDataLoader.__iter__ = guarded

    return hook


@pytest.mark.parametrize("phase, status", [("test", "finished"), ("valid", "failed")])
def test_no_trial_touches_the_test_split(arguments, capsys, phase, status):
    """Where a split is guarded its use fails the trial, as the validation split shows."""
    ray.shutdown()
    root = str(Path(__file__).resolve().parents[2])
    environment = {"worker_process_setup_hook": refuse(phase), "env_vars": {"PYTHONPATH": root}}
    ray.init(address="local", include_dashboard=False, log_to_driver=False, runtime_env=environment)
    try:
        hyper = write_hyper("prompt_num choice [1,2]\n")
        assert search([*arguments[:2], hyper], "--epochs=1") == (0 if status == "finished" else 2)
    finally:
        ray.shutdown()
    assert [row["status"] for row in rows()] == [status] * 2


def test_without_an_address_no_other_cluster_is_joined(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where Ray would look by itself; nothing answers there
    with ray_session():
        assert len(ray.nodes()) == 1
    assert not ray.is_initialized()


def test_folders_hold_in_a_workers_own_and_names_at_a_hub_stay():
    Path("clip").mkdir()
    settings = {"images": "pictures", "encoder": "clip", "checkpoint_dir": "saved", "learning_rate": 0.1}
    search = SimpleNamespace(settings=settings, config={"graph_dir": None, "checkpoint_dir": "saved"})
    found = ray_search._absolute_paths(search)
    here = Path.cwd()
    assert found == {
        "images": f"{here}/pictures", "encoder": f"{here}/clip", "checkpoint_dir": f"{here}/saved",
        "graph_dir": f"{here}/saved/graphs", "learning_rate": 0.1,
    }  # fmt: skip
    settings["encoder"] = "openai/clip-vit-base-patch16"
    assert ray_search._absolute_paths(search)["encoder"] == settings["encoder"]
