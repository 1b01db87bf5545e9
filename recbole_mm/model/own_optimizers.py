"""Parts of a model that it trains itself, apart from the trainer's optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer


class OwnOptimizers:
    """The part of a recommender that keeps optimizers, whose states go into its checkpoints.

    Their parameters have no gradient but within :meth:`training_part`, so that the trainer's optimizer leaves them
    alone. A subclass has ``own_optimizer_states`` in its ``other_parameter_name``.
    """

    own_optimizers: dict[str, Optimizer]

    def keep_optimizer(self, name: str, part: nn.Module, optimizer: Optimizer) -> None:
        """Have `optimizer` train `part`, within :meth:`training_part` alone."""
        part.requires_grad_(False)
        self.__dict__.setdefault("own_optimizers", {})[name] = optimizer

    @contextmanager
    def training_part(self, part: nn.Module) -> Iterator[None]:
        """Within the context the part's parameters get gradients; none are left behind."""
        part.requires_grad_(True)
        try:
            yield
        finally:
            part.requires_grad_(False)
            for parameter in part.parameters():
                parameter.grad = None

    @property
    def own_optimizer_states(self) -> dict[str, Any]:
        """State of each optimizer by its name."""
        return {name: optimizer.state_dict() for name, optimizer in self.own_optimizers.items()}

    @own_optimizer_states.setter
    def own_optimizer_states(self, states: dict[str, Any]) -> None:
        for name, optimizer in self.own_optimizers.items():
            optimizer.load_state_dict(states[name])
