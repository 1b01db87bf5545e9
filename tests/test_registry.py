"""The registries: a name is given once, what is of another kind is refused, listeners hear of everything."""

from __future__ import annotations

import pytest

import recbole_mm.analysis
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.nn.feature_adapter import FeatureAdapter
from recbole_mm.nn.propagation import layer_gcn
from recbole_mm.parts import discover
from recbole_mm.registry import (
    ADAPTERS,
    ANALYSES,
    ENCODERS,
    MODELS,
    PROPAGATIONS,
    TRAINERS,
    TUNINGS,
    Registry,
    RegistryError,
    register_adapter,
    register_analysis,
    register_encoder,
    register_model,
    register_propagation,
    register_trainer,
    register_tuning,
)
from recbole_mm.trainer.trainer import MultimodalTrainer

REGISTRIES = (ADAPTERS, ANALYSES, ENCODERS, MODELS, PROPAGATIONS, TRAINERS, TUNINGS)


class First:
    pass


class Second:
    pass


def test_entries_are_found_by_name_with_their_facts():
    registry = Registry("model")
    registry.add("Zeta", First, year=2024)
    registry.add("Alpha", Second)
    assert registry.get("Zeta") is First
    assert registry.entry("Zeta").facts == {"year": 2024}
    assert list(registry) == ["Alpha", "Zeta"]
    assert "Alpha" in registry
    assert "Beta" not in registry


def test_duplicate_name_is_refused():
    registry = Registry("model")
    registry.add("Alpha", First)
    with pytest.raises(
        ValueError, match=f"model 'Alpha' is already registered by {__name__}; choose another name"
    ):
        registry.add("Alpha", Second)
    assert registry.get("Alpha") is First


@pytest.mark.parametrize("ask", [Registry.get, Registry.entry])
def test_unknown_name_lists_the_known_ones(ask):
    registry = Registry("feature adapter")
    with pytest.raises(ValueError, match="unknown feature adapter 'Gamma'; registered: none"):
        ask(registry, "Gamma")
    registry.add("Zeta", First)
    registry.add("Alpha", Second)
    with pytest.raises(ValueError, match="unknown feature adapter 'Gamma'; registered: Alpha, Zeta"):
        ask(registry, "Gamma")
    with pytest.raises(ValueError, match=r"unknown feature adapter 'alfa' \(did you mean Alpha\?\)"):
        ask(registry, "alfa")


def define(answer: int) -> type:
    """The same class statement with another body, as a notebook cell that was edited and run again."""

    class Mine:
        value = answer

    return Mine


def test_the_same_definition_run_again_replaces_itself():
    registry = Registry("model")
    heard = []
    registry.subscribe(lambda entry: heard.append(entry.target.value))
    registry.add("Mine", define(1))
    registry.add("Mine", define(2))
    assert registry.get("Mine").value == 2
    assert heard == [1, 2]


def test_listeners_hear_of_earlier_and_later_entries():
    registry = Registry("model")
    registry.add("Alpha", First)
    heard = []
    registry.subscribe(lambda entry: heard.append(entry.name))
    registry.add("Beta", Second)
    assert heard == ["Alpha", "Beta"]


def test_what_a_listener_refuses_is_not_entered():
    def refuse(entry):
        raise ValueError(f"no {entry.name}")

    registry = Registry("model")
    registry.subscribe(refuse)
    with pytest.raises(ValueError, match="no Alpha"):
        registry.add("Alpha", First)
    assert "Alpha" not in registry


# ---------------------------------------------------------------- what each decorator refuses


def analysis(checkpoints, arguments):
    """Of the right form."""


def adapter(name: str = "Mine"):
    return type(name, (FeatureAdapter,), {"__module__": __name__, "__qualname__": name})


def model(name: str = "Mine"):
    return type(name, (MultimodalRecommender,), {"__module__": __name__, "__qualname__": name})


