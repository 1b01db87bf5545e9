"""What plans can ask for beside knock-outs, and how many seeds."""

from __future__ import annotations

from recbole_mm.data.knock_out import KNOCK_OUTS

FIRST_SEED, MOST_SEEDS = 2020, 1000
WITHOUT, ID_ONLY, LEAK, EVALUATION = "without", "id_only", "leak", "evaluation"
AT_EVALUATION = " at evaluation"  # behind a knock-out of trained models, by the name of which runs are told
AUDITS = (*KNOCK_OUTS, WITHOUT, ID_ONLY, EVALUATION, LEAK)
