"""`run_hyper_mm.py` with RecBole's own HyperTuning."""

from __future__ import annotations

import ast
import json
import re
import shutil
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import pytest
from hyperopt.early_stop import no_progress_loss
from recbole.data.dataloader import AbstractDataLoader
from recbole.trainer import HyperTuning, Trainer
from recbole.trainer import hyper_tuning as recboles

from recbole_mm import quick_start
from recbole_mm.io.locks import only_holder
from recbole_mm.io.run_files import RunFiles
from recbole_mm.quick_start import objective_function, run
from recbole_mm.testing.toy import write_planted
from recbole_mm.trainer.trainer import MultimodalTrainer
from recbole_mm.tuning.command import main
from recbole_mm.tuning.hyperopt_search import _after_a_success
from recbole_mm.tuning.search import prepare_search
from recbole_mm.tuning.trial_list import Trial, TrialList

INF = float("inf")


def summary(printed: str) -> dict[str, str]:
    return dict(re.findall(r"^(best parameters|valid result|test result|checkpoint): (.*)$", printed, re.MULTILINE))


def blocks(file: str = "hyper_example.result") -> dict[str, tuple[str, str]]:
    """RecBole's result file: parameters -> validation and test metrics, as written."""
    form = r"(.+)\nValid result:\n(.+)\nTest result:\n(.*)\n\n"
    return {params: (valid, test) for params, valid, test in re.findall(form, Path(file).read_text())}


def test_an_exhaustive_search_tries_everything_and_tests_the_winner(folder, arguments, capsys):
    assert main([*arguments, "--checkpoint_dir=saved"]) == 0
    last = summary(capsys.readouterr().out)
    written = blocks()
    assert set(written) == {f"prompt_num:{q}, weak_weight:{w}" for q in (1, 2) for w in (0, 0.5)}
    scores = {params: float(re.search(r"ndcg@5 : ([\d.]+)", valid)[1]) for params, (valid, _) in written.items()}
    best = ", ".join(f"{key}:{value}" for key, value in ast.literal_eval(last["best parameters"]).items())
    assert scores[best] == max(scores.values())
    assert [params for params, (_, test) in written.items() if test] == [best]
    assert {file for file in Path("saved").iterdir() if file.is_file()} == {
        file for file in RunFiles.of(last["checkpoint"]).all if file.exists()
    }
    again = run("POWERec", "toy", ["hyper_example.best.yaml"])
    assert again["test_result"] == ast.literal_eval(last["test result"])


class TouchedTestSplitError(Exception):
    pass


@pytest.fixture
def guarded_test_split(monkeypatch) -> list[str]:
    """Iterating over test data raises until the search has ended; gives the phases of all data that were read."""
    phases, searching = [], []
    iterate, search = AbstractDataLoader.__iter__, HyperTuning.run

    def guarded(loader):
        phases.append(loader._sampler.phase)
        if searching and phases[-1] == "test":
            raise TouchedTestSplitError
        return iterate(loader)

    def watched(tuning):
        searching.append(True)
        search(tuning)
        searching.clear()

    monkeypatch.setattr(AbstractDataLoader, "__iter__", guarded)
    monkeypatch.setattr(HyperTuning, "run", watched)
    return phases


@pytest.mark.parametrize("model", ["POWERec", "BPR"])
def test_no_test_metric_before_the_search_has_chosen(folder, arguments, guarded_test_split, model):
    hyper = folder / "rate.hyper"
    hyper.write_text("learning_rate choice [0.01,0.001]\n")
    yaml = folder / "toy.yaml"
    fixed = yaml.with_name("without-rate.yaml")
    fixed.write_text(yaml.read_text())
    assert main([f"--model={model}", "--dataset=toy", f"--config_files={fixed}", f"--params_file={hyper}"]) == 0
    assert guarded_test_split.count("test") == 1
    assert guarded_test_split[-1] == "test"
    assert "valid" in guarded_test_split


