"""What RecBole's modules import at their head, and few runs ever use, comes when it is first used.

scikit-learn for AUC, MAE and RMSE, ray for RecBole's own tuning, and TensorBoard: a third of the time that RecBole's
import takes.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any

DEFERRED = (
    "ray", "sklearn.exceptions", "sklearn.linear_model", "sklearn.metrics", "sklearn.utils.extmath",
    "torch.utils.tensorboard",
)  # fmt: skip
_import = builtins.__import__


@contextmanager
def deferred_imports() -> Iterator[None]:
    """Within, ``from sklearn.metrics import auc`` in a module of RecBole gives what stands for it.

    So does all that is :data:`DEFERRED`. Whoever else imports anything gets it; what RecBole has imported before stays.
    """
    before = builtins.__import__

    def importing(
        name: str, globals: Mapping[str, Any] | None = None, locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (), level: int = 0,
    ) -> Any:  # fmt: skip
        by_recbole = str((globals or {}).get("__name__")).startswith("recbole.")
        if by_recbole and name in DEFERRED and fromlist:
            return SimpleNamespace(**{attribute: _Deferred(name, attribute) for attribute in fromlist})
        return before(name, globals, locals, fromlist, level)

    builtins.__import__ = importing
    try:
        yield
    finally:
        builtins.__import__ = before


class _Deferred:
    """Stands for a function, a class or a module until it is called, asked for something or compared with."""

    def __init__(self, module: str, name: str):
        self._place = module, name

    def _self(self) -> Any:
        module, name = self._place
        # hyperopt's search puts streams in the place of Python's own, which lack what ray looks for at its import
        with redirect_stdout(sys.__stdout__), redirect_stderr(sys.__stderr__):
            return getattr(_import(module, fromlist=[name]), name)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._self(), attribute)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._self()(*arguments, **options)

    def __subclasscheck__(self, kind: type) -> bool:  # of a category of warnings, where one is filtered
        return issubclass(kind, self._self())
