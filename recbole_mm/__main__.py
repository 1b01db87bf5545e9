"""``python -m recbole_mm``: the command ``recbole-mm``."""

import sys

from recbole_mm_command import main

if __name__ == "__main__":
    sys.exit(main())
