"""What recbole_mm offers, each part entered by one decorator in its own file, a plugin's in the same way as ours.

The ground floor of the package: it imports nothing heavy, so that any file may register. What is refused, by type or
name, is a :class:`~recbole_mm.parts.RegistryError` of one line.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar

from recbole_mm.io.names import closest
from recbole_mm.part_checks import check_line, check_model_facts, check_options, check_settings, in_brackets
from recbole_mm.parts import Derived, Taking
from recbole_mm.parts import Entry as Entry
from recbole_mm.parts import NameIn as NameIn
from recbole_mm.parts import Registry as Registry
from recbole_mm.parts import RegistryError as RegistryError
from recbole_mm.settings import Settings

Part = TypeVar("Part", bound=Callable[..., Any])


class Decorator(Protocol):
    """Enters what it decorates, and gives it back."""

    def __call__(self, target: Part, /) -> Part: ...


MODELS = Registry(
    "model",
    Derived(
        "recbole_mm.model.recommender:Recommender",
        usual="recbole_mm.model.base:MultimodalRecommender",
        others=(
            "recbole_mm.model.graphs:GraphRecommender",
            "recbole_mm.model.late_fusion:LateFusionRecommender",
            "recbole_mm.model.backbone_model:BackboneModel",
            "recbole_mm.model.closed_form:ClosedFormRecommender",
        ),
        made_of=("config", "dataset"),
    ),
)
TRAINERS = Registry("trainer", Derived("recbole_mm.trainer.trainer:MultimodalTrainer", made_of=("config", "model")))
ADAPTERS = Registry(
    "feature adapter", Derived("recbole_mm.nn.feature_adapter:FeatureAdapter", made_of=("width", "config"))
)
ANALYSES = Registry("analysis", Taking(("checkpoints", "arguments")), home="recbole_mm.analysis")
ENCODERS = Registry(
    "encoder", Derived("recbole_mm.encoder.content_encoder:ContentEncoder", made_of=()), reserved=("none", "tfidf")
)
TUNINGS = Registry("tuning", Taking(("encoder", "settings")))
CONVERTERS = Registry(
    "converter",
    Derived("recbole_mm.data.conversion.layout:Converter", made_of=("source", "options")),
    reserved=("auto", "npy", "arrow"),
    home="recbole_mm.data.converters",
)
PROPAGATIONS = Registry(
    "propagation", Taking(("graph", "nodes", "n_layers", "n_modalities", "include_layer_0", "rows"))
)


@in_brackets
def register_model(
    *,
    paper: str,
    year: int,
    settings: type[Settings] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    modalities: str = "any",
    needs: str = "features",
    backbones: tuple[str, ...] = (),
    staged: bool = False,
) -> Decorator:
    """Class decorator: make a recommender known to RecBole under its class name.

    Args:
        paper: title or venue of the paper, for ``recbole-mm models``.
        year: year of the paper.
        settings: the model's keys, see :mod:`recbole_mm.settings`; those of the class it derives from if not given.
        variants: configurations with a name of their own, each with the defaults in which it differs.
        modalities: which modalities the model reads, in words.
        needs: what it reads and makes of it before and beside its steps, in words.
        backbones: values of the ``backbone`` key the model takes, if it has one.
        staged: train in the stages the model names, one after the other.
    """
    facts = {
        "paper": paper, "year": year, "settings": settings, "variants": {} if variants is None else variants,
        "modalities": modalities, "needs": needs, "backbones": backbones, "staged": staged,
    }  # fmt: skip

    def enter(target: Part) -> Part:
        name = getattr(target, "__name__", repr(target))
        check_model_facts(name, facts)
        MODELS.add(name, target, **facts)
        if settings is not None:
            target.settings_class = settings  # type: ignore[attr-defined]  # a Recommender, as was checked
        return target

    return enter


def variants() -> dict[str, str]:
    """Names under which a configuration of a model runs, each with the model's."""
    return {variant: name for name in MODELS for variant in MODELS.entry(name).facts.get("variants", ())}


