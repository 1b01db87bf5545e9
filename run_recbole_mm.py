"""Train and test one model: ``python run_recbole_mm.py --model=POWERec --dataset=NAME --any_key=value``."""

import sys

from recbole_mm_command import run_command

if __name__ == "__main__":
    sys.exit(run_command("run", sys.argv[1:], "run_recbole_mm.py"))
