"""Search hyper-parameters: ``python run_hyper_mm.py --model=POWERec --params_file=POWERec --tool=Hyperopt``."""

import os
import sys

# before torch loads: threads that spin starve beside a busy process, threads that sleep at once wake late
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# and with pages of 4 KB the gradient of features takes ten times as long to appear as to be filled
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

try:
    from recbole_mm.tuning.command import main
except KeyboardInterrupt:
    print("interrupted; nothing had begun", file=sys.stderr)
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