def test_the_guard_notices_an_objective_that_tests(folder, guarded_test_split):
    """RecBole's own objective computes test metrics for every trial."""
    from recbole.quick_start import objective_function as recboles_objective

    Path("names.yaml").write_text("{model: POWERec, dataset: toy}")
    files = [str(folder / "toy.yaml"), "names.yaml"]
    tuning = HyperTuning(
        recboles_objective, params_dict={"choice": {"prompt_num": [1]}}, fixed_config_file_list=files
    )
    with pytest.raises(TouchedTestSplitError):
        tuning.run()


@pytest.mark.parametrize("algo", ["exhaustive", "random", "bayes"])
def test_recboles_hyper_tuning_with_our_objective(folder, algo):
    Path("names.yaml").write_text("{model: POWERec, dataset: toy, epochs: 1}")
    files = [str(folder / "toy.yaml"), "names.yaml"]
    tuning = HyperTuning(
        objective_function, params_file=str(folder / "toy.hyper"), fixed_config_file_list=files, algo=algo, max_evals=2
    )
    tuning.run()
    tuning.export_result("own.result")
    assert len(tuning.score_list) == (4 if algo == "exhaustive" else 2)
    assert tuning.best_score == max(tuning.score_list) > 0
    assert len(blocks("own.result")) == len(tuning.params2result)
    files = {result["checkpoint"] for result in tuning.params2result.values()}
    assert len(files) == len(tuning.params2result)
    assert all(Path(file).is_file() for file in files)


def test_each_search_of_a_process_draws_with_its_own_seed(folder, arguments, monkeypatch):
    monkeypatch.delenv("HYPEROPT_FMIN_SEED", raising=False)
    hyper = folder / "rates.hyper"
    hyper.write_text("learning_rate uniform 0.001,0.1\n")
    tried = []
    for seed in (1, 2, 1):
        common = ["--algo=random", "--max_evals=1", "--epochs=1", f"--params_file={hyper}", f"--seed={seed}"]
        assert main([*arguments[:2], *common]) == 0
        tried.append(set(blocks()))
    assert tried[0] == tried[2] != tried[1]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_first_trial_without_a_finite_score_does_not_win(folder, arguments, monkeypatch, capsys, value):
    trials = []

    def objective(settings, begins):
        trials.append(objective_function(settings, begins=begins))
        scored = trials[-1] if len(trials) > 1 else {**trials[-1], "best_valid_score": value}
        return scored

    monkeypatch.setattr("recbole_mm.tuning.hyperopt_search.objective_function", objective)
    assert main(arguments) == 0
    assert summary(capsys.readouterr().out)["checkpoint"] in [trial["checkpoint"] for trial in trials[1:]]


def test_no_trial_with_a_finite_score_is_one_line(folder, arguments, monkeypatch, capsys):
    def objective(settings, begins):
        return {**objective_function(settings, begins=begins), "best_valid_score": float("nan")}

    monkeypatch.setattr("recbole_mm.tuning.hyperopt_search.objective_function", objective)
    assert main(arguments) == 2
    assert "error: no trial of POWERec reached a finite NDCG@5" in capsys.readouterr().err
    assert not [file for file in Path("saved").rglob("POWERec-*") if file.is_file()]


@pytest.mark.parametrize("algo", ["random", "bayes"])
def test_random_and_bayes_repeat_with_the_seed(folder, arguments, algo):
    hyper = folder / "continuous.hyper"
    hyper.write_text("weak_weight loguniform -6,0\nedge_dropout uniform 0,0.5\nprompt_num choice [1,2]\n")
    common = [f"--algo={algo}", "--max_evals=2", "--epochs=1", f"--params_file={hyper}"]
    tried = []
    for _ in range(2):
        assert main([*arguments[:2], *common]) == 0
        tried.append(set(blocks()))
    assert len(tried[0]) == 2
    assert tried[0] == tried[1]


