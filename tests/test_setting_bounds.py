"""Numbers with which a command would go on without end, or exhaust the memory."""

from __future__ import annotations

import pytest

from recbole_mm.host.recbole_settings import RecBoleSettings
from recbole_mm.model.settings import ModelSettings
from recbole_mm.registry import MODELS
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
    assert plain_value(text) is None
    (settings,) = [kind for kind in common_settings() if "modalities" in kind.model_fields]
    assert settings.read({"modalities": plain_value(text)}).modalities is None


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
