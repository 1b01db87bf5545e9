"""`run_recbole_mm.py`: what it prints, what it refuses, its exit codes."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from recbole.data.dataset import Dataset

from recbole_mm import MODELS
from recbole_mm.configuration import check_keys
from recbole_mm.io.run_files import RunFiles
from recbole_mm.quick_start import _parse, main, run
from recbole_mm.testing.toy import PRE_SPLIT, write_planted
from tests.commands import run as run_python

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set and settings of a quick run on it."""
    folder = write_planted(tmp_path_factory.mktemp("commands"), {"visual": 6, "textual": 4})
    settings = {
        **PRE_SPLIT, "data_path": str(folder), "epochs": 2, "embedding_size": 8, "train_batch_size": 64,
        "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5",
        "gpu_id": "", "state": "WARNING",
        "show_progress": False,
    }  # fmt: skip
    (folder / "toy.yaml").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def arguments(folder) -> list[str]:
    return ["--dataset", "toy", f"--config_files={folder / 'toy.yaml'}", "--checkpoint_dir=saved"]


def summary(printed: str) -> dict[str, str]:
    """The last lines of a run: test result, checkpoint, log; without RecBole's colours."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", printed).splitlines()[-3:]
    assert [line.split(": ")[0] for line in lines] == ["test result", "checkpoint", "log"]
    return dict(line.split(": ", 1) for line in lines)


def refused(capsys, arguments: list[str]) -> str:
    """The one line on standard error of a command that must end with exit code 2."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    return line.removeprefix("error: ")


# ---------------------------------------------------------------- run_recbole_mm.py


def test_a_run_ends_with_its_result_checkpoint_and_log(folder, arguments, tmp_path):
    """Through the script itself, because RecBole's log file needs a process without other log handlers."""
    options = ["--model", "POWERec", *arguments, "--state=INFO", "--show_progress=True", "--weak_weight=0.5"]
    done = run_python([str(ROOT / "run_recbole_mm.py"), *options], tmp_path)
    assert done.returncode == 0, done.stderr
    last = summary(done.stdout)
    assert re.fullmatch(r"\{'recall@5': 0\.\d+, 'ndcg@5': 0\.\d+\}", last["test result"])
    saved = json.loads((tmp_path / last["checkpoint"]).with_suffix(".json").read_text())
    assert (saved["model"], saved["settings"]["weak_weight"]) == ("POWERec", 0.5)
    written = Path(last["log"]).read_text()
    assert "epoch 1 training" in written
    assert all(number in written for number in re.findall(r"0\.\d+", last["test result"]))
    assert "\nepoch 1: " in done.stderr and "it/s" not in done.stderr  # a bar is for terminals
    assert "recbole_mm" not in "".join(line for line in done.stderr.splitlines() if "Warning" in line)


def test_recboles_own_model_runs_through_it(arguments, tmp_path, capsys):
    assert main(["--model=BPR", *arguments]) == 0
    last = summary(capsys.readouterr().out)
    assert last["test result"].startswith("{'recall@5': 0.")
    assert re.fullmatch(r"saved/BPR-.*\.pth", last["checkpoint"])
    assert (tmp_path / last["checkpoint"]).is_file()


def test_a_resumed_run_names_the_checkpoint_it_goes_on_with(arguments, capsys):
    assert main(["--model=LayerGCN", *arguments]) == 0
    files = RunFiles.of(summary(capsys.readouterr().out)["checkpoint"])
    for file, name in zip(files.all, RunFiles(Path("elsewhere.pth")).all, strict=True):
        if file.exists():
            file.rename(name)
    assert main(["--model=LayerGCN", *arguments, "--resume_from=elsewhere.pth"]) == 0
    assert summary(capsys.readouterr().out)["checkpoint"] == "elsewhere.pth"