def test_a_staged_model_whose_parameter_is_a_list(folder, arguments, capsys):
    """MARGO trains in two stages; DRAGON's modality weights are lists, which hyperopt makes tuples."""
    hyper = folder / "margo.hyper"
    hyper.write_text("temperature choice [1,5]\nmodality_weights choice [[0.2,0.8],[0.5,0.5]]\n")
    common = ["--stage_two_epochs=1", "--epochs=1", "--checkpoint_dir=saved"]
    assert main(["--model=MARGO", *arguments[:2], f"--params_file={hyper}", *common]) == 0
    last = summary(capsys.readouterr().out)
    assert len(blocks()) == 4
    assert re.fullmatch(r"saved/MARGO-[^/]*\.pth", last["checkpoint"])
    assert [str(file) for file in Path("saved").glob("MARGO-*.pth")] == [last["checkpoint"]]
    assert len(list(Path("saved").glob("MARGO-*-stages/*.pth"))) == 1  # of the other trials nothing is left
    again = run("MARGO", "toy", ["hyper_example.best.yaml"])
    assert again["test_result"] == ast.literal_eval(last["test result"])


def test_a_parameter_that_is_a_dictionary(folder, arguments, capsys):
    """RecBole's issue 1847: 'Apply' object has no attribute 'obj'."""
    hyper, drawn = folder / "drawn.hyper", [{"distribution": "uniform", "sample_num": number} for number in (1, 2)]
    hyper.write_text(f"train_neg_sample_args choice {drawn}\n")
    assert main([*arguments[:2], "--model=BPR", f"--params_file={hyper}", "--epochs=1"]) == 0
    assert len(blocks()) == 2
    best = ast.literal_eval(summary(capsys.readouterr().out)["best parameters"])
    assert any(best["train_neg_sample_args"].items() >= value.items() for value in drawn)  # RecBole adds its defaults


@pytest.mark.parametrize("rates", ["1e30,0.01,0.001", "0.01,1e30,0.001"])
def test_a_trial_that_diverges_is_listed_and_the_search_goes_on(folder, capsys, rates):
    """With a learning rate of 1e30 the weights are not finite after an epoch."""
    hyper = folder / "diverging.hyper"
    hyper.write_text(f"learning_rate choice [{rates}]\n")
    fixed = folder / "fixed.yaml"
    fixed.write_text((folder / "toy.yaml").read_text())
    assert main(["--dataset=toy", f"--config_files={fixed}", f"--params_file={hyper}"]) == 0
    printed = capsys.readouterr().out
    failed = re.findall(r"trial failed: (.*?): ValueError: POWERec diverged in epoch ", printed)
    assert failed == ["{'learning_rate': 1e+30}"]
    assert "current best valid score: -inf" not in printed
    written = blocks()
    assert len(written) == 3
    assert written["learning_rate:1e+30"][0].startswith("failed : ValueError: POWERec diverged in epoch ")
    assert written["learning_rate:1e+30"][1] == ""
    scores = {
        params: float(re.search(r"ndcg@5 : ([\d.]+)", valid)[1])
        for params, (valid, _) in written.items() if params != "learning_rate:1e+30"
    }  # fmt: skip
    best = ast.literal_eval(summary(printed)["best parameters"])["learning_rate"]
    assert scores[f"learning_rate:{best}"] == max(scores.values())


def test_where_all_trials_fail_the_first_error_is_the_one_line(folder, arguments, capsys):
    hyper = folder / "failing.hyper"
    hyper.write_text("adapter_expansion choice [0.3,0.7]\n")
    assert main([*arguments[:2], f"--params_file={hyper}", "--feature_adapter=befa"]) == 2
    shown = capsys.readouterr()
    (error,) = [line for line in shown.err.splitlines() if line.startswith("error")]
    assert re.match(r"error: no trial of POWERec reached a finite NDCG@5; first error: .*0\.[37]\}: ValueError", error)
    assert shown.out.count("trial failed: {'adapter_expansion': ") == 2
    assert {valid[:30] for valid, _ in blocks().values()} == {"failed : ValueError: adapter_e"}


