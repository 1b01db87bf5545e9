"""Commands that have options of their own alone: parsing them, importing plugins, and how they end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from recbole_mm.ending import end, expected
from recbole_mm.io.arguments import ArgumentParser
from recbole_mm.plugins import import_plugins
from recbole_mm.settings import plain_value


def run_parsed(add: Callable[[Any], None], argv: list[str], program: str) -> int:
    """Run the command that `argv` names; gives its exit code.

    Args:
        add: adds the command, and others it shares a file with, to argparse's sub-parsers; each sets `run`, a function
            from the parsed arguments to an exit code.
        argv: the command's name and its options. Modules of ``--plugins`` are imported before the rest is parsed, as
            they may add what the command offers.
        program: what was typed before them.
    """
    plugins = ArgumentParser(prog=program, add_help=False, allow_abbrev=False)
    _add_plugins(plugins)
    before = sys.argv[1:]
    try:
        found, rest = plugins.parse_known_args(argv)
        names = [name for text in found.plugins for name in _names(text)]
        import_plugins(names)
        parser = ArgumentParser(prog=program, allow_abbrev=False)
        commands = parser.add_subparsers(required=True, metavar="COMMAND")
        add(commands)
        _add_plugins(commands.choices[argv[0]])  # for its --help
        arguments = parser.parse_args(rest)
        arguments.plugins = names
        sys.argv[1:] = []  # RecBole's Config would read our options as its keys
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except expected() as error:
        return end(error)
    finally:
        sys.argv[1:] = before  # whoever called us in a script of their own has options too


def _add_plugins(parser: argparse.ArgumentParser) -> None:
    help = "import a module of your own that adds parts; more than one: A,B"
    parser.add_argument("--plugins", action="append", default=[], metavar="MODULE", help=help)


def _names(text: str) -> list[str]:
    """The modules of ``--plugins=a,b``, or as a run takes them ``--plugins="['a', 'b']"``."""
    names = plain_value(text, "--plugins") if text.startswith("[") else text.split(",")
    return names if isinstance(names, list) else [text]