def test_run_gives_what_recboles_run_gives(folder, capsys):
    result = run("POWERec", "toy", [str(folder / "toy.yaml")], {"epochs": 1, "checkpoint_dir": "saved"})
    scores = {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"}
    assert set(result) == {*scores, "checkpoint", "log"} and Path(result["checkpoint"]).is_file()
    shown = summary(capsys.readouterr().out)["test result"]
    assert shown == str({metric: float(value) for metric, value in result["test_result"].items()})


def test_a_run_in_code_has_no_keys_of_the_command_before_it(folder, arguments):
    keys = ["--n_layers=2", "--edge_dropout=0.2", "--epochs=1"]
    assert main(["--model=LayerGCN", *arguments, *keys]) == 0
    assert main(["--model=LayerGCN", *arguments, *keys[1:], "--n_layers=0"]) == 2  # nor of one that was refused
    assert Path(run("BPR", "toy", [str(folder / "toy.yaml")], {"epochs": 1})["checkpoint"]).is_file()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", ["2024", "./1.5"])
def test_a_folder_whose_name_is_a_number(folder, arguments, name):
    shutil.copytree(folder / "toy", Path(name) / "toy")
    assert main(["--model=BPR", *arguments, f"--data_path={name}", "--epochs=1"]) == 0


@pytest.mark.parametrize("value", ["-1", "1.5"])
def test_a_number_that_is_no_name_of_a_folder(capsys, arguments, value):
    line = refused(capsys, ["--model=BPR", *arguments, f"--data_path={value}"])
    assert line.startswith(f"data_path: {value} is not allowed for BPR (") and f"write './{value}' where" in line


@pytest.mark.parametrize("name, closest", [("PowerRec", "POWERec"), ("lightgcn", "LightGCN"), ("LayerGNC", "LayerGCN")])
def test_unknown_model(capsys, arguments, name, closest):
    line = refused(capsys, [f"--model={name}", *arguments])
    assert line.startswith(f"unknown model '{name}' (did you mean {closest}?). Multimodal models: ")
    multimodal, recboles = line.split(". RecBole's: ")
    assert all(model in multimodal for model in MODELS)
    assert "BPR, " in recboles


def test_unknown_data_set(capsys):
    Path("dataset/baby").mkdir(parents=True)
    line = refused(capsys, ["--dataset=babe"])
    assert line.startswith("unknown data set 'babe' (did you mean baby?). In dataset_atomic and dataset: baby, ")
    assert "Set data_path for another folder" in line


@pytest.mark.parametrize("given, closest", [("promt_num=2", "prompt_num"), ("learningrate=0.1", "learning_rate")])
def test_unknown_key(capsys, arguments, given, closest):
    key = given.split("=")[0]
    line = refused(capsys, [*arguments, f"--{given}"])
    assert line.startswith(f"unknown key '{key}' (did you mean {closest}?); POWERec takes the keys of its yaml")


def test_a_key_of_another_model_is_unknown(capsys, arguments):
    assert refused(capsys, ["--model=LayerGCN", *arguments, "--prompt_num=2"]).startswith("unknown key 'prompt_num'")


def test_all_keys_of_recbole_are_known():
    from recbole.config import Config
    from recbole.utils import argument_list

    known = [key for name, keys in vars(argument_list).items() if name.endswith("_arguments") for key in keys]
    assert len(known) > 70
    config = Config("LightGCN", "toy")
    config.external_config_dict = dict.fromkeys([*known, "reg_weight", "n_layers", "eval_history", "modalities"])
    check_keys(config, config.external_config_dict)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "configuration file mine.yaml does not exist"),
        ("epochs: [1", "configuration file mine.yaml is no yaml: .*expected ',' or ']'.*"),
        (
            "- epochs\n- 3\n",
            "configuration file mine.yaml holds no settings; it needs lines such as 'epochs: 10'",
        ),
        ("", "configuration file mine.yaml holds no settings; .*"),
    ],
    ids=["missing", "broken", "a list", "empty"],
)
def test_bad_config_file(capsys, content, message):
    if content is not None:
        Path("mine.yaml").write_text(content)
    assert re.fullmatch(message, refused(capsys, ["--config_files=mine.yaml"]))


@pytest.mark.parametrize(
    "given, settings",
    [
        ("--epochs 3 --topk [5] --metrics [Recall,NDCG]", "--epochs=3 --topk=[5] --metrics=[Recall,NDCG]"),
        ("--epochs=3 --note=a=b --note2 c=d", "--epochs=3 --note=a=b --note2=c=d"),
        ("--log_wandb", "--log_wandb=True"),
        ("--log_wandb --weight -1", "--log_wandb=True --weight=-1"),
        ("--weight -1e-3 --log_wandb", "--weight=-1e-3 --log_wandb=True"),
        ("--trust-pickle --epochs 3 -m BPR -d toy", "--trust_pickle=True --epochs=3"),
        ("--epochs 3 --config_files a.yaml b.yaml --topk 5", "--epochs=3 --topk=5"),
        ("--weight=", "--weight="),
    ],
)
def test_settings_with_and_without_a_sign(given, settings):
    _, found = _parse(given.split(), "program")
    assert found == settings.split()