@pytest.mark.parametrize(
    ("losses", "stops_after"), [([1, 2, 3, 4], 3), ([INF, 2, 3, 4, 5], 4), ([INF, INF, INF, INF, 1, 0], None)]
)
def test_the_early_stop_counts_from_the_first_success(losses, stops_after):
    """hyperopt's own would take nothing for better than a first loss of infinity."""
    stop, state, trials = _after_a_success(no_progress_loss(3)), [], SimpleNamespace(trials=[])
    tried = 0
    for loss in losses:
        trials.trials.append({"result": {"loss": loss}})
        is_over, state = stop(trials, *state)
        tried += 1
        if is_over:
            break
    assert (tried if is_over else None) == stops_after


def test_a_value_outside_its_range_ends_the_search_before_the_first_trial(folder, arguments, capsys):
    hyper = folder / "wrong.hyper"
    for line, message in {
        "propagation choice ['LayerGCN','GAT']": "propagation: 'GAT' is not allowed for POWERec; give one of",
        "edge_dropout uniform 0,2": "edge_dropout: 1.236 is not allowed for POWERec; give a number of at least 0 and",
        "prompt_num uniform 1,4": "prompt_num: 2.854 is not allowed for POWERec; give a whole number",
    }.items():
        hyper.write_text(f"{line}\n")
        assert main([*arguments[:2], f"--params_file={hyper}"]) == 2
        assert f"error: {hyper}: {message}" in capsys.readouterr().err


def test_all_settings_of_a_large_grid_are_tried():
    """RecBole gives up after 1000 known settings in a row, at which the last of many hundred are missed."""
    from hyperopt import fmin, hp

    from recbole_mm.tuning.hyperopt_search import _all_settings

    limits = _all_settings(700)
    tried = set()
    fmin(
        lambda value: tried.add(value) or 1.0, hp.choice("a", list(range(700))), algo=limits["algo"],
        max_evals=limits["max_evals"], show_progressbar=False, verbose=False,
    )  # fmt: skip
    assert len(tried) == 700


# ---------------------------------------------------------------- what is refused before any trial


