"""The registries: a name is given once, what is of another kind is refused, listeners hear of everything."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pytest

import recbole_mm.analysis
from recbole_mm.data import converters
from recbole_mm.data.conversion.layout import Converter
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.model.backbone_model import BackboneModel, BackboneModelSettings
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.model.graphs import GraphRecommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.feature_adapter import AdapterSettings, FeatureAdapter
from recbole_mm.nn.propagation import layer_gcn
from recbole_mm.parts import discover
from recbole_mm.registry import (
    ADAPTERS,
    ANALYSES,
    CONVERTERS,
    ENCODERS,
    MODELS,
    PROPAGATIONS,
    TRAINERS,
    TUNINGS,
    Entry,
    Registry,
    RegistryError,
    register_adapter,
    register_analysis,
    register_converter,
    register_encoder,
    register_model,
    register_propagation,
    register_trainer,
    register_tuning,
)
from recbole_mm.setting_checks import check_keys_of_plugin
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Settings, Weight
from recbole_mm.trainer.trainer import MultimodalTrainer

REGISTRIES = (ADAPTERS, ANALYSES, CONVERTERS, ENCODERS, MODELS, PROPAGATIONS, TRAINERS, TUNINGS)


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


def whole(base: type, name: str = "Mine", lack: str | None = None, **members: object) -> type:
    """A class of its own with all that must be defined in it, but `lack`."""
    needed = {"calculate_loss", "forward", "recognise", "interactions", "solve"} - {lack}
    return type(name, (base,), {**dict.fromkeys(needed), **members, "__module__": __name__, "__qualname__": name})


def adapter(name: str = "Mine"):
    return whole(FeatureAdapter, name)


def model(name: str = "Mine", base: type = MultimodalRecommender):
    return whole(base, name)


def own_trainer():
    return type("Mine", (MultimodalTrainer,), {"__module__": __name__})


def own_encoder():
    return whole(ContentEncoder)


class Right(ModelSettings):
    scale: Weight = 1.0


class RightAround(BackboneModelSettings):
    pass


class Wrong(Settings):
    scale: Weight = -1


class Missing(Settings):
    scale: Weight


class Misspelt(ModelSettings):
    defaults: ClassVar = {"learning_rat": 0.01}


class NoDict(ModelSettings):
    defaults: ClassVar = ["learning_rate"]


class Idle(ModelSettings):
    scale: Annotated[Weight, acts_where("scalle")] = 1.0


def made_of_nothing(self):
    """No __init__ of a part."""


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
    "adapter-bare": (lambda: register_adapter, adapter(), r'brackets above .*Mine; write @register_adapter\("name"\)'),
    "adapter-class-with-settings": (
        lambda: register_adapter(adapter(), settings=Settings), adapter(), "Mine cannot be called <class .*Mine'>"
    ),
    "adapter-base": (lambda: register_adapter("x"), FeatureAdapter, "derived from; derive a class of your own"),
    "adapter-default": (lambda: register_adapter("x", settings=Wrong), adapter(), "default of .*Wrong: scale: -1 is"),
    "adapter-no-default": (lambda: register_adapter("x", settings=Missing), adapter(), "Missing.scale has no default"),
    "adapter-argument": (lambda: register_adapter("x", seting=3), adapter(), "unexpected keyword argument 'seting'"),
    "model-bare": (lambda: register_model, model(), r"write @register_model\(paper=..., year=...\)"),
    "model-base": (lambda: register_model(**PAPER), MultimodalRecommender, "derive a class of your own from it"),
    "model-graph-base": (lambda: register_model(**PAPER), GraphRecommender, "derive a class of your own from it"),
    "model-year": (lambda: register_model(paper="none", year="2026"), model(), "year='2026' is no whole number"),
    "model-paper": (lambda: register_model(paper=3, year=2026), model(), "paper=3 is no line of text"),
    "model-no-year": (lambda: register_model(paper="none"), model(), "missing a required argument: 'year'"),
    "model-variants": (lambda: register_model(**PAPER, variants=["A"]), model(), "is no dict of dicts; give {'Name'"),
    "model-variant-key": (
        lambda: register_model(**PAPER, settings=Right, variants={"A": {"scal": 2}}), model(),
        r"variant 'A' of Mine: unknown key 'scal' \(did you mean scale\?\)",
    ),
    "model-variant-value": (
        lambda: register_model(**PAPER, settings=Right, variants={"A": {"scale": -2}}), model(),
        "variant 'A' of Mine: scale: -2 is not allowed",
    ),
    "model-defaults-key": (
        lambda: register_model(**PAPER, settings=Misspelt), model(),
        r"defaults of .*Misspelt: unknown key 'learning_rat' \(did you mean learning_rate\?\)",
    ),
    "model-defaults": (lambda: register_model(**PAPER, settings=NoDict), model(), "NoDict is .*; give a dict of keys"),
    "model-acts-where": (
        lambda: register_model(**PAPER, settings=Idle), model(), "acts_where of .*Idle.scale: unknown key 'scalle'"
    ),
    "model-settings-of-adapter": (
        lambda: register_model(**PAPER, settings=AdapterSettings), model(),
        "'Mine' has settings .*AdapterSettings of another part; derive them from ModelSettings of recbole_mm",
    ),
    "model-lack": (
        lambda: register_model(**PAPER), whole(MultimodalRecommender, lack="calculate_loss"),
        "'Mine', .*Mine, has no calculate_loss of its own; define calculate_loss in it",
    ),
    "model-solved-lack": (
        lambda: register_model(**PAPER), whole(ClosedFormRecommender, lack="solve"), "has no solve of its own"
    ),
    "model-made-of": (
        lambda: register_model(**PAPER), whole(MultimodalRecommender, __init__=made_of_nothing),
        r"cannot be made as it will be \(too many .*\); write def __init__\(self, config, dataset\)",
    ),
    "adapter-lack": (
        lambda: register_adapter("x"), whole(FeatureAdapter, lack="forward"), "has no forward of its own"
    ),
    "adapter-made-of": (
        lambda: register_adapter("x"), whole(FeatureAdapter, __init__=made_of_nothing),
        r"write def __init__\(self, width, config\)",
    ),
    "encoder-lack": (
        lambda: register_encoder("x", reads="texts"), whole(ContentEncoder, lack="forward"), "has no forward of its own"
    ),
    "converter-lack": (
        lambda: register_converter("x", help="h"), whole(Converter, lack="recognise"), "has no recognise of its own"
    ),
    "trainer-bare": (lambda: register_trainer, own_trainer(), r'write @register_trainer\("model"\)'),
    "trainer-base": (lambda: register_trainer("FREEDOM"), MultimodalTrainer, "derive a class of your own from it"),
    "trainer-of-list": (lambda: register_trainer(["FREEDOM"]), own_trainer(), "no model .'FREEDOM'. of recbole_mm"),
    "analysis-bare": (lambda: register_analysis, analysis, r'write @register_analysis\("name", help=...\)'),
    "analysis-help": (lambda: register_analysis("x", help=3), analysis, "help=3 is no line of text"),
    "analysis-options": (lambda: register_analysis("x", help="h", options=3), analysis, "options=3: it is no function"),
    "encoder-bare": (lambda: register_encoder, ContentEncoder, r'write @register_encoder\("name", reads=...\)'),
    "encoder-base": (lambda: register_encoder("x", reads="texts"), ContentEncoder, "derive a class of your own"),
    "tuning-bare": (lambda: register_tuning, lambda encoder, settings: None, r'write @register_tuning\("name"\)'),
    "converter-bare": (lambda: register_converter, Converter, r'write @register_converter\("name", help=...\)'),
    "converter-base": (lambda: register_converter("x", help="h"), Converter, "derive a class of your own from it"),
    "converter-help": (lambda: register_converter("x", help=None), Converter, "help=None is no line of text"),
    "propagation-bare": (lambda: register_propagation, layer_gcn, r'write @register_propagation\("name"\)'),
    "model-type": (lambda: register_model(**PAPER), FeatureAdapter, "derive a class from MultimodalRecommender of"),
    "model-object": (lambda: register_model(**PAPER), 3, "derive a class from MultimodalRecommender"),
    "model-settings-of-backbone": (
        lambda: register_model(**PAPER, settings=Right), model("Around", BackboneModel),
        f"'Around' is around a backbone, and its settings {__name__}.Right have none; derive them from Backbone",
    ),
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
    "analysis-arguments": (lambda: register_analysis("x", help="h"), lambda x: x, "cannot be called as it will be"),
    "analysis-taken": (lambda: register_analysis("feature-drift", help="h"), analysis, "is already registered by"),
    "encoder-type": (lambda: register_encoder("x", reads="texts"), FeatureAdapter, "class from ContentEncoder"),
    "encoder-reads": (lambda: register_encoder("x", reads="smells"), analysis, "is not among 'pictures'"),
    "encoder-tfidf": (lambda: register_encoder("tfidf", reads="texts"), own_encoder(), "cannot be called 'tfidf'"),
    "tuning-arguments": (lambda: register_tuning("x"), lambda encoder: None, r"a function of \(encoder, settings\)"),
    "tuning-none": (lambda: register_tuning("none"), lambda encoder, settings: None, "cannot be called 'none'"),
    "propagation": (lambda: register_propagation("x"), lambda graph, nodes: nodes, "too many positional arguments"),
    "propagation-case": (lambda: register_propagation("lightgcn"), layer_gcn, "'LightGCN' is there already"),
}  # fmt: skip


def test_variants_may_set_what_any_run_reads():
    """RecBole's keys, a trainer's, an adapter's, and the model's own."""
    changed = {"learning_rate": 0.1, "epochs": 3, "adapter_rank": 4, "feature_adapter": "lora", "scale": 2.0}
    facts = {"settings": Right, "variants": {"A": changed}}
    check_keys_of_plugin(Entry("Mine", model(), facts))
    with pytest.raises(RegistryError, match="unknown key 'n_hyperedges'"):
        check_keys_of_plugin(Entry("Mine", model(), {**facts, "variants": {"A": {"n_hyperedges": 4}}}))
    around = whole(BackboneModel, "Around")  # its backbone may have any model's
    check_keys_of_plugin(Entry("Around", around, {"settings": RightAround, "variants": {"A": {"n_hyperedges": 4}}}))


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_part_is_refused_in_one_line(case):
    discover(recbole_mm.analysis)
    converters.load()
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
