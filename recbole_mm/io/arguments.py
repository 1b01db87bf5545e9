"""Command lines whose mistakes are one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from recbole_mm.io.errors import printable
from recbole_mm.io.names import closest


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, without the usage before an error, and with the closest name where one is unknown."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"error: {printable(message)} ({self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = list(action.choices or ())
        known = [str(choice) for choice in choices]
        if choices and value not in choices:
            raise argparse.ArgumentError(
                action, f"unknown '{value}'{closest(str(value), known)}; there are {', '.join(known)}"
            )
