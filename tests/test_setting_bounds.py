"""Numbers with which a command would go on without end, or exhaust the memory."""

from __future__ import annotations

import pytest

from recbole_mm.host.recbole_settings import RecBoleSettings
from recbole_mm.io.yaml_files import parse_yaml, read_settings_file
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.feature_adapter import BefaSettings
from recbole_mm.registry import MODELS
from recbole_mm.search_space import read_hyper_file
from recbole_mm.setting_rules import PATH_KEYS, common_settings, model_settings
from recbole_mm.settings import Settings, plain_value


@pytest.mark.parametrize(
    ("model", "key", "value", "allowed"),
    [
        ("DiffMM", "diffusion_steps", 10**8, "at least 1 and at most 10000;"),
        ("DiffMM", "diffusion_steps", 10**12, "at least 1 and at most 10000;"),
        ("DiffMM", "denoiser_width", 2**20, "at most 10000;"),
        ("DGMRec", "club_steps", 10**9, "at most 10000;"),
        ("DGMRec", "club_items", 10**12, "at least 1 and at most 2147483647;"),
        ("MMSSL", "n_heads", 10**9, "at most 10000;"),
        ("COHESION", "user_graph_width", 10**9, "at most 10000;"),
        ("DRAGON", "user_graph_width", 10**9, "at most 10000;"),
        ("DualGNN", "user_graph_width", 10**9, "at most 10000;"),
        ("LightGCNM", "n_layers", 10**12, "at most 100;"),
        ("POWERec", "prompt_num", 10**6, "at most 10000;"),
        ("LGMRec", "n_hyperedges", 10**9, "at most 10000;"),
        ("PGL", "svd_rank", 10**9, "at most 1048576;"),
        ("PTMRec", "lora_rank", 10**9, "at most 1048576;"),
        ("PTMRec", "prompt_length", 10**9, "at most 10000;"),
        ("PTMRec", "picture_workers", 10**6, "at most 256 or nothing"),
        ("SMORE", "knn_k", 10**12, "at least 1 and at most 2147483647 or a list, each .* at most 2147483647;"),
    ],
)
def test_a_number_that_is_too_large(model, key, value, allowed):
    """The line says what is too large; it said no more than the least where a bound stood for none."""
    own = next(kind for kind in model_settings(model) if key in kind.model_fields)
    message = f"{key}: {value} is not allowed for {model}; give a whole number of .*{allowed}"
    with pytest.raises(ValueError, match=message):
        own.read({key: value}, model)


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [("SiBraR", "eval_modalities", ["a", "b", "a"]), ("PTMRec", "text_fields", ["title", "title"])],
)
def test_a_name_that_stands_there_twice(model, key, value):
    own = next(kind for kind in model_settings(model) if key in kind.model_fields)
    with pytest.raises(ValueError, match=f"{key}: .* is not allowed for {model} \\({value[-1]} stands there twice\\)"):
        own.read({key: value}, model)


@pytest.mark.parametrize("text", ["~", "None"])
def test_nothing_on_a_command_line(text):
    """As messages call it; it was a text, and a modality of this name."""
    assert plain_value(text, "x") is None
    (settings,) = [kind for kind in common_settings() if "modalities" in kind.model_fields]
    assert settings.read({"modalities": plain_value(text, "x")}).modalities is None


NO_PATHS = [-0.5, 1.5, -3, True, float("inf"), float("nan"), "-0.5", "inf", "nan", "1e5", "-3", "a\0b", ""]


def declaring() -> set[type[Settings]]:
    own = {kind for name in MODELS for kind in model_settings(name)}
    return {RecBoleSettings, ModelSettings, *common_settings(), *own}


def paths() -> list[tuple[type[Settings], str]]:
    """Every declared key of a file or folder."""
    return [(kind, key) for kind in declaring() for key in PATH_KEYS if key in kind.__annotations__]


@pytest.mark.parametrize("value", NO_PATHS)
def test_a_number_is_no_folder(value):
    for kind, key in paths():
        with pytest.raises(ValueError, match=f"^{key}: .* is not allowed"):
            kind.read({key: value})


