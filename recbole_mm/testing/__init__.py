"""For the tests of those who write parts: conformance classes, and small data sets with a known structure.

A test inherits the class of its kind and names its part; pytest does the rest. It needs pytest, as in the extra `test`.
"""

import pytest

PARTS = ("adapters", "analyses", "closed_forms", "encoders", "models", "scoring")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in PARTS))  # failures show values, as in a test's file

from recbole_mm.testing.adapters import AdapterConformance  # noqa: E402
from recbole_mm.testing.analyses import AnalysisConformance  # noqa: E402
from recbole_mm.testing.closed_forms import ClosedFormConformance  # noqa: E402
from recbole_mm.testing.encoders import EncoderConformance  # noqa: E402
from recbole_mm.testing.model_runs import SMALL, ModelRuns  # noqa: E402
from recbole_mm.testing.models import ModelConformance  # noqa: E402
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, Run, own_process, start, write_dataset, write_planted  # noqa: E402

__all__ = [
    "PRE_SPLIT",
    "QUIET",
    "SMALL",
    "AdapterConformance",
    "AnalysisConformance",
    "ClosedFormConformance",
    "EncoderConformance",
    "ModelConformance",
    "ModelRuns",
    "Run",
    "own_process",
    "start",
    "write_dataset",
    "write_planted",
]
