"""What recbole_mm offers: models, trainers and feature adapters, each entered by one call in its own file.

The ground floor of the package: it imports nothing heavy, and of ours only the settings, so that any file may register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from recbole_mm.io.names import closest
from recbole_mm.settings import Settings


@dataclass(frozen=True)
class Entry:
    """One registered class with the facts that ``python -m recbole_mm models`` prints about it."""

    name: str
    target: type
    facts: dict[str, Any] = field(default_factory=dict)


class Registry:
    """Named classes of one kind. A name is given once; an unknown name is an error that lists the known ones."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        self._listeners: list[Callable[[Entry], None]] = []

    def add(self, name: str, target: type, **facts: Any) -> None:
        """Enter `target` under `name`; the same definition, run again, takes the place of its former self.

        Raises ValueError where another class has the name, or a listener refuses the entry; nothing is entered then.
        """
        known = self._entries.get(name)
        if known is not None and not _same_definition(known.target, target):
            raise ValueError(
                f"{self.kind} '{name}' is already registered by {known.target.__module__}; choose another name"
            )
        entry = Entry(name, target, facts)
        for listener in self._listeners:
            listener(entry)
        self._entries[name] = entry

    def subscribe(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` for every entry there is and for every later one."""
        self._listeners.append(listener)
        for entry in list(self._entries.values()):
            listener(entry)

    def get(self, name: str) -> type:
        """The class registered as `name`; raises ValueError listing the known names."""
        if name not in self._entries:
            raise ValueError(
                f"unknown {self.kind} '{name}'{closest(str(name), self)}; registered: {', '.join(self) or 'none'} (the "
                f"key plugins imports modules that register more)"
            )
        return self._entries[name].target

    def entry(self, name: str) -> Entry:
        """The entry of `name`, facts included."""
        self.get(name)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))


def _same_definition(first: type, second: type) -> bool:
    """Whether both are the same class statement, run twice (a notebook cell, ``importlib.reload``)."""
    return (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)


MODELS = Registry("model")
TRAINERS = Registry("trainer")
ADAPTERS = Registry("feature adapter")


def register_model(
    *,
    paper: str,
    year: int,
    settings: type[Settings] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    modalities: str = "any",
    backbones: tuple[str, ...] = (),
    staged: bool = False,
):
    """Class decorator: make a recommender known to RecBole under its class name.

    Args:
        paper: title or venue of the paper, for ``python -m recbole_mm models``.
        year: year of the paper.
        settings: the model's keys, see :mod:`recbole_mm.settings`; those of the class it derives from if not given.
        variants: configurations with a name of their own, each with the defaults in which it differs.
        modalities: which modalities the model reads, in words.
        backbones: values of the ``backbone`` key the model takes, if it has one.
        staged: train in the stages the model names, one after the other.
    """
    facts = {
        "paper": paper,
        "year": year,
        "declares_settings": settings is not None,
        "variants": dict(variants or {}),
        "modalities": modalities,
        "backbones": backbones,
        "staged": staged,
    }

    def enter(target: type) -> type:
        if settings is not None:
            target.settings_class = settings
        MODELS.add(target.__name__, target, **facts)
        return target

    return enter


def variants() -> dict[str, str]:
    """Names under which a configuration of a model runs, each with the model's."""
    return {variant: name for name in MODELS for variant in MODELS.entry(name).facts.get("variants", ())}


def register_trainer(model: str):
    """Class decorator: train the model named `model` with this trainer instead of MultimodalTrainer."""

    def enter(target: type) -> type:
        TRAINERS.add(model, target)
        return target

    return enter


def register_adapter(name: str, settings: type[Settings] | None = None):
    """Class decorator: make a feature adapter available as ``feature_adapter: name``.

    Args:
        name: of the adapter.
        settings: its keys, see :mod:`recbole_mm.settings`.
    """

    def enter(target: type) -> type:
        ADAPTERS.add(name, target, settings=settings)
        return target

    return enter