def test_blanks_in_values_and_in_the_names_of_files(tmp_path):
    for name in ("my files/a b.yaml", "my files/c.yaml", "plain.yaml", "my"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("epochs: 1\n")
    for given, files in {
        ("my files/a b.yaml",): ["my files/a b.yaml"],
        ("my files/a b.yaml plain.yaml",): ["my files/a b.yaml", "plain.yaml"],
        ("plain.yaml my files/c.yaml my files/a b.yaml",): ["plain.yaml", "my files/c.yaml", "my files/a b.yaml"],
        ("plain.yaml", "my files/c.yaml"): ["plain.yaml", "my files/c.yaml"],
        ("plain.yaml  my",): ["plain.yaml", "my"],
        ("missing one.yaml",): ["missing", "one.yaml"],
        (" ",): None,
    }.items():
        options, _ = _parse(["--config_files", *given], "program")
        assert options["config_file_list"] == files
    options, settings = _parse(["--config_files=my files/a b.yaml", "--data_path", "my files"], "program")
    assert options["config_file_list"] == ["my files/a b.yaml"] and settings == ["--data_path=my files"]


def test_settings_without_a_sign_are_those_of_the_run(capsys, arguments):
    more = "--embedding_size 4 --epochs 1 --metrics [Recall,MRR] --valid_metric MRR@5 --topk [5]"
    assert main(["--model", "VBPR", *arguments, *more.split()]) == 0
    assert re.findall(r"\w+(?=@5)", summary(capsys.readouterr().out)["test result"]) == ["recall", "mrr"]


@pytest.mark.parametrize("bare", ["--log_wandb", "--log_wandb True", "--log_wandb=True"])
def test_wandb_that_is_not_installed(capsys, arguments, bare, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert "Weights & Biases is not installed; type: pip install wandb" in refused(capsys, [*arguments, *bare.split()])


@pytest.mark.parametrize(
    "argument, message",
    [
        ("3", "'3' is not understood; settings are given as --key=value"),
        ("epochs=3", "'epochs=3' is not understood"),
        ("--epochs=3 --epochs=4", "--epochs is given twice"),
        ("--epochs 3 --epochs=4", "--epochs is given twice"),
        ("--epochs 3 4", "'4' is not understood"),
        ("--trust-pickle --trust_pickle=False", "--trust_pickle is given twice"),
    ],
)
def test_malformed_settings(capsys, arguments, argument, message):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *argument.split()])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting, message",
    [
        ("--modalities=['audio']", "modality 'audio' has no file beside "),
        ("--eval_history=all", "eval_history: 'all' is not allowed for POWERec; give one of train_valid, train"),
        (
            "--valid_metric=MRR@5",
            "valid_metric: MRR@5 is not measured; set it to one of `metrics` ['Recall', 'NDCG'] at",
        ),
        ("--topk=[10,20]", "valid_metric: NDCG@5 is not measured; "),
        ("--propagation=GAT", "propagation: 'GAT' is not allowed for POWERec; give one of BPR, LayerGCN, LightGCN"),
        ("--resume_from=none.pth", "resume_from: checkpoint none.pth does not exist"),
        ("--data_path=nowhere", "data_path: there is no folder nowhere; it is the folder that holds toy/"),
        ("--valid_metric_bigger=False", "valid_metric_bigger: False is passed over, as more NDCG is better"),
        ("--config_file=mine.yaml", "config_file: nothing reads it; give --config_files"),
        ("--single_spec=False", "single_spec: the command knows how many processes"),
        ("--variant_of=VBPR", "unknown key 'variant_of'"),
        ("--LABEL_FIELD=item_id", "LABEL_FIELD and ITEM_ID_FIELD are both 'item_id'; set one"),
        ("--TIME_FIELD=user_id", "TIME_FIELD and USER_ID_FIELD are both 'user_id'; set one"),
        (
            "--train_neg_sample_args={'distribution': 'popularity', 'alpha': 1e9}",
            "train_neg_sample_args.alpha: 1000000000.0 is not allowed for POWERec; give a number of at least -10",
        ),
    ],
)
def test_bad_values_end_in_one_line(capsys, arguments, setting, message):
    assert refused(capsys, [*arguments, setting]).startswith(message)
    assert not list(Path.cwd().glob("saved/*"))


