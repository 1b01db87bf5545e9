"""``python -m recbole_mm``: convert, extract and describe data, list models, analyse and serve checkpoints."""

from __future__ import annotations

import os
import sys

from recbole_mm.analysis.cli import add_parsers as add_analysis_parsers
from recbole_mm.data.cli import add_parsers as add_data_parsers
from recbole_mm.early_interrupt import end_as_usual
from recbole_mm.ending import EXPECTED, end
from recbole_mm.extraction.cli import add_parser as add_extract_parser
from recbole_mm.io.arguments import ArgumentParser
from recbole_mm.model_list import add_parser as add_models_parser
from recbole_mm.recommend.cli import add_parsers as add_recommend_parsers


def main(argv: list[str] | None = None) -> int:
    """Run one command; bad input is one line on standard error and exit code 2, Ctrl-C one and exit code 130."""
    end_as_usual()
    parser = ArgumentParser(prog="python -m recbole_mm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_data_parsers(commands)
    add_extract_parser(commands)
    add_models_parser(commands)
    add_analysis_parsers(commands)
    add_recommend_parsers(commands)
    arguments = parser.parse_args(argv)
    sys.argv[1:] = []  # RecBole's Config would read our options as its keys
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EXPECTED as error:
        return end(error)


if __name__ == "__main__":
    sys.exit(main())