PAPER = {"paper": "none", "year": 2026}
REFUSED = {
    "adapter-type": (lambda: register_adapter("x"), int, "'x' is builtins.int.*derive a class from FeatureAdapter"),
    "adapter-function": (lambda: register_adapter("x"), analysis, f"'x' is {__name__}.analysis.*FeatureAdapter of"),
    "adapter-none": (lambda: register_adapter("none"), adapter(), f"{__name__}.Mine cannot be called 'none'"),
    "adapter-blank": (lambda: register_adapter("my own"), adapter(), "cannot be called 'my own'; a name is a letter"),
    "adapter-empty": (lambda: register_adapter(""), adapter(), "cannot be called ''"),
    "adapter-taken": (lambda: register_adapter("befa"), adapter(), "'befa' is already registered by recbole_mm.nn"),
    "adapter-case": (lambda: register_adapter("BeFA"), adapter(), f"'BeFA' of {__name__}: the .* 'befa' is there"),
    "adapter-settings": (lambda: register_adapter("x", settings=dict), adapter(), "settings .*dict.* derive one from"),
    "adapter-bare": (lambda: register_adapter, adapter(), "is no name; register it as"),
    "model-type": (lambda: register_model(**PAPER), FeatureAdapter, "derive a class from MultimodalRecommender of"),
    "model-object": (lambda: register_model(**PAPER), 3, "derive a class from MultimodalRecommender"),
    "model-settings": (lambda: register_model(**PAPER, settings={}), model(), "derive one from Settings"),
    "model-variant": (lambda: register_model(**PAPER), model("PODualGNN"), "the model 'PODualGNN' is there already"),
    "model-variant-case": (lambda: register_model(**PAPER), model("PoDualGnn"), "the model 'PODualGNN' is there"),
    "model-own-variant": (
        lambda: register_model(**PAPER, variants={"FREEDOM": {}}), model("Mine"), "the model 'FREEDOM' is there already"
    ),
    "model-variant-blank": (lambda: register_model(**PAPER, variants={"A b": {}}), model(), "cannot be called 'A b'"),
    "trainer-of-none": (lambda: register_trainer("FREEDON"), MultimodalTrainer, r"no model 'FREEDON'.*mean FREEDOM\?"),
    "trainer-type": (lambda: register_trainer("FREEDOM"), FeatureAdapter, "derive a class from MultimodalTrainer of"),
    "analysis-type": (lambda: register_analysis("x", help="h"), int, r"write a function of \(checkpoints, arguments\)"),
    "analysis-arguments": (lambda: register_analysis("x", help="h"), lambda one: one, "cannot be called as it will be"),
    "analysis-taken": (lambda: register_analysis("feature-drift", help="h"), analysis, "is already registered by"),
    "encoder-type": (lambda: register_encoder("x", reads="texts"), FeatureAdapter, "class from ContentEncoder"),
    "encoder-reads": (lambda: register_encoder("x", reads="smells"), analysis, "is not among 'pictures'"),
    "encoder-tfidf": (lambda: register_encoder("tfidf", reads="texts"), ContentEncoder, "cannot be called 'tfidf'"),
    "tuning-arguments": (lambda: register_tuning("x"), lambda encoder: None, r"a function of \(encoder, settings\)"),
    "tuning-none": (lambda: register_tuning("none"), lambda encoder, settings: None, "cannot be called 'none'"),
    "propagation": (lambda: register_propagation("x"), lambda graph, nodes: nodes, "too many positional arguments"),
    "propagation-case": (lambda: register_propagation("lightgcn"), layer_gcn, "'LightGCN' is there already"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_part_is_refused_in_one_line(case):
    discover(recbole_mm.analysis)
    decorator, target, message = REFUSED[case]
    before = [registry.entries() for registry in REGISTRIES]
    with pytest.raises(RegistryError, match=message) as refused:
        decorator()(target)
    assert "\n" not in str(refused.value)
    assert [registry.entries() for registry in REGISTRIES] == before


def test_the_shipped_parts_register_themselves():
    discover(recbole_mm.analysis)
    assert {"attribution", "embedding-map", "feature-drift", "modality-weights", "weak-modality"} <= set(ANALYSES)
    assert {"auto-images", "clip-images", "auto-texts", "sentence-texts"} <= set(ENCODERS)
    assert {"adapter", "lora", "prompt"} <= set(TUNINGS)
    assert {"BPR", "LayerGCN", "LightGCN"} <= set(PROPAGATIONS)
