"""recbole_mm: RecBole as a multimodal recommender library.

``import recbole_mm``, before or after RecBole, makes every model of :mod:`recbole_mm.model` known to RecBole under its
own names: ``run_recbole(model="POWERec", ...)``, ``HyperTuning``, ``load_data_and_model``, ``case_study``. What authors
of plugins need is here by name (:mod:`recbole_mm.public`).
"""

import gc
import sys
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_mm.public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The public names, imported when one is first asked for."""
    is_private = name.startswith("_") and name != "__all__"
    if is_private or find_spec(f"{__name__}.{name}"):  # Python asks here before it imports a module of ours
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    public = import_module(f"{__name__}.public")
    if name not in ("__all__", *public.__all__):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(public, name)


def _is_command_starting() -> bool:
    """Whether ``python -m recbole_mm`` is what imports us: it answers ``--help`` first, and starts us up itself."""
    is_command = any(option == "-m" and name == "recbole_mm" for option, name in pairwise(sys.orig_argv))
    return is_command and sys.argv[:1] == ["-m"]  # Python's placeholder until it has found the module to run


if find_spec("recbole") is None:
    raise ImportError("recbole_mm extends RecBole, which is not installed; type: pip install --no-deps recbole==1.2.1")
if not _is_command_starting():
    was_collecting = gc.isenabled()
    gc.disable()  # an eighth of the time: a million objects are made, and none is garbage
    try:
        import_module("recbole_mm.startup")
    finally:
        if was_collecting:
            gc.enable()
