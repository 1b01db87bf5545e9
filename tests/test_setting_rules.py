"""The settings of a run: whatever source and key, a value is one that is meant, or one line says what is wrong."""

from __future__ import annotations

import logging
import sys

import pytest
from recbole.config import Config
from recbole.quick_start import run_recbole

from recbole_mm import setting_effects
from recbole_mm.configuration import checked_config
from recbole_mm.host.config import StoredSettings
from recbole_mm.host.recbole_settings import RecBoleSettings
from recbole_mm.quick_start import main
from recbole_mm.registration import recbole_models
from recbole_mm.registry import MODELS, variants
from recbole_mm.run_settings import SHARED_PROTOCOL
from recbole_mm.setting_rules import common_settings, model_settings, properties_dir
from recbole_mm.settings import Settings
from recbole_mm.settings_files import settings_files

SHIPPED = [name for name in MODELS if MODELS.get(name).__module__.startswith("recbole_mm.model.")]
WRONG = ("maybe", "", -1, -0.5, 10**30, float("nan"), float("inf"), True, None, [], {}, [[1]], {"a": {"b": 1}}, b"x")


def test_yaml_files_are_those_of_the_declarations():
    """``make properties`` writes them."""
    shown = {name: (properties_dir() / name).read_text(encoding="utf-8") for name in settings_files()}
    assert shown == settings_files()


@pytest.mark.parametrize("model", recbole_models())
def test_recboles_own_models_keep_their_settings(model, caplog):
    """What RecBole ships passes the declarations, unchanged but for the type."""
    if model in ("lightgbm", "xgboost", "KD_DAGFM"):
        pytest.skip("needs a library of its own, or a checkpoint")
    config = Config(model, "ml-100k", config_dict={"train_neg_sample_args": None})  # sequential models want it so
    for key, value in config.internal_config_dict.items():
        if key in RecBoleSettings.model_fields and key not in ("eval_args", "train_neg_sample_args", "data_path"):
            assert config[key] == value or [value] == config[key] or str(value) == config[key]


def declarations(model: str) -> list[type[Settings]]:
    return model_settings(model)[-1:] if model != "BPR" else [RecBoleSettings, *common_settings()]


@pytest.mark.parametrize("model", ["BPR", *SHIPPED])
def test_a_wrong_value_is_one_line_that_names_the_key(model):
    refused = 0
    for kind in declarations(model):
        for key in kind.model_fields:
            for value in WRONG:
                try:
                    kind.read({key: value}, model)
                except ValueError as error:
                    refused += 1
                    assert key in str(error) and "\n" not in str(error), error
    assert refused > 3 * sum(len(kind.model_fields) for kind in declarations(model))


