"""Feature adapters: small networks between a model's projected features and what it does with them.

``befa`` is the behaviour-driven feature adapter of BeFA (AAAI 2025); ``lora`` and ``soft_prompt`` are what that paper
compares it with. A user's own adapter is a :class:`FeatureAdapter` registered under a name.
"""

from __future__ import annotations

from math import isfinite
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from recbole_mm.nn.dropout import dropout
from recbole_mm.registry import ADAPTERS, register_adapter


class FeatureAdapter(nn.Module):
    """Adapts the projected features of one modality; one is built per modality.

    Args:
        width: d, of the features and of the behaviour vectors.
        config: the configuration; an adapter reads its own keys, which are None where the user did not set them.

    Attributes:
        keys: names of the adapter's own configuration keys that no yaml of ours has, so that commands take them.
        gates_behaviour: the result is the behaviour vector times a gate that the features decide. A model whose own
            use of a feature is such a gate (MGCN's purifier) takes the adapter in its place.
        needs_behaviour: whether `behaviour` is read. A model without item ID vectors gets a table of them then.
    """

    keys: tuple[str, ...] = ()
    gates_behaviour = False
    needs_behaviour = False

    def __init__(self, width: int, config):
        super().__init__()

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        """Adapted features ``[n, d]``.

        Args:
            features: projected features of some items, ``[n, d]``.
            behaviour: ID vectors of the same items, ``[n, d]``; None where `needs_behaviour` is False.
        """
        raise NotImplementedError


@register_adapter("befa")
class BehaviourDrivenAdapter(FeatureAdapter):
    r"""BeFA: the ID vector, gated by what three layers make of the feature.

    With :math:`D = \lambda d`, each linear layer with bias and torch's initial values:

    .. math::
        a = \tanh(drop(ReLU(W_1 x + b_1))), \quad b = drop(ReLU(W_2 a + b_2)), \quad
        \bar x = E_{id} \odot \sigma(W_3 b + b_3)

    This is the released code's order, which gives the paper's parameter counts. With ``adapter_gates: 2`` the ID vector
    gates the hidden layer too, as in the paper, but in the code's order: :math:`b = E_{id} \odot drop(ReLU(W_2 a +
    b_2))`, where the paper's Eq. 9 has :math:`E_{id} \odot \tanh(W_2 \cdot)`. The widths allow it for an expansion of 1
    only.

    Keys: ``adapter_expansion`` (lambda), ``adapter_dropout``, ``adapter_gates``.
    """

    gates_behaviour = True
    needs_behaviour = True

    def __init__(self, width: int, config):
        super().__init__(width, config)
        expansion, self.n_gates = _number(config, "adapter_expansion"), config["adapter_gates"]
        hidden = round(width * expansion)
        if hidden < 1 or abs(hidden - width * expansion) > 1e-6:
            raise ValueError(
                f"adapter_expansion: {expansion} times the width {width} must be a whole number of at least 1"
            )
        if self.n_gates not in (1, 2) or (self.n_gates == 2 and hidden != width):
            raise ValueError(f"adapter_gates: {self.n_gates} must be 1, or 2 with adapter_expansion: 1")
        self.decouple = nn.Linear(width, hidden)
        self.filter = nn.Linear(hidden, hidden)
        self.recombine = nn.Linear(hidden, width)
        self.rate = _dropout_rate(config)

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        hidden = dropout(self.decouple(features).relu_(), self.rate, self.training).tanh()
        hidden = dropout(self.filter(hidden).relu_(), self.rate, self.training)
        if self.n_gates == 2:
            hidden = behaviour * hidden
        return behaviour * torch.sigmoid(self.recombine(hidden))


@register_adapter("lora")
class LowRankAdapter(FeatureAdapter):
    r"""A low-rank change of the feature, :math:`x' = x + B A x`; A starts Gaussian, B at zero, so that x' starts as x.

    Key: ``adapter_rank``.
    """

    def __init__(self, width: int, config):
        super().__init__(width, config)
        rank = config["adapter_rank"]
        if not isinstance(rank, Integral) or rank < 1:
            raise ValueError(f"adapter_rank: {rank} must be a whole number of at least 1")
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        return features + self.up(self.down(features))


@register_adapter("soft_prompt")
class SoftPromptAdapter(FeatureAdapter):
    """One learnable vector added to every item's feature, ``x' = x + p``; it starts at zero."""

    def __init__(self, width: int, config):
        super().__init__(width, config)
        self.prompt = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        return features + self.prompt


def adapter_class(name: str | None) -> type[FeatureAdapter] | None:
    """The adapter registered as `name`, or None for ``none``.

    Raises:
        ValueError: there is no such adapter; the message lists those there are.
    """
    return None if name in (None, "none") else ADAPTERS.get(name)


def _number(config, key: str) -> float:
    value = config[key]
    if not isinstance(value, Real) or not isfinite(value):
        raise ValueError(f"{key}: {value} must be a number")
    return value


def _dropout_rate(config) -> float:
    rate = _number(config, "adapter_dropout")
    if not 0 <= rate < 1:
        raise ValueError(f"adapter_dropout: {rate} must be at least 0 and below 1")
    return rate
