"""torch's optimizers for a process that compiles none, where a second of every start went into torch._dynamo."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from recbole.trainer import trainer
from torch.optim import Optimizer

_PASSED_OVER = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


@cache
def apply() -> None:
    """Have RecBole's own trainers make such optimizers, trainer/trainer.py:177. Called once, at import."""
    trainer.optim = _Optimizers()


class _Optimizers:
    """``torch.optim`` as the trainers see it."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(torch.optim, name)
        made = eager(found) if isinstance(found, type) and issubclass(found, Optimizer) else found
        setattr(self, name, made)  # one class for all optimizers of a kind
        return made


def eager(kind: type[Optimizer]) -> type[Optimizer]:
    """An optimizer whose steps and state are those of `kind`, and which can be no part of a compiled function.

    torch wraps these methods for torch.compile (optim/optimizer.py, ``_disable_dynamo`` and
    ``_use_grad_for_differentiable``), and each wrapper imports torch._dynamo when it is first called: 1.3 processor
    seconds and 80 MB. What they wrap is used here, the step without gradients, as theirs is. A compiled model is no
    matter: the optimizer stands outside of it.

    Args:
        kind: such as ``torch.optim.Adam``; not with ``differentiable=True``.
    """
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in _PASSED_OVER}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)