@pytest.mark.parametrize("model", ["BPR", "FREEDOM", "MARGO"])
@pytest.mark.parametrize("value", [{"a": {"b": 1}}, -1, "maybe"])
def test_no_wrong_value_ends_a_config_otherwise(model, value):
    for kind in declarations(model):
        for key in kind.model_fields:
            try:
                Config(model, "toy", config_dict={key: value})
            except ValueError as error:
                assert key in str(error) and "\n" not in str(error), error


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("FREEDOM", {"modalites": ["visual"]}, r"unknown key 'modalites' \(did you mean modalities\?\)"),
        ("BPR", {"learning_ratee": 0.1}, r"unknown key 'learning_ratee' \(did you mean learning_rate\?\)"),
        ("Fredom", {}, r"unknown model 'Fredom' \(did you mean FREEDOM\?\)"),
        ("lightgcn", {}, r"unknown model 'lightgcn' \(did you mean LightGCN\?\)"),
        ("POWERec", {"learner": "adm"}, "learner: 'adm' is not allowed for POWERec; give one of adam, adamw"),
        ("POWERec", {"n_layers": 10**12}, "n_layers: 1000000000000 is not allowed for POWERec; give a whole number"),
        ("POWERec", {"normalize_feature": "maybe"}, "normalize_feature: 'maybe' is not allowed"),
        ("POWERec", {"epochs": -1}, "epochs: -1 is not allowed"),
        ("POWERec", {"train_batch_size": 0}, "train_batch_size: 0 is not allowed"),
        ("POWERec", {"eval_args": {"split": {"RS": [1, 1]}}}, r"eval_args.split: \{'RS': \[1, 1\]\} is not allowed"),
        ("POWERec", {"eval_args": {"spit": {}}}, r"eval_args: unknown key 'spit' \(did you mean split\?\)"),
        ("POWERec", {"n_layers": 0}, "n_layers: 0 must be at least 1 for the propagation LayerGCN"),
        ("MARGO", {"backbone": "DRAGON", "user_graph_width": 0}, "user_graph_width: 0 is not allowed"),
        ("LightGCN", {"n_layers": 10**12}, "n_layers: 1000000000000 .* a whole number of at least 0 and at most 100"),
        ("DiffRec", {"steps": 10**12}, "steps: 1000000000000 .* a whole number of at least 0 and at most 100000"),
        ("SASRec", {"n_heads": 10**12}, "n_heads: 1000000000000 .* at least 1 and at most 1000000000"),
        ("LightGCN", {"embedding_size": None}, "embedding_size: None is not allowed for LightGCN; give a whole number"),
        ("NGCF", {"reg_weight": None}, "reg_weight: None is not allowed for NGCF; give a number of at least 0"),
        ("SASRec", {"n_heads": None}, "n_heads: None is not allowed for SASRec"),
        ("MultiVAE", {"mlp_hidden_size": None}, "mlp_hidden_size: None is not allowed for MultiVAE; give a list"),
        ("BPR", {"metrics": []}, r"metrics: \[\] is not allowed"),
        ("BPR", {"numerical_features": None}, "numerical_features: None is not allowed"),
        ("BPR", {"load_col": {"inter": []}}, "load_col: nothing is loaded of the interactions"),
        ("BPR", {"local_rank": -1}, "local_rank: is given by the run to its processes; leave it out"),
        ("BPR", {"plugins": [".evilmod"]}, "plugins: '.evilmod' is no name of a module"),
        ("BPR", {"plugins": ["../x/evilmod"]}, "plugins: '../x/evilmod' is no name of a module"),
        ("BPR", {"embedding_size": -4}, "embedding_size: -4 is not allowed for BPR; give a whole number of at least 1"),
        ("BPR", {"embedding_size": "wide"}, "embedding_size: 'wide' is not allowed for BPR"),
        ("LightGCN", {"reg_weight": float("nan")}, "reg_weight: nan is not allowed for LightGCN"),
        ("NGCF", {"hidden_size_list": "wide"}, "hidden_size_list: 'wide' is not allowed for NGCF; give a list"),
        ("BPR", {"metrics": ["Recall", "AUC"]}, "metrics: .* are of rankings and of values"),
        ("BPR", {"metrics": ["Foo"]}, r"no metric .Foo.; there are auc, averagepopularity, gauc, .*, recall, "),
        ("BPR", {"metrics": ["Recal"]}, r"metrics: there is no metric 'Recal' \(did you mean recall\?\)"),
        ("BPR", {"train_neg_sample_args": {"sample_num": 10**6}}, "train_neg_sample_args.sample_num: .* at most 10000"),
        ("MMGCN", {"content_widths": {"visual": "wide"}}, "content_widths.visual: 'wide' is not allowed"),
    ],
)
def test_plain_run_recbole_refuses_as_the_command_does(model, settings, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        run_recbole(model=model, dataset="toy", config_dict=settings)


def test_the_place_of_a_wrong_setting_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: ten\n")
    with pytest.raises(ValueError, match="^file .*mine.yaml: epochs: 'ten' is not allowed"):
        Config("POWERec", "toy", [str(file)])
    assert Config("POWERec", "toy", [str(file)], {"epochs": 3})["epochs"] == 3
    file.write_text("epochs: 1\nmodalites: [visual]\nepochs: 2\n")
    with pytest.raises(ValueError, match="mine.yaml is no yaml: line 3, column 1: the key 'epochs' stands there twice"):
        Config("POWERec", "toy", [str(file)])
    for text, message in (
        ("config_files: other.yaml", "config_files is nothing that a file can set"),
        (f"epochs: {'9' * 5000}", r"line 1, column 9: '9{40}\.\.\.' is no int"),
        ("data_path: !!binary aGFsbG8=", "could not determine a constructor for the tag 'tag:yaml.org,2002:binary'"),
        ("embedding_size: 064", "line 1, column 17: 064 means another number in YAML; write it plainly, or in quotes"),
        ("embedding_size: 1:30", "1:30 means another number in YAML"),
        ("worker: 10000", "worker: 10000 is not allowed for POWERec; give a whole number .* at most 256"),
        ("metric_decimal_place: 400", "metric_decimal_place: 400 is not allowed .* at most 15"),
        ("metrics: !!set {Recall, NDCG}", "could not determine a constructor for the tag 'tag:yaml.org,2002:set'"),
    ):
        file.write_text(f"{text}\n")
        with pytest.raises(ValueError, match=f"mine.yaml.*{message}"):
            Config("POWERec", "toy", [str(file)])
    file.write_text("modalites: [visual]\n")
    with pytest.raises(ValueError, match="^file .*mine.yaml: unknown key 'modalites'"):
        Config("POWERec", "toy", [str(file)])


@pytest.mark.parametrize(
    ("model", "option", "written"),
    [
        ("FREEDOM", "--modality_weights={visual:1,textual: 2}", "visual: 1"),
        ("MMGCN", "--content_widths={visual:256}", "visual: 256"),
        ("VBPR", "--lr_decay={factor:0.9,epochs: 5}", "factor: 0.9"),
        ("VBPR", "--knock_out={visual:shuffle}", "visual: shuffle"),
        ("BPR", "--eval_args={mode: {valid:full, test: full}}", "valid: full"),
    ],
)
def test_a_colon_without_a_blank_is_told(model, option, written, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", option])
    key = option[2:].partition("=")[0]
    with pytest.raises(ValueError, match=rf"{key}: .* is read as one word; write a blank behind the colon: ") as error:
        Config(model, "toy")
    assert str(error.value).split("colon: ")[1].startswith(written)


def test_a_closed_interval_is_one(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main", "--user_inter_num_interval=[1,20]"])
    config = Config("POWERec", "toy", config_dict={"item_inter_num_interval": [2, 3]})
    assert config["user_inter_num_interval"] == "[1,20]" and config["item_inter_num_interval"] == "[2,3]"
    with pytest.raises(ValueError, match="item_inter_num_interval.*holds no number"):
        Config("POWERec", "toy", config_dict={"item_inter_num_interval": [5, 1]})


def test_names_that_give_way_are_told(tmp_path, caplog):
    (tmp_path / "mine.yaml").write_text("model: BPR\n")
    Config("VBPR", "toy", [str(tmp_path / "mine.yaml")], {"dataset": "other"})
    assert "mine.yaml gives way to VBPR" in caplog.text
    assert "dataset: other of config_dict gives way to toy" in caplog.text


def test_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    config = Config("VBPR", "toy", config_dict={"log_dir": "~/logs", "data_path": "~/data"})
    assert config["log_dir"] == "/somewhere/logs" and config["data_path"] == "/somewhere/data/toy"


def test_the_device_is_not_a_word_of_the_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main", "--device=cuda:9"])
    with pytest.raises(ValueError, match="device: a run chooses it by --use_gpu and --gpu_id; leave it out"):
        Config("VBPR", "toy")


def test_values_have_their_declared_type(monkeypatch):
    arguments = ["--metrics=[Recall,NDCG]", "--modalities=[visual,textual]", "--wandb_project=a=b"]
    monkeypatch.setattr(sys, "argv", ["main", *arguments])
    config = Config("FREEDOM", "toy", config_dict={"embedding_size": 32.0, "topk": 20, "enable_amp": "yes"})
    assert (config["embedding_size"], config["topk"], config["enable_amp"]) == (32, [20], True)
    assert config["wandb_project"] == "a=b"
    assert config["metrics"] == ["Recall", "NDCG"] and config["modalities"] == ["visual", "textual"]


def test_a_key_that_only_its_owner_knows_passes_for_models_that_declare_none(caplog):
    with caplog.at_level(logging.WARNING):
        assert Config("BPR", "toy", config_dict={"zzz_of_a_project": 3})["zzz_of_a_project"] == 3
    assert "zzz_of_a_project" in caplog.text
    with pytest.raises(ValueError, match="unknown key 'zzz_of_a_project'"):
        checked_config("BPR", "toy", config_dict={"zzz_of_a_project": 3})


# ---------------------------------------------------------------- protocols


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "Pop", *SHIPPED, *variants()])
def test_all_models_of_a_command_stop_alike(model):
    config = checked_config(model, "toy")
    assert {key: config[key] for key in SHARED_PROTOCOL} == SHARED_PROTOCOL


def test_published_protocols_are_a_preset_and_recboles_models_keep_theirs_elsewhere():
    assert Config("POWERec", "toy", config_dict={"protocol": "published"})["valid_metric"] == "NDCG@20"
    lattice = Config("LATTICE", "toy", config_dict={"protocol": "published"})
    assert (lattice["eval_step"], lattice["stopping_step"]) == (5, 10)
    assert Config("POWERec", "toy", config_dict={"protocol": "recbole"})["valid_metric"] == "MRR@10"
    assert Config("BPR", "toy")["valid_metric"] == "MRR@10"
    assert checked_config("BPR", "toy", config_dict={"valid_metric": "NDCG@10"})["valid_metric"] == "NDCG@10"
    assert checked_config("DeepFM", "toy")["valid_metric"] == "AUC"  # no ranking


def test_a_command_refuses_an_unknown_protocol(capsys):
    assert main(["--model=BPR", "--protocol=paper"]) == 2
    assert "protocol: 'paper' is not allowed for BPR; give one of shared, published, recbole" in capsys.readouterr().err


# ---------------------------------------------------------------- earlier names


def test_earlier_names_of_keys_are_taken_with_a_warning(caplog):
    setting_effects.warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        config = Config("LGMRec", "toy", config_dict={"cl_weight": 0.5, "n_ui_layers": 3})
    assert (config["contrast_weight"], config["n_layers"], config["cl_weight"]) == (0.5, 3, None)
    assert "cl_weight is called contrast_weight now" in caplog.text
    with pytest.raises(ValueError, match="contrast_weight: -1 is not allowed for SLMRec"):
        Config("SLMRec", "toy", config_dict={"ssl_weight": -1})
    with pytest.raises(ValueError, match="cl_weight is the earlier name of contrast_weight, and both are set"):
        Config("LGMRec", "toy", config_dict={"cl_weight": 0.5, "contrast_weight": 0.1})
    assert Config("MARGO", "toy", config_dict={"temperature": 2})["temperature"] == 2


def test_an_earlier_name_is_told_once_in_a_process(caplog):
    """A run makes several Configs of its settings."""
    setting_effects.warn_once.cache_clear()
    for _ in range(3):
        assert Config("LGMRec", "toy", config_dict={"cl_weight": 0.5})["contrast_weight"] == 0.5
    assert caplog.text.count("cl_weight is called contrast_weight now; change it where you set it") == 1


@pytest.mark.parametrize("model", ["SiBraR", "SiBraRTable"])
def test_the_temperature_of_the_contrast_has_the_name_that_others_give_it(model):
    assert Config(model, "toy", config_dict={"temperature": 0.3})["contrast_temperature"] == 0.3


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("BM3", {"adapter_rank": 4}, "adapter_rank is a key of feature_adapter: lora, and this run has "),
        ("BM3", {"adapter_rank": 5, "feature_adapter": "befa"}, "feature_adapter: befa; it changes nothing"),
        ("VBPR", {"peft_type": "IA3"}, "peft_type is a key of peft: peft, and this run has no peft; it "),
        ("BPR", {"lr_decay": {"factor": 0.9, "epochs": 5}}, "lr_decay is a key of our trainer, and BPR has "),
        ("BM3", {"lr_decay": {"factor": 0.9, "epochs": 5}}, ""),
        ("BM3", {"adapter_rank": 4, "feature_adapter": "lora"}, ""),
        ("BeFAHost", {"adapter_expansion": 2}, ""),
        ("BM3", StoredSettings({"adapter_rank": 4, "peft_type": "IA3", "data_path": "dataset"}), ""),
    ],
)
def test_a_key_of_a_part_that_the_run_has_not_is_told(model, settings, message, caplog):
    setting_effects.warn_once.cache_clear()
    Config(model, "toy", config_dict=settings)
    assert message in caplog.text and bool(message) == ("changes nothing" in caplog.text)
