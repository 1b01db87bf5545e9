"""Feature adapters: small networks between a model's projected features and what it does with them.

``befa`` is the behaviour-driven feature adapter of BeFA (AAAI 2025); ``lora`` and ``soft_prompt`` are what that paper
compares it with. A user's own adapter is a :class:`FeatureAdapter` registered under a name.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from recbole_mm.nn.dropout import dropout
from recbole_mm.registry import ADAPTERS, register_adapter
from recbole_mm.settings import Positive, Rate, Real, Settings, Width


class FeatureAdapter(nn.Module):
    """Adapts the projected features of one modality; one is built per modality.

    Args:
        width: d, of the features and of the behaviour vectors.
        config: the configuration, of which an adapter reads its own keys, by ``MySettings.of(config)``.

    Attributes:
        keys: names of own keys of an adapter that declares no settings, so that commands take them.
        gates_behaviour: the result is the behaviour vector times a gate that the features decide. A model whose own
            use of a feature is such a gate (MGCN's purifier) takes the adapter in its place.
        needs_behaviour: whether `behaviour` is read. A model without item ID vectors gets a table of them then.
    """

    keys: tuple[str, ...] = ()
    gates_behaviour = False
    needs_behaviour = False

    def __init__(self, width: int, config: Any):
        super().__init__()

    @abstractmethod
    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        """Adapted features ``[n, d]``.

        Args:
            features: projected features of some items, ``[n, d]``.
            behaviour: ID vectors of the same items, ``[n, d]``; None where `needs_behaviour` is False.
        """
        raise NotImplementedError

    def records(self) -> dict[str, float]:
        """What the log shows of it after each training epoch, by name."""
        return {}


class AdapterSettings(Settings):
    """The keys of a feature adapter; one derives its own from this, each key with the adapter's name in it."""


class BefaSettings(AdapterSettings):
    """BeFA's keys."""

    adapter_expansion: Annotated[Positive, Field(le=1000)] = 4
    """BeFA: width of its hidden layers over that of the features."""
    adapter_dropout: Rate = 0.1
    """BeFA: dropout of its hidden layers."""
    adapter_gates: Literal[1, 2] = 1
    """BeFA: 1 as its released code, 2 gates in that code's order (adapter_expansion: 1 only)."""
    adapter_form: Literal["code", "paper"] = "code"
    """BeFA: its released code, or Eqs. 8 to 10 as printed."""
    adapter_gate_bias: Real | None = None
    """BeFA: start of the gate's bias, 0 being half open; torch's if not set."""


class LoraSettings(AdapterSettings):
    """The key of the low-rank adapter."""

    adapter_rank: Width = 16
    """LoRA: rank of its change."""


@register_adapter("befa", settings=BefaSettings)
class BehaviourDrivenAdapter(FeatureAdapter):
    r"""BeFA: the ID vector, gated by what three layers make of the feature.

    With :math:`D = \lambda d`, each linear layer with bias and torch's initial values:

    .. math::
        a = \tanh(drop(ReLU(W_1 x + b_1))), \quad b = drop(ReLU(W_2 a + b_2)), \quad
        \bar x = E_{id} \odot \sigma(W_3 b + b_3)

    This is the released code's order, which gives the paper's parameter counts. With ``adapter_gates: 2`` the ID vector
    gates the hidden layer too, as in the paper, but in the code's order: :math:`b = E_{id} \odot drop(ReLU(W_2 a +
    b_2))`. The widths allow it for an expansion of 1 only. With ``adapter_form: paper`` it is Eqs. 8 to 10 as printed,

    .. math::
        \dot x = W_1 x + b_1, \quad \ddot x = E_{id} \odot \tanh(W_2 \dot x + b_2), \quad
        \bar x = E_{id} \odot \sigma(W_3 \ddot x + b_3)

    for which :math:`W_2` leads from D back to d, so that any expansion will do, and the ID vector meets tanh and the
    gate in turn. Dropout stands before :math:`W_2` and :math:`W_3`; the ReLU that the text has there, the equations
    have not.

    The log has the gate's mean, and its standard deviation over items (mean over d), in each epoch's last batch: near 1
    and 0 nothing of the content is left.

    Keys: ``adapter_expansion`` (lambda), ``adapter_dropout``, ``adapter_gates``, ``adapter_form``,
    ``adapter_gate_bias``.
    """

    gates_behaviour = True
    needs_behaviour = True

    def __init__(self, width: int, config: Any):
        super().__init__(width, config)
        settings = BefaSettings.of(config)
        expansion, self.n_gates = settings.adapter_expansion, settings.adapter_gates
        hidden = round(width * expansion)
        if hidden < 1 or abs(hidden - width * expansion) > 1e-6:
            raise ValueError(
                f"adapter_expansion: {expansion} times the width {width} must be a whole number of at least 1"
            )
        if self.n_gates == 2 and hidden != width:
            raise ValueError(f"adapter_gates: {self.n_gates} must be 1, or 2 with adapter_expansion: 1")
        self.form = settings.adapter_form
        if self.form == "paper" and self.n_gates == 2:
            raise ValueError("adapter_gates: 2 is of the code's form; the paper's has both gates, so leave it at 1")
        self.decouple = nn.Linear(width, hidden)
        self.filter = nn.Linear(hidden, width if self.form == "paper" else hidden)
        self.recombine = nn.Linear(width if self.form == "paper" else hidden, width)
        if settings.adapter_gate_bias is not None:
            nn.init.constant_(self.recombine.bias, settings.adapter_gate_bias)
        self.rate = settings.adapter_dropout
        self._gate: Tensor | None = None  # mean and spread

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        assert behaviour is not None  # as `needs_behaviour` asks for it
        gate = self.gate(features, behaviour)
        if self.training:
            self._gate = torch.stack([gate.detach().mean(), gate.detach().std(dim=0, correction=0).mean()])
        return behaviour * gate

    def gate(self, features: Tensor, behaviour: Tensor) -> Tensor:
        """What the ID vectors are multiplied by, ``[n, d]`` in (0, 1); arguments as of :meth:`forward`."""
        hidden = self._paper(features, behaviour) if self.form == "paper" else self._code(features, behaviour)
        return torch.sigmoid(self.recombine(hidden))

    def _code(self, features: Tensor, behaviour: Tensor) -> Tensor:
        hidden = dropout(self.decouple(features).relu_(), self.rate, self.training).tanh()
        hidden = dropout(self.filter(hidden).relu_(), self.rate, self.training)
        return behaviour * hidden if self.n_gates == 2 else hidden

    def _paper(self, features: Tensor, behaviour: Tensor) -> Tensor:
        decoupled = dropout(self.decouple(features), self.rate, self.training)
        return dropout(behaviour * self.filter(decoupled).tanh(), self.rate, self.training)

    def records(self) -> dict[str, float]:
        """Of the gate; empty before training."""
        return {} if self._gate is None else dict(zip(("gate", "gate_sd"), self._gate.tolist(), strict=True))


@register_adapter("lora", settings=LoraSettings)
class LowRankAdapter(FeatureAdapter):
    r"""A low-rank change of the feature, :math:`x' = x + B A x`; A starts Gaussian, B at zero, so that x' starts as x.

    Key: ``adapter_rank``.
    """

    def __init__(self, width: int, config: Any):
        super().__init__(width, config)
        rank = LoraSettings.of(config).adapter_rank
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        return features + self.up(self.down(features))


@register_adapter("soft_prompt")
class SoftPromptAdapter(FeatureAdapter):
    """One learnable vector added to every item's feature, ``x' = x + p``; it starts at zero."""

    def __init__(self, width: int, config: Any):
        super().__init__(width, config)
        self.prompt = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        return features + self.prompt


def adapter_class(name: str | None) -> type[FeatureAdapter] | None:
    """The adapter registered as `name`, or None for ``none``.

    Raises:
        ValueError: there is no such adapter; the message lists those there are.
    """
    if name in (None, "none"):
        return None
    try:
        return ADAPTERS.get(name)
    except ValueError as error:
        raise ValueError(f"feature_adapter: {error}") from error
