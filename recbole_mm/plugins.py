"""Modules of users' own, which register models, adapters and other parts: the key ``plugins``, and entry points."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec

from recbole_mm.parts import RegistryError

ENTRY_POINTS = "recbole_mm.plugins"


class PluginError(ValueError):
    """The key ``plugins`` is no list of names, or names a module that cannot be imported, or must not be unasked."""


def import_plugins(names: list[str] | str | None, trusted: bool = True, where: str = "a file") -> None:
    """Import modules of the working folder, of PYTHONPATH or installed ones, such as ``["my_adapters"]``.

    Args:
        names: of the modules.
        trusted: whether the user named them. Importing runs their code, so that of names that a file gives only those
            are taken that are imported already, or that an installed package declares as its entry point.
        where: the names come from, for the message.

    Raises:
        PluginError: `names` is no list of names, there is no such module, or it is not to be trusted.
    """
    names = [names] if isinstance(names, str) else names or []
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        raise PluginError(f"plugins: {names} must be a list of module names, such as ['my_adapters']")
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise PluginError(f"plugins: {name!r} is no name of a module; write it as behind `import`")
    new = [name for name in names if name not in sys.modules]
    if not trusted:
        unknown = sorted(set(new) - {point.module for point in entry_points(group=ENTRY_POINTS)})
        if unknown:
            raise PluginError(
                f"plugins: {where} asks for the modules {', '.join(unknown)}, whose code runs when they are imported; "
                f"if you trust them, add --trust-plugins"
            )
    elif new and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in new:
        _import(name)


def import_installed() -> None:
    """Import the modules that installed packages declare as entry points of the group ``recbole_mm.plugins``.

    Raises PluginError where one cannot be imported.
    """
    for point in entry_points(group=ENTRY_POINTS):
        if point.module not in sys.modules:  # it may be what imports us
            try:
                importlib.import_module(point.module)
            except (ImportError, RegistryError) as error:
                package = point.dist.name if point.dist else "unknown"
                raise PluginError(
                    f"plugin '{point.module}' of the installed package {package}: {error}; mend or uninstall {package}"
                ) from error


def _import(name: str) -> None:
    try:
        spec = find_spec(name)
        if spec is not None and spec.origin is None:  # Python takes any folder for a package
            raise PluginError(f"plugins: '{name}' is a folder without an __init__.py, not a module; name the module")
        importlib.import_module(name)
    except RegistryError as error:
        raise PluginError(f"plugins: '{name}': {error}") from error
    except (ModuleNotFoundError, ValueError) as error:
        if isinstance(error, PluginError):
            raise
        raise PluginError(
            f"plugins: '{name}' cannot be imported ({error}); the file {name}.py must lie in the working folder "
            f"{os.getcwd()} or on PYTHONPATH"
        ) from error
