"""What the registering decorators demand of their own arguments, whatever they stand above; each fault is one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from recbole_mm.parts import RegistryError, Taking, is_ours, place_of
from recbole_mm.settings import Settings

Given = ParamSpec("Given")
Result = TypeVar("Result")


def in_brackets(register: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorator of a registering decorator: one line where it lacks its brackets, or an argument within these."""

    @wraps(register)
    def checked(*arguments: Given.args, **named: Given.kwargs) -> Result:
        fault = _fault(register, arguments, named)
        if fault:
            raise RegistryError(f"@{register.__name__} {fault}; write {_form(register)} above the part")
        return register(*arguments, **named)

    return checked


def _fault(register: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any]) -> str | None:
    if len(arguments) == 1 and not named and callable(arguments[0]):
        return f"stands without its brackets above {place_of(arguments[0])}"
    try:
        inspect.signature(register).bind(*arguments, **named)
    except TypeError as error:
        return f"cannot be used so ({error})"
    return None


def _form(register: Callable[..., Any]) -> str:
    """How a decorator is written with what it cannot do without."""
    needed = [
        parameter
        for parameter in inspect.signature(register).parameters.values()
        if parameter.default is parameter.empty
    ]
    shown = [
        f"{parameter.name}=..." if parameter.kind is parameter.KEYWORD_ONLY else f'"{parameter.name}"'
        for parameter in needed
    ]
    return f"@{register.__name__}({', '.join(shown)})"


def check_settings(kind: str, name: str, settings: Any) -> None:
    """Raise RegistryError where they are no class of keys, or a default is missing or none that the key may have."""
    if settings is None:
        return
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise RegistryError(
            f"{kind} '{name}': its settings {settings!r} are no class of keys; derive one from Settings of "
            "recbole_mm.settings"
        )
    if is_ours(settings):  # our tests look at these; to build them all would be much of a start
        return
    without = [key for key, field in settings.model_fields.items() if field.is_required()]
    if without:
        raise RegistryError(f"{kind} '{name}': {place_of(settings)}.{without[0]} has no default; give it one")
    if not isinstance(settings.defaults, Mapping):
        raise RegistryError(
            f"{kind} '{name}': defaults of {place_of(settings)} is {settings.defaults!r}; give a dict of keys"
        )
    try:
        settings.read(settings.default_values())
    except ValueError as error:
        raise RegistryError(f"{kind} '{name}': a default of {place_of(settings)}: {error}") from error


def check_line(kind: str, name: str, argument: str, value: Any) -> None:
    """Raise RegistryError where an argument, such as ``help``, is no line of text."""
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise RegistryError(f"{kind} '{name}': {argument}={value!r} is no line of text; give one")


def check_options(kind: str, name: str, options: Any) -> None:
    """Raise RegistryError where what adds options to a parser is no function of it."""
    fault = None if options is None else Taking(("parser",)).fault(options)
    if fault:
        raise RegistryError(f"{kind} '{name}': options={options!r}: {fault}")


def check_model_facts(name: str, facts: Mapping[str, Any]) -> None:
    """Raise RegistryError where what is said of a model is of another type than :func:`register_model` takes."""
    check_settings("model", name, facts["settings"])
    for fact in ("paper", "modalities", "needs"):
        check_line("model", name, fact, facts[fact])
    year, variants = facts["year"], facts["variants"]
    if not isinstance(year, int) or isinstance(year, bool):
        raise RegistryError(f"model '{name}': year={year!r} is no whole number; give the paper's, such as 2024")
    if not isinstance(variants, Mapping) or not all(isinstance(variant, Mapping) for variant in variants.values()):
        raise RegistryError(
            f"model '{name}': variants={variants!r} is no dict of dicts; give {{'Name': {{'key': value}}}}"
        )
