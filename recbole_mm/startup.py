"""Mends RecBole and makes all that is registered known to it, once, when it is imported: by ``import recbole_mm``."""

from recbole_mm.host.deferred import deferred_imports

with deferred_imports():
    from recbole_mm.host import compat

compat.apply()

from recbole_mm import registration  # noqa: E402  RecBole's modules import cleanly only after compat.apply()
from recbole_mm.host import (  # noqa: E402
    atomic_files,
    baselines,
    candidates,
    cold_items,
    distributed,
    divergence,
    eager_optimizers,
    evaluation_users,
    evaluations,
    interactions,
    logs,
    metrics,
    negative_items,
    run_names,
    terminal,
    times,
    training,
)
from recbole_mm.plugins import import_installed  # noqa: E402

# in this order: first mends, which change lines, then what wraps whole functions
mending = (
    *(baselines, distributed, interactions, metrics, negative_items, divergence),
    *(evaluations, candidates, cold_items, logs, training, run_names, atomic_files, times, evaluation_users, terminal),
    eager_optimizers,
)
for mends in mending:
    mends.apply()
registration.apply()
import_installed()
