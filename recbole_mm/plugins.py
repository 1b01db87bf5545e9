"""Modules of users' own, which register models and feature adapters: the key ``plugins``."""

from __future__ import annotations

import importlib
import os
import sys


class PluginError(ValueError):
    """The key ``plugins`` is no list of names, or names a module that cannot be imported."""


def import_plugins(names: list[str] | None) -> None:
    """Import modules of the working folder, of PYTHONPATH or installed ones, such as ``["my_adapters"]``.

    Raises:
        PluginError: `names` is no list of names, or there is no such module.
    """
    if not names:
        return
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise PluginError(f"plugins: {names} must be a list of module names, such as ['my_adapters']")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise PluginError(
                f"plugins: '{name}' cannot be imported ({error}); the file {name}.py must lie in the working folder "
                f"{os.getcwd()} or on PYTHONPATH"
            ) from error