@pytest.mark.parametrize(
    "hyper, settings, message",
    [
        ("promt_num choice [1]", [], r".*bad.hyper: unknown key 'promt_num' \(did you mean prompt_num\?\); POWERec"),
        ("prompt_num choice []", [], r".*bad.hyper, line 1: the range \[\] is empty"),
        ("prompt_num choice [1]", ["--prompt_num=2"], "prompt_num is searched by .*bad.hyper and fixed for all"),
        ("model choice ['BPR']", [], "model is searched by .* and fixed for all trials"),
        ("weak_weight uniform 0,1", [], "weak_weight: exhaustive search cannot try all of uniform"),
        ("prompt_num choice [1]", ["--eval_step=0"], "eval_step: 0 means no validation"),
        ("prompt_num choice [1]", ["--valid_metric=MRR@5"], "valid_metric: MRR@5 is not measured"),
        ("prompt_num choice [1]", ["--model=PowerRec"], r"unknown model 'PowerRec' \(did you mean POWERec\?\)"),
        ("prompt_num choice [1]", ["--params_file=none"], "params_file: none is no file"),
        ("prompt_num choice [1]", ["--max_evals=0"], "--max_evals and --early_stop must be at least 1"),
    ],
)
def test_bad_input_starts_no_trial(arguments, capsys, monkeypatch, hyper, settings, message):
    monkeypatch.setattr(recboles.HyperTuning, "trial", lambda *_: pytest.fail("a trial started"))
    Path("bad.hyper").write_text(hyper)
    params_file = [] if any("--params_file" in setting for setting in settings) else ["--params_file=bad.hyper"]
    assert main([*arguments[:2], *params_file, *settings]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.match(f"error: {message}", shown.err)
    assert not list(Path.cwd().glob("*.result"))


def test_a_file_of_settings_is_not_written_over(folder, arguments, capsys):
    hyper = Path("few.hyper")
    hyper.write_text("prompt_num choice [1]\n")
    before = hyper.read_text()
    assert main([*arguments, f"--params_file={hyper}", f"--output_file={hyper}"]) == 2
    assert "--output_file: few.hyper is a file that this command reads" in capsys.readouterr().err
    assert hyper.read_text() == before


def test_the_default_file_is_the_models(folder):
    search = prepare_search("BM3", "toy", [str(folder / "toy.yaml")], "BM3")
    assert [searched.name for searched in search.ranges] == ["n_layers", "dropout", "reg_weight"]


def test_data_that_are_found_are_those_of_the_search():
    write_planted(Path("dataset_atomic"), {"visual": 6, "textual": 4})
    search = prepare_search("BM3", "toy", None, "BM3")
    assert Path(search.config["data_path"]) == Path("dataset_atomic/toy")


def test_two_searches_do_not_write_one_result_file(folder, arguments, capsys):
    with only_holder(Path(".mine.result.lock").absolute(), "searching"):
        assert main([*arguments, "--model=POWERec", "--output_file=mine.result"]) == 2
    assert "searching into mine.result: process " in capsys.readouterr().err
    assert not Path("mine.result").exists()


# ---------------------------------------------------------------- a search that is killed goes on


class Killed(BaseException):
    """What no part of a search handles, as a kill."""


KEPT = Path("hyper_example.trials.json")


def kill_in(monkeypatch, number: int, epoch: int) -> None:
    """Let the process end in an epoch of a trial, both counted from one."""
    started = []
    begin, train = quick_start.prepare_training, MultimodalTrainer._train_epoch

    def prepare(*arguments):
        started.append(True)
        return begin(*arguments)

    def train_epoch(trainer, data, index, *rest, **options):
        if len(started) == number and index + 1 == epoch:
            raise Killed
        return train(trainer, data, index, *rest, **options)

    monkeypatch.setattr(quick_start, "prepare_training", prepare)
    monkeypatch.setattr(MultimodalTrainer, "_train_epoch", train_epoch)


def trained(monkeypatch) -> list[int]:
    """The epochs that are trained from now on."""
    epochs, train = [], MultimodalTrainer._train_epoch

    def train_epoch(trainer, data, index, *rest, **options):
        epochs.append(index)
        return train(trainer, data, index, *rest, **options)

    monkeypatch.setattr(MultimodalTrainer, "_train_epoch", train_epoch)
    return epochs


@pytest.mark.parametrize("algo", ["exhaustive", "random", "bayes"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_search_goes_on_where_it_was(folder, arguments, monkeypatch, capsys, tmp_path, algo, epoch):
    """Of four trials of two epochs, it is killed in the third."""
    command = [*arguments, f"--algo={algo}", "--max_evals=4", "--checkpoint_dir=saved"]
    (tmp_path / "whole").mkdir()
    with chdir(tmp_path / "whole"):
        assert main(command) == 0
        assert not KEPT.exists()
        whole, expected = blocks(), summary(capsys.readouterr().out)
    with monkeypatch.context() as patches:
        kill_in(patches, number=3, epoch=epoch)
        with pytest.raises(Killed):
            main(command)
    kept = json.loads(KEPT.read_text())
    assert len(kept["trials"]) == 2 and Path("saved", kept["running"]["checkpoint"]).exists() == (epoch == 2)
    epochs = trained(monkeypatch)
    assert main([*command, "--resume"]) == 0
    assert epochs == ([0, 1, 0, 1] if epoch == 1 else [1, 0, 1])
    found = summary(capsys.readouterr().out)
    assert blocks() == whole
    assert {**found, "checkpoint": ""} == {**expected, "checkpoint": ""}
    assert not KEPT.exists()
    assert {file for file in Path("saved").iterdir() if file.is_file()} == {
        file for file in RunFiles.of(found["checkpoint"]).all if file.exists()
    }


def test_a_search_that_did_not_end_is_not_begun_again_unasked(folder, arguments, monkeypatch, capsys):
    with monkeypatch.context() as patches:
        kill_in(patches, number=2, epoch=2)
        with pytest.raises(Killed):
            main([*arguments, "--checkpoint_dir=saved"])
    left = set(Path("saved").glob("*.*"))
    assert main([*arguments, "--checkpoint_dir=saved"]) == 2
    assert "error: hyper_example.trials.json is of a search that did not end; add --resume" in capsys.readouterr().err
    assert main([*arguments, "--checkpoint_dir=saved", "--resume", "--overwrite"]) == 2
    assert main([*arguments, "--checkpoint_dir=saved", "--resume", "--epochs=3"]) == 2
    assert "hyper_example.trials.json has epochs: 2, this one 3" in capsys.readouterr().err
    assert set(Path("saved").glob("*.*")) == left and left
    assert main([*arguments, "--checkpoint_dir=saved", "--overwrite"]) == 0
    assert len(list(Path("saved").glob("*.pth"))) == 1  # the winner's, which may have a name that was deleted
    assert len(blocks()) == 4
    assert main([*arguments, "--resume"]) == 2
    assert "--resume: there is no hyper_example.trials.json of a search that did not end" in capsys.readouterr().err


def change_interactions(data: Path) -> str:
    file = data / "toy.train.inter"
    file.write_text(file.read_text().rsplit("\n", 2)[0] + "\n")
    return file.name


def change_features(data: Path) -> str:
    (file,) = [path for path in data.glob("toy.visual*") if path.is_file()]
    content = bytearray(file.read_bytes())
    content[content.index(b"0.") + 2] ^= 1
    file.write_bytes(content)
    return file.name


def add_users(data: Path) -> str:
    (data / "toy.user").write_text("user_id:token\tage:float\n")
    return "toy.user"


@pytest.mark.parametrize("change", [change_interactions, change_features, add_users])
def test_other_data_than_the_finished_trials_had_are_refused(folder, monkeypatch, capsys, tmp_path, change):
    """Killed in the first epoch of the second trial, of which there is no state that would notice it."""
    settings = json.loads((folder / "toy.yaml").read_text())
    data = Path(shutil.copytree(Path(settings["data_path"]) / "toy", tmp_path / "data/toy"))
    Path("own.yaml").write_text(json.dumps({**settings, "data_path": str(tmp_path / "data"), "modalities": ["visual"]}))
    command = ["--dataset=toy", "--config_files=own.yaml", f"--params_file={folder / 'toy.hyper'}"]
    with monkeypatch.context() as patches:
        kill_in(patches, number=2, epoch=1)
        with pytest.raises(Killed):
            main(command)
    for file in data.glob("toy.textual*"):  # which nothing here reads
        file.write_bytes(file.read_bytes() + b"\n")
    with monkeypatch.context() as patches:
        kill_in(patches, number=1, epoch=1)
        with pytest.raises(Killed):
            main([*command, "--resume"])
    before = KEPT.read_text()  # its running trial may have a new name
    changed = change(data)
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    error = capsys.readouterr().err
    assert f"error: --resume: {changed} changed since the search in {KEPT} began; bring the files back" in error
    assert error.count("\n") == 1 and KEPT.read_text() == before


def test_a_trial_that_failed_is_not_tried_again(folder, capsys, monkeypatch):
    Path("rates.hyper").write_text("learning_rate choice [1e29,1e30,0.01]\n")
    fixed = Path("fixed.yaml")
    fixed.write_text((folder / "toy.yaml").read_text())
    command = ["--dataset=toy", f"--config_files={fixed}", "--params_file=rates.hyper"]
    with monkeypatch.context() as patches:
        kill_in(patches, number=3, epoch=1)
        with pytest.raises(Killed):
            main(command)
    failed = [trial["params"] for trial in json.loads(KEPT.read_text())["trials"] if trial["failed"]]
    assert failed
    capsys.readouterr()
    epochs = trained(monkeypatch)
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out.count("ValueError: POWERec diverged in epoch 0") == 2
    assert len(epochs) <= 2 and len(blocks()) == 3


DESCRIPTION = {
    "settings": {"seed": 1}, "model": "VBPR", "dataset": "toy", "ranges": [["lr", "choice", [1, 2]]],
    "algo": "random", "max_evals": 3, "early_stop": 10, "hyperopt_seed": "1",
}  # fmt: skip


def go_on(folder: Path) -> TrialList:
    trials = TrialList(folder / "trials.json", folder, DESCRIPTION)
    trials.go_on(lambda score, than: than is None or score > than)
    trials.known({"lr": 1})
    return trials


@pytest.fixture
def kept_trials(tmp_path) -> Path:
    """A list of two trials, the second of which trains, and files of theirs and of others."""
    trials = TrialList(tmp_path / "trials.json", tmp_path, DESCRIPTION)
    trials.begin()
    trials.ends(Trial(params={"lr": 1}, score=0.5, valid_result={"ndcg": 0.5}, checkpoint="VBPR-1.pth"))
    trials.trains({"lr": 2}, "saved/VBPR-2.pth")
    for name in ("VBPR-1.pth", "VBPR-2.pth", "VBPR-2.resume.safetensors", "thesis.pth"):
        (tmp_path / name).touch()
    return tmp_path / "trials.json"


def test_the_list_as_it_was_written(kept_trials):
    trials = go_on(kept_trials.parent)
    assert trials.known({"lr": 2}) is None
    assert trials.state_of({"lr": 2}) == kept_trials.with_name("VBPR-2.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kept: kept["trials"][0].update(checkpoint="../VBPR-1.pth"), "which is none of VBPR's"),
        (lambda kept: kept["trials"][0].update(checkpoint="thesis.pth"), "which is none of VBPR's"),
        (lambda kept: kept["running"].update(checkpoint="VBPR-1.txt"), "which is none of VBPR's"),
        (lambda kept: kept["trials"][0].update(checkpoint="VBPR-3.pth"), ", is not there; restore it"),
        (lambda kept: kept["trials"][0].update(score="1"), "trials.0.score: input should be a valid number"),
        (lambda kept: kept["trials"][0].update(score=float("nan")), "trials.0.score: input should be a finite number"),
        (lambda kept: kept["trials"][0]["params"].update(lr=7), "where this search draws"),
        (lambda kept: kept["search"].update(hyperopt_seed="2"), "has hyperopt_seed 2, this one 1"),
        (lambda kept: kept.pop("search"), "search: field required"),
    ],
)
def test_a_changed_list_of_trials_is_refused(kept_trials, change, message):
    before = set(kept_trials.parent.iterdir())
    kept = json.loads(kept_trials.read_text())
    change(kept)
    kept_trials.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=rf"^--resume: .*trials\.json.*{message}"):
        go_on(kept_trials.parent)
    assert set(kept_trials.parent.iterdir()) >= before - {kept_trials.with_name("VBPR-1.pth")}


def test_a_search_of_one_of_recboles_models_goes_on(folder, arguments, monkeypatch):
    """Whose trainings have no state: the trial begins again, and what it left is deleted."""
    Path("rates.hyper").write_text("embedding_size choice [4,8]\n")
    fixed = Path("fixed.yaml")
    settings = json.loads((folder / "toy.yaml").read_text())
    fixed.write_text(json.dumps({key: value for key, value in settings.items() if key != "embedding_size"}))
    command = ["--model=BPR", "--dataset=toy", f"--config_files={fixed}", "--params_file=rates.hyper",
               "--checkpoint_dir=saved"]  # fmt: skip
    train, epochs = Trainer._train_epoch, []

    def train_epoch(trainer, *rest, **options):
        epochs.append(trainer)
        if len(epochs) == 4:
            raise Killed
        return train(trainer, *rest, **options)

    with monkeypatch.context() as patches:
        patches.setattr(Trainer, "_train_epoch", train_epoch)
        with pytest.raises(Killed):
            main(command)
    assert len(list(Path("saved").glob("BPR-*.pth"))) == 2
    assert main([*command, "--resume"]) == 0
    assert len(blocks()) == 2 and len(list(Path("saved").glob("BPR-*.pth"))) == 1