@in_brackets
def register_trainer(model: str) -> Decorator:
    """Class decorator: train the model named `model`, which is registered, with this instead of MultimodalTrainer."""

    def enter(target: Part) -> Part:
        known = {*MODELS, *variants()}
        if not isinstance(model, str) or model not in known:
            raise RegistryError(
                f"trainer {target.__module__}.{target.__qualname__}: there is no model {model!r} of recbole_mm or a "
                f"plugin{closest(str(model), known)}; register the model first"
            )
        TRAINERS.add(model, target)
        return target

    return enter


@in_brackets
def register_adapter(name: str, settings: type[Settings] | None = None) -> Decorator:
    """Class decorator: make a feature adapter available as ``feature_adapter: name``.

    Args:
        name: of the adapter.
        settings: its keys, see :mod:`recbole_mm.settings`.
    """
    return _entering(ADAPTERS, name, settings=settings)


@in_brackets
def register_analysis(name: str, *, help: str, options: Callable[[ArgumentParser], None] | None = None) -> Decorator:
    """Function decorator: make an analysis available as ``recbole-mm analyse name CHECKPOINT ... --out FOLDER``.

    The function gets the opened checkpoints (:class:`~recbole_mm.load.OpenedCheckpoint`) and the parsed options, of
    which ``out`` is the folder to write into; it writes files and gives their paths.

    Args:
        name: of the analysis.
        help: one line.
        options: adds the analysis' own options to its parser.
    """
    check_line("analysis", name, "help", help)
    check_options("analysis", name, options)
    return _entering(ANALYSES, name, help=help, options=options)


@in_brackets
def register_converter(name: str, *, help: str) -> Decorator:
    """Class decorator: make a layout known to ``recbole-mm convert``, its recognition included.

    Args:
        name: of the layout, such as ``mmrec``.
        help: what the layout looks like, in one line, for ``convert --help``.
    """
    check_line("converter", name, "help", help)
    return _entering(CONVERTERS, name, help=help)


@in_brackets
def register_encoder(name: str, *, reads: Literal["pictures", "texts", "sounds"]) -> Decorator:
    """Class decorator: make an encoder of pictures, texts or sounds available to ``recbole-mm extract``.

    ``--encoder name`` makes one without files; a folder or hub name is loaded by the encoder that recognises it
    (:class:`~recbole_mm.encoder.content_encoder.ContentEncoder`).

    Args:
        name: of the encoder.
        reads: what its contents are, ``pictures``, ``texts`` or ``sounds``. One of sounds has the attributes `rate`, in
            Hz, and `seconds`, which it hears at once.
    """
    if reads not in ("pictures", "texts", "sounds"):
        raise RegistryError(
            f"encoder '{name}': reads={reads!r} is not among 'pictures', 'texts' and 'sounds'; give one of them"
        )
    return _entering(ENCODERS, name, reads=reads)


@in_brackets
def register_tuning(name: str, settings: type[Settings] | None = None) -> Decorator:
    """Function decorator: make a way of tuning a dual encoder available as PTMRec's ``peft: name``.

    The function gets the :class:`~recbole_mm.encoder.dual_encoder.DualEncoder`, all of whose parameters are frozen, and
    the settings, and makes new parameters in it, which are all that trains.

    Args:
        name: of the method.
        settings: its keys, see :mod:`recbole_mm.settings`; TuningSettings of :mod:`recbole_mm.encoder.tuning` if not
            given.
    """
    return _entering(TUNINGS, name, settings=settings)


@in_brackets
def register_propagation(name: str, *, uses_graph: bool = True) -> Decorator:
    """Function decorator: make a propagation over the user-item graph available to the models that offer a choice.

    The function gets the normalised graph ``[n_nodes, n_nodes]`` (None with ``uses_graph=False``), the nodes
    ``[n_nodes, n_modalities * d]``, the number of layers, n_modalities, whether layer 0 is part of the readout, and the
    ``[n]`` rows that are wanted or None for all; it gives the nodes after propagation, of those rows.

    Args:
        name: of the propagation.
        uses_graph: whether it reads the graph and has layers.
    """
    return _entering(PROPAGATIONS, name, uses_graph=uses_graph)


def _entering(registry: Registry, name: str, **facts: Any) -> Decorator:
    """The decorator that enters its target into `registry`."""
    check_settings(registry.kind, name, facts.get("settings"))

    def enter(target: Part) -> Part:
        registry.add(name, target, **facts)
        return target

    return enter
