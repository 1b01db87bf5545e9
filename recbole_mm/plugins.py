"""Modules of users' own, which register models, adapters and other parts: the key ``plugins``, and entry points."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec

from recbole_mm.io.errors import one_line
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
        if spec is None:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        if spec.origin is None:  # Python takes any folder for a package
            raise PluginError(f"plugins: '{name}' is a folder without an __init__.py, not a module; name the module")
        importlib.import_module(name)
    except RegistryError as error:
        raise PluginError(f"plugins: '{name}': {error}") from error
    except PluginError:
        raise
    except (ImportError, ValueError) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        if missing and f"{name}.".startswith(f"{missing}."):
            todo = f"the file {name}.py must lie in the working folder {os.getcwd()} or on PYTHONPATH"
        elif missing:
            todo = f"it is there, and imports {missing}, which is not: install that, or put it on PYTHONPATH"
        else:
            todo = "it is there, and its own code raised that: mend it"
        raise PluginError(f"plugins: '{name}' cannot be imported ({one_line(error)}); {todo}") from error
