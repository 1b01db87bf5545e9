"""``recbole-mm analyse``: one sub-command per registered analysis."""

from __future__ import annotations

import argparse

import recbole_mm.analysis
from recbole_mm.analysis.command import add_analysis
from recbole_mm.parts import discover
from recbole_mm.registry import ANALYSES


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `analyse` command to an argparse sub-parsers object.

    An analysis is a function with :func:`recbole_mm.registry.register_analysis`, in any module of this folder or of a
    plugin. The modules are imported for every analysis, so what only one needs (matplotlib, scikit-learn, Pillow) is
    imported in its functions.
    """
    discover(recbole_mm.analysis)
    analyse = commands.add_parser("analyse", help="figures and tables from checkpoints")
    kinds = analyse.add_subparsers(required=True, metavar="ANALYSIS")
    for name in ANALYSES:
        add_analysis(kinds, ANALYSES.entry(name))