@pytest.mark.parametrize(
    "model, setting, message",
    [
        ("BPR", "--resume_from=one.pth", "resume_from: BPR is RecBole's own model"),
        ("VBPR", "--resume_from=none.pth", "resume_from: checkpoint none.pth does not exist"),
        ("VBPR", "--resume_from=one.pth", "resume_from: checkpoint one.pth is of model LayerGCN, this run is of VBPR"),
        ("MARGO", "--stage_one_checkpoint=none.pth", "stage_one_checkpoint: checkpoint none.pth does not exist"),
        ("MARGO", "--stage_one_checkpoint=one.pth", "stage_one_checkpoint one.pth has backbone LayerGCN, this run has"),
    ],
)
def test_files_that_a_run_cannot_begin_with_are_refused_before_data_are_read(
    capsys, arguments, monkeypatch, model, setting, message
):
    assert main(["--model=LayerGCN", *arguments]) == 0
    files = RunFiles.of(summary(capsys.readouterr().out)["checkpoint"])
    for file, name in zip(files.all, RunFiles(Path("one.pth")).all, strict=True):
        if file.exists():
            file.rename(name)
    monkeypatch.setattr(Dataset, "__init__", lambda *_: pytest.fail("data were read"))
    assert refused(capsys, [f"--model={model}", *arguments, setting]).startswith(message)


class TestSettingsBesideTheData:
    @pytest.fixture
    def data(self, tmp_path) -> Path:
        write_planted(tmp_path / "own", {"visual": 6})
        settings = {**PRE_SPLIT, "epochs": 1, "embedding_size": 4, "topk": [5], "valid_metric": "NDCG@5",
                    "metrics": ["NDCG"], "gpu_id": "", "show_progress": False, "state": "WARNING"}  # fmt: skip
        (tmp_path / "own" / "toy" / "toy.yaml").write_text(json.dumps(settings))
        return tmp_path / "own"

    def test_are_read_below_the_users_own(self, data):
        Path("mine.yaml").write_text("embedding_size: 6\n")
        for files, width in ((None, 4), (["mine.yaml"], 6), ([str(data / "toy" / "toy.yaml")], 4)):
            result = run("VBPR", "toy", files, {"data_path": str(data), "checkpoint_dir": "saved"})
            saved = json.loads(Path(result["checkpoint"]).with_suffix(".json").read_text())
            assert saved["settings"]["embedding_size"] == width
            assert saved["settings"]["benchmark_filename"] == ["train", "valid", "test"]

    @pytest.mark.parametrize("key", ["trust_pickle", "trust_plugins"])
    def test_trust_nobody(self, data, capsys, key):
        file = data / "toy" / "toy.yaml"
        file.write_text(json.dumps({**json.loads(file.read_text()), key: True}))
        message = refused(capsys, ["--model=VBPR", "--dataset=toy", f"--data_path={data}"])
        assert f"toy.yaml: {key} is yours to give, not a file's" in message

    def test_a_misspelt_key_is_named_with_the_file(self, data, capsys):
        (data / "toy" / "toy.yaml").write_text("epoch: 3\n")
        message = refused(capsys, ["--model=VBPR", "--dataset=toy", f"--data_path={data}"])
        assert "toy.yaml: unknown key 'epoch' (did you mean epochs?)" in message


@pytest.mark.parametrize("key", ["checkpoint_dir", "log_dir", "tensorboard_dir", "graph_dir"])
def test_a_folder_that_cannot_be_written_to(capsys, arguments, key):
    Path("taken").touch()
    arguments = [argument for argument in arguments if not argument.startswith(f"--{key}=")]
    line = refused(capsys, ["--model=LayerGCN", *arguments, f"--{key}=taken/below"])
    assert line == f"{key}: nothing can be written to taken/below (Not a directory); set another folder"
    assert not Path("log").exists() or not any(Path("log").iterdir())


def test_logs_go_where_the_key_says(arguments, capsys):
    assert main(["--model=BPR", *arguments, "--log_dir=logs", "--tensorboard_dir=boards"]) == 0
    assert {"logs", "boards"} <= {path.name for path in Path().iterdir()}
    assert not {"log", "log_tensorboard"} & {path.name for path in Path().iterdir()}


@pytest.mark.parametrize(
    "model, setting",
    [("NeuMF", "--mlp_hidden_size=[]"), ("MultiVAE", "--latent_dimension=3"), ("LightGCN", "--reg_weight=1e40")],
)
def test_what_recboles_own_models_end_with_is_one_line(model, setting, tmp_path, capsys):
    folder = write_planted(tmp_path / "data", {})
    split = "--benchmark_filename=['train','valid','test']"
    arguments = [f"--model={model}", "--dataset=toy", f"--data_path={folder}", split, "--epochs=1", setting]
    assert main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and model in last


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prot": 1}, r"run takes no argument 'prot' \(did you mean port\?\); settings go into config_dict"),
        ({"saved": "no"}, "saved: 'no' is neither True nor False"),
        ({"model": dict}, "model: <class 'dict'> is no name of a model"),
        ({"dataset": ""}, "--dataset: '' is no name; give that of the folder"),
    ],
)
def test_arguments_of_run_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        run(**{"model": "VBPR", "dataset": "toy", "config_dict": {"data_path": "."}, **options})
