"""recbole_mm: RecBole as a multimodal recommender library.

``import recbole_mm``, before or after RecBole, makes every model of :mod:`recbole_mm.model` known to RecBole under its
own names: ``run_recbole(model="POWERec", ...)``, ``HyperTuning``, ``load_data_and_model``, ``case_study``.
"""

from importlib.util import find_spec

from recbole_mm import early_interrupt

early_interrupt.end_quietly()

if find_spec("recbole") is None:
    raise ImportError("recbole_mm extends RecBole, which is not installed; type: pip install --no-deps recbole==1.2.1")

from recbole_mm.host import compat  # noqa: E402

compat.apply()

from recbole_mm import registration  # noqa: E402  RecBole's modules import cleanly only after compat.apply()
from recbole_mm.host import (  # noqa: E402
    atomic_files,
    baselines,
    distributed,
    divergence,
    logs,
    metrics,
    run_names,
    training,
)

# in this order: first mends, which change lines, then what wraps whole functions
for mends in (baselines, distributed, metrics, divergence, logs, training, run_names, atomic_files):
    mends.apply()
registration.apply()

from recbole_mm.nn.feature_adapter import FeatureAdapter  # noqa: E402
from recbole_mm.registry import (  # noqa: E402
    ADAPTERS,
    MODELS,
    TRAINERS,
    register_adapter,
    register_model,
    register_trainer,
)

__version__ = "0.1.0"
__all__ = [
    "ADAPTERS",
    "MODELS",
    "TRAINERS",
    "FeatureAdapter",
    "__version__",
    "register_adapter",
    "register_model",
    "register_trainer",
]
