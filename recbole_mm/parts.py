"""Registries: named parts of one kind, and what each kind demands of its parts.

The ground floor of the package: it imports nothing heavy, and of ours only what stands on the ground too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from recbole_mm.io.names import closest

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class RegistryError(ValueError):
    """What is to be registered is none of its kind, or its name cannot be."""


@dataclass(frozen=True)
class Entry:
    """One registered part with the facts that commands read about it."""

    name: str
    target: Any
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Its own, and those of its variants."""
        return (self.name, *self.facts.get("variants", ()))


@dataclass(frozen=True)
class Derived:
    """The demand on a class to derive from `base`, ``module:Class``, which is imported when first asked for.

    Attributes:
        usual: a class to derive from, ``module:Class``, where that is not `base` itself.
        others: further classes, ``module:Class``, that are there to be derived from.
        made_of: what the class is called with, by position; None where that differs.
    """

    base: str
    usual: str | None = None
    others: tuple[str, ...] = ()
    made_of: tuple[str, ...] | None = None

    def fault(self, target: Any) -> str | None:
        """What is wrong with `target`, and what to do; None of one that meets the demand."""
        module, _, name = self.base.partition(":")
        if isinstance(target, type) and f"{target.__module__}:{target.__qualname__}" in (
            *(self.base, self.usual), *self.others
        ):
            return "it is there to be derived from; derive a class of your own from it"
        if isinstance(target, type) and issubclass(target, getattr(import_module(module), name)):
            return None
        home, _, usual = (self.usual or self.base).partition(":")
        return f"it does not derive from {name} of {module}; derive a class from {usual} of {home}"

    def lack(self, target: type) -> str | None:
        """What a class of the kind does not define, or cannot be made of, and what to do; None of a whole one."""
        for name in dir(target):
            if getattr(getattr(target, name, None), "__isabstractmethod__", False):
                return f"has no {name} of its own; define {name} in it"
        try:
            if self.made_of is not None and not getattr(target, "has_files", False):  # whose load makes it
                inspect.signature(target).bind(*self.made_of)
        except TypeError as error:
            wanted = ", ".join(("self", *(self.made_of or ())))
            return f"cannot be made as it will be ({error}); write def __init__({wanted})"
        return None


@dataclass(frozen=True)
class Taking:
    """The demand on a function to take these arguments, by position."""

    arguments: tuple[str, ...]

    def fault(self, target: Any) -> str | None:
        """As :meth:`Derived.fault`."""
        wanted = f"write a function of ({', '.join(self.arguments)})"
        if not callable(target) or isinstance(target, type):
            return f"it is no function; {wanted}"
        try:
            inspect.signature(target).bind(*self.arguments)
        except TypeError as error:
            return f"it cannot be called as it will be ({error}); {wanted}"
        return None


class Registry:
    """Named parts of one kind. A name is given once; an unknown name is an error that lists the known ones.

    Args:
        kind: in words, for messages.
        demand: on what is registered.
        reserved: names that stand for something else where a part is named.
        home: package of those that we ship, where they are imported only when asked for: it is imported before the
            first part of somebody else's is entered, so that the names of ours are taken whoever comes first.
    """

    def __init__(
        self,
        kind: str,
        demand: Derived | Taking | None = None,
        reserved: tuple[str, ...] = ("none",),
        home: str | None = None,
    ):
        self.kind = kind
        self._home = home
        self._reserved = reserved
        self._demand = demand
        self._entries: dict[str, Entry] = {}
        self._listeners: list[Callable[[Entry], None]] = []

    def add(self, name: str, target: Any, **facts: Any) -> None:
        """Enter `target` under `name`; the same definition, run again, takes the place of its former self.

        Raises RegistryError where it is none of the kind, the name cannot be or is taken, or a listener refuses it;
        nothing is entered then.
        """
        if self._home is not None and not is_ours(target):
            discover(import_module(self._home))
            self._home = None
        entry = Entry(name, target, facts)
        fault = self._demand.fault(target) if self._demand else None
        if fault:
            raise RegistryError(f"{self.kind} '{name}' is {place_of(target)}, and {fault}")
        for alias in entry.names:
            self._check_name(alias, target)
        self._check_free(entry)
        lack = self._demand.lack(target) if isinstance(self._demand, Derived) else None
        if lack:
            raise RegistryError(f"{self.kind} '{name}', {place_of(target)}, {lack}")
        for listener in self._listeners:
            listener(entry)
        self._entries[name] = entry

    def _check_name(self, name: Any, target: Any) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in self._reserved:
            raise RegistryError(
                f"{self.kind} {place_of(target)} cannot be called {name!r}; a name is a letter and then letters, "
                f"digits, - and _, and not {' or '.join(self._reserved)}"
            )

    def _check_free(self, entry: Entry) -> None:
        known = self._entries.get(entry.name)
        if known is not None and not _same_definition(known.target, entry.target):
            raise RegistryError(
                f"{self.kind} '{entry.name}' is already registered by {known.target.__module__}; choose another name "
                f"for that of {entry.target.__module__}"
            )
        taken = {name.lower(): name for other in self._entries.values() if other is not known for name in other.names}
        for name in entry.names:
            if name.lower() in taken:
                raise RegistryError(
                    f"{self.kind} '{name}' of {entry.target.__module__}: the {self.kind} '{taken[name.lower()]}' is "
                    f"there already, and upper and lower case make no difference; rename yours"
                )

    def subscribe(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` for every entry there is and for every later one."""
        self._listeners.append(listener)
        for entry in list(self._entries.values()):
            listener(entry)

    def get(self, name: str) -> Any:
        """What is registered as `name`; raises ValueError listing the known names."""
        return self.entry(name).target

    def entry(self, name: str) -> Entry:
        """The entry of `name`, facts included; raises as :meth:`get`."""
        if name not in self._entries:
            raise ValueError(
                f"unknown {self.kind} '{name}'{closest(str(name), self)}; registered: {', '.join(self) or 'none'} (the "
                f"key plugins imports modules that register more)"
            )
        return self._entries[name]

    def entries(self) -> list[Entry]:
        """All, in the order they were registered in."""
        return list(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))


@dataclass(frozen=True)
class NameIn:
    """A setting's demand to name a part: ``peft: Annotated[str, NameIn(TUNINGS)]``.

    Attributes:
        registry: of the parts.
        others: names that may be given besides.
    """

    registry: Registry
    others: tuple[str, ...] = ("none",)

    def names(self) -> list[str]:
        """All that may be given."""
        return [*self.registry, *self.others]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic checks a field."""
        return no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in self.names():
            hint = closest(name, self.names())
            raise PydanticCustomError("unknown_name", "{hint}, or one that the key plugins imports", {"hint": hint})
        return name


def place_of(target: Any) -> str:
    """Module and name of a class or function, for messages."""
    return f"{getattr(target, '__module__', type(target).__module__)}.{getattr(target, '__qualname__', repr(target))}"


def is_ours(target: Any) -> bool:
    """Whether a part is one that recbole_mm ships."""
    return str(getattr(target, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


def _same_definition(first: Any, second: Any) -> bool:
    """Whether both are the same class or function statement, run twice (a notebook cell, ``importlib.reload``)."""
    return place_of(first) == place_of(second)


def discover(package: ModuleType) -> None:
    """Import every module of a package, so that the parts in it register themselves."""
    for module in walk_packages(package.__path__, f"{package.__name__}."):
        import_module(module.name)
