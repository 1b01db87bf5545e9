"""Search hyper-parameters: ``python run_hyper_mm.py --model=POWERec --params_file=POWERec --tool=Hyperopt``."""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads beside a busy process

from recbole_mm.tuning.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
