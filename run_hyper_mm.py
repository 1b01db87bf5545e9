"""Search hyper-parameters: ``python run_hyper_mm.py --model=POWERec --params_file=POWERec --tool=Hyperopt``."""

import sys

from recbole_mm_command import run_command

if __name__ == "__main__":
    sys.exit(run_command("tune", sys.argv[1:], "run_hyper_mm.py"))