@pytest.mark.parametrize("value", [2024, "2024", "./-0.5", "./inf", "info", "a b", "/", "~"])
def test_a_folder_may_have_any_other_name(value):
    for kind, key in paths():
        assert getattr(kind.read({key: value}), key) == str(value)


def test_all_keys_of_paths_are_declared_alike():
    """One that is missing among them is neither expanded from ~, nor holds in a Ray worker's own folder."""
    assert {key for _, key in paths()} == set(PATH_KEYS)
    named = {
        key for kind in declaring() for key in kind.model_fields
        if key.endswith(("_dir", "_path", "_cache", "_folder", "_file", "_checkpoint"))
    }  # fmt: skip
    assert named <= set(PATH_KEYS)


NOT_HELD = [("1e-400", "0"), ("[0.1, -1e-400]", "-?0"), ("{a: 0.00001e-330}", "0"), ("1e400", "inf")]


@pytest.mark.parametrize(("text", "read_as"), NOT_HELD)
def test_a_number_that_no_computer_holds(tmp_path, text, read_as):
    """It was 0, or infinity, without a word."""
    message = f"e-?[0-9]+ is read as {read_as}, as numbers end at 1e-308 and 1e308; write one of these"
    with pytest.raises(ValueError, match=f"^weight_decay: [-.0-9]+{message}$"):
        plain_value(text, "weight_decay")
    (tmp_path / "own.yaml").write_text(f"epochs: 3\nweight_decay: {text}\n")
    with pytest.raises(ValueError, match=f"own.yaml is no yaml: line 2, column [0-9]+: .*{message}$"):
        read_settings_file(tmp_path / "own.yaml")
    if "{" not in text:
        (tmp_path / "own.hyper").write_text(f"epochs choice [3]\nweight_decay choice [{text}]\n")
        with pytest.raises(ValueError, match=f"own.hyper, line 2: .*{message}$"):
            read_hyper_file(tmp_path / "own.hyper")


@pytest.mark.parametrize("text", ["0", "0.0", "-0.0", "0e5", "0e-400", "1e-300", "1e308"])
def test_numbers_that_are_what_they_say(text):
    assert plain_value(text, "x") == float(text) == parse_yaml(text)


def test_texts_that_look_like_such_numbers():
    assert plain_value("['1e-400']", "x") == ["1e-400"] == parse_yaml("['1e-400']")
    assert plain_value("runs/1e-400", "x") == "runs/1e-400"


@pytest.mark.parametrize("value", [10**21, [10**21], [5, 10**400], "9" * 5000])
def test_a_length_that_is_too_large(value):
    with pytest.raises(ValueError, match="topk: .* is not allowed; give a list, each .* at most 2147483647; Lengths"):
        RecBoleSettings.read({"topk": value})


@pytest.mark.parametrize(
    "value, shown",
    [(10**400, "1000"), (-(10**400), "-1000"), ("9" * 5000, "'9999"), (10**5000, "a number of more than 4300 digits")],
    ids=["large", "negative", "text", "no text"],
)
def test_a_number_beyond_floats(value, shown):
    allowed = r"give a number of at least 0 and at most 1\.79769e\+308; Learning rate\."
    with pytest.raises(ValueError, match=f"^learning_rate: {shown}.* is not allowed; {allowed}$"):
        RecBoleSettings.read({"learning_rate": value})


def test_numbers_beyond_floats_in_recboles_own_forms():
    for key, value in (
        ("eval_args", {"split": {"RS": [10**400, 1, 1]}}),
        ("user_inter_num_interval", f"[0,{'9' * 5000}]"),
    ):
        with pytest.raises(ValueError, match=f"^{key}.* is not allowed \\(write .*\\); give [^\n]*$"):
            RecBoleSettings.read({key: value})


def test_an_adapter_that_is_too_wide():
    with pytest.raises(ValueError, match="adapter_expansion: .* give a number above 0 and at most 1000;"):
        BefaSettings.read({"adapter_expansion": 1e12})
