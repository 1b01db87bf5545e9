"""What the commands show on a terminal, and that the log file keeps all of RecBole's lines."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recbole.quick_start import run_recbole

from recbole_mm.host.logs import close_log
from recbole_mm.host.terminal import BriefTerminal, brief, progress_bar
from recbole_mm.quick_start import main
from recbole_mm.testing.toy import PRE_SPLIT, write_planted
from recbole_mm.tuning.command import main as tune

NUMBER = r"[\d.]+"
METRICS = rf"recall@5 {NUMBER}, ndcg@5 {NUMBER}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("shown"), {"visual": 6, "textual": 4})


@pytest.fixture
def command(folder) -> list[str]:
    """Arguments of a short run."""
    return ["--dataset=toy", *(f"--{key}={value}" for key, value in settings_of(folder).items())]


def alone(run: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`run` as in a process that logs nowhere else: RecBole shows nothing beside pytest's own handlers."""
    root = logging.getLogger()
    kept, root.handlers[:] = root.handlers[:], []
    try:
        return run(*arguments, **named)
    finally:
        close_log()
        root.handlers[:] = kept


def settings_of(folder: Path) -> dict:
    return {**PRE_SPLIT, "data_path": str(folder), "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5",
            "epochs": 3, "eval_step": 2, "train_batch_size": 64, "embedding_size": 8, "gpu_id": ""}  # fmt: skip


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def the_log() -> str:
    (file,) = Path("log").glob("*/*.log")
    return file.read_text()


@pytest.mark.parametrize("model", ["LayerGCN", "LightGCN"])
@pytest.mark.parametrize("show_progress", [True, False])
def test_a_run_shows_what_matters_alone(command, model, show_progress, capsys):
    assert alone(main, [f"--model={model}", *command, f"--show_progress={show_progress}", "--learning_rate=0.01"]) == 0
    printed = capsys.readouterr()
    shown = [line for line in printed.err.splitlines() if not line.startswith("Modality ")]
    start, changed, where, data, rule, size, *epochs, best = shown
    assert start.startswith(f"{model} on toy (") and start.endswith("), seed 2020, cpu")
    assert "; learning_rate: 0.01" in changed and "; eval_step: 2; " in changed
    assert not re.search(r"protocol|weight_decay|data_path|stopping_step", changed)  # set by nobody, or shown above
    assert ("show_progress" in changed) == (not show_progress)
    assert Path(where.removeprefix("all settings, and all that happens: ")).is_file()
    assert re.fullmatch(r"toy: 40 users, \d\d items, 4\d\d interactions, sparsity 6\d.\d\d %", data)
    assert rule.startswith("The best epoch is chosen by NDCG@5")
    assert re.fullmatch(rf"{model}: [\d,]+ trainable parameters", size)
    trained = [rf"epoch {epoch}: train loss {NUMBER}, {NUMBER} s" for epoch in range(3)]
    trained[1] += rf" \+ {NUMBER} s, valid {METRICS}"
    assert all(re.fullmatch(form, line) for form, line in zip(trained, epochs, strict=True))
    assert re.fullmatch(f"best valid result: {METRICS}", best)
    assert printed.out.startswith("test result: {'recall@5': ")


def test_the_log_file_has_all_of_recboles_lines(command, capsys):
    assert alone(main, ["--model=LayerGCN", *command]) == 0
    shown, log = capsys.readouterr().err, the_log()
    for text in ("weight_decay = 0.0", "FLOPs: ", "epoch 1 evaluating [time: ", "valid result: \nrecall@5 : ",
                 "Saving current: ", "INFO  test result: OrderedDict(", "The number of users: 41"):  # fmt: skip
        assert text in log
        assert text not in shown


def test_debug_shows_all(command, capsys):
    assert alone(main, ["--model=LayerGCN", *command, "--state=DEBUG"]) == 0
    assert "FLOPs" in capsys.readouterr().err


def test_plain_run_recbole_shows_what_it_did(command, folder, capsys):
    alone(run_recbole, "LayerGCN", "toy", config_dict=settings_of(folder))
    shown = capsys.readouterr().err
    assert "FLOPs" in shown and "INFO" in shown and "Train     0: 100%" in shown


def test_stages_are_named(command, capsys):
    options = ["--model=MARGO", "--backbone=DualGNN", "--stage_two_epochs=2", "--eval_step=1"]
    assert alone(main, [*options, *(option for option in command if not option.startswith("--eval_step"))]) == 0
    epochs = [line for line in lines(capsys) if re.match(r"Stage \w+: epoch", line)]
    assert re.search(rf"train loss {NUMBER}, L_rec {NUMBER}, .*, {NUMBER} s \+ {NUMBER} s, valid {METRICS}", epochs[-1])
    assert [line.partition(" train")[0] for line in epochs] == [*(f"Stage one: epoch {number}:" for number in range(3)),
                     *(f"Stage two: epoch {number}:" for number in range(2))]  # fmt: skip


def test_a_search_shows_warnings_of_its_trials_alone(command, capsys):
    Path("few.hyper").write_text("learning_rate choice [0.1,0.01]\n")
    options = [option for option in command if not option.startswith("--learning_rate")]
    assert alone(tune, ["--model=BPR", "--params_file=few.hyper", *options]) == 0
    printed = capsys.readouterr()
    assert "np.float64" not in printed.out + printed.err and "Evaluation" not in printed.err
    assert re.search(r"current best valid result:\s.*\{'recall@5': ", printed.out, re.DOTALL)


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("any", level, __file__, 1, text, (), None)


def test_an_epoch_that_waits_is_shown_before_a_warning_and_at_the_end(capsys):
    terminal = BriefTerminal(logging.INFO, "a.log")
    terminal._eval_step = 1  # every epoch waits for its evaluation
    for number in range(2):
        terminal.emit(record(f"epoch {number} training [time: 1.00s, train_loss1: 0.5000, train_loss2: 2.0000]"))
        terminal.emit(record("look out", logging.WARNING))
    terminal.emit(record("epoch 2 training [time: 1.00s, train loss: 0.5000]"))
    terminal.close()
    both = "train_loss1 0.5000, train_loss2 2.0000, 1.00 s"
    assert lines(capsys) == [f"epoch 0: {both}", "warning: look out", f"epoch 1: {both}", "warning: look out",
                             "epoch 2: train loss 0.5000, 1.00 s"]  # fmt: skip


def test_results_of_numpy_1_are_plain_too(capsys):
    terminal = BriefTerminal(logging.INFO, "a.log")
    for value in ("0.25", "np.float64(0.25)"):
        terminal.emit(record(f"\x1b[1;33mbest valid \x1b[0m: OrderedDict([('hit@5', {value}), ('mrr@5', {value})])"))
    assert lines(capsys) == ["best valid result: hit@5 0.25, mrr@5 0.25"] * 2


def test_deprecations_are_shown_outside_of_a_run_alone():
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        with brief():
            for kind in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.warn("torch.sparse.FloatTensor is deprecated", kind, stacklevel=2)
            warnings.warn("something else", UserWarning, stacklevel=2)
        warnings.warn("an outdated name", FutureWarning, stacklevel=2)
    assert [str(warning.message) for warning in shown] == ["something else", "an outdated name"]


def test_bars_stay_where_recbole_is_run_plainly(capsys):
    for _ in progress_bar([1], desc="plain"):
        pass
    with brief():
        for _ in progress_bar([1], desc="brief"):
            pass
    shown = capsys.readouterr().err
    assert "plain: 100%" in shown and "brief" not in shown
