"""``python -m recbole_mm analyse``: one sub-command per module of this folder's rooms with an ``add_parser``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import recbole_mm.analysis


def add_parsers(commands) -> None:
    """Add the `analyse` command to an argparse sub-parsers object.

    An analysis is a module below :mod:`recbole_mm.analysis` with ``add_parser(kinds)``, which calls
    :func:`recbole_mm.analysis.command.add_analysis`. The modules are imported for every command of ours, so
    what only the analysis itself needs (matplotlib, scikit-learn, Pillow) is imported in its functions.
    """
    analyse = commands.add_parser("analyse", help="figures and tables from checkpoints")
    kinds = analyse.add_subparsers(required=True, metavar="ANALYSIS")
    for found in walk_packages(recbole_mm.analysis.__path__, f"{recbole_mm.analysis.__name__}."):
        module = import_module(found.name)
        if hasattr(module, "add_parser"):
            module.add_parser(kinds)
