"""Feature adapters against numpy, and their published sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.nn.feature_adapter import FeatureAdapter, adapter_class

CONFIG = {
    "adapter_expansion": 4, "adapter_dropout": 0.0, "adapter_gates": 1, "adapter_form": "code",
    "adapter_gate_bias": None, "adapter_rank": 16,
}  # fmt: skip


def build(name: str, width: int = 64, **config) -> FeatureAdapter:
    torch.manual_seed(0)
    return adapter_class(name)(width, {**CONFIG, **config})


class TestPublishedSizes:
    """BeFA, Table 4: parameters of two modalities."""

    @pytest.mark.parametrize(("expansion", "count"), [(1, 24_960), (2, 66_176), (4, 197_760), (8, 657_536)])
    def test_befa(self, expansion, count):
        assert 2 * parameters(build("befa", adapter_expansion=expansion)) == count

    def test_lora(self):
        assert 2 * parameters(build("lora")) == 4_096

    def test_soft_prompt(self):
        assert 2 * parameters(build("soft_prompt")) == 128


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("expansion", "gates"), [(4, 1), (0.5, 1), (1, 1), (1, 2)])
def test_befa_equals_its_formulae(expansion, gates):
    adapter = build("befa", 6, adapter_expansion=expansion, adapter_gates=gates).double()
    features, behaviour = torch.randn(5, 6).double(), torch.randn(5, 6).double()
    x, e = features.numpy(), behaviour.numpy()
    w = {name: p.detach().numpy() for name, p in adapter.named_parameters()}
    a = np.tanh(np.maximum(x @ w["decouple.weight"].T + w["decouple.bias"], 0))
    b = np.maximum(a @ w["filter.weight"].T + w["filter.bias"], 0)
    if gates == 2:
        b = e * b
    gate = 1 / (1 + np.exp(-(b @ w["recombine.weight"].T + w["recombine.bias"])))
    np.testing.assert_allclose(adapter(features, behaviour).detach().numpy(), e * gate, rtol=1e-12)


@pytest.mark.parametrize("expansion", [0.5, 1, 4])
def test_befa_as_printed(expansion):
    """Eqs. 8 to 10 of the paper."""
    adapter = build("befa", 6, adapter_expansion=expansion, adapter_form="paper").double()
    features, behaviour = torch.randn(5, 6).double(), torch.randn(5, 6).double()
    x, e = features.numpy(), behaviour.numpy()
    w = {name: p.detach().numpy() for name, p in adapter.named_parameters()}
    decoupled = x @ w["decouple.weight"].T + w["decouple.bias"]
    assert decoupled.shape == (5, 6 * expansion)
    filtered = e * np.tanh(decoupled @ w["filter.weight"].T + w["filter.bias"])
    gate = 1 / (1 + np.exp(-(filtered @ w["recombine.weight"].T + w["recombine.bias"])))
    np.testing.assert_allclose(adapter(features, behaviour).detach().numpy(), e * gate, rtol=1e-12)
    records = adapter.records()
    assert records["gate"] == pytest.approx(gate.mean()) and records["gate_sd"] == pytest.approx(gate.std(0).mean())


def test_the_gates_bias_starts_where_it_is_told():
    assert (build("befa", adapter_gate_bias=-2.0).recombine.bias == -2).all()
    assert build("befa", adapter_gate_bias=None).recombine.bias.std() > 0


def test_the_papers_form_has_both_gates():
    with pytest.raises(ValueError, match="adapter_gates: 2 is of the code's form"):
        build("befa", adapter_form="paper", adapter_gates=2, adapter_expansion=1)


def test_dropout_acts_in_training_only():
    adapter = build("befa", adapter_dropout=0.5)
    features, behaviour = torch.randn(9, 64), torch.randn(9, 64)
    assert not torch.equal(adapter(features, behaviour), adapter(features, behaviour))
    adapter.eval()
    assert torch.equal(adapter(features, behaviour), adapter(features, behaviour))


@pytest.mark.parametrize("name", ["lora", "soft_prompt"])
def test_rivals_start_as_the_plain_feature(name):
    features = torch.randn(9, 64)
    assert torch.equal(build(name)(features, None), features)


def test_lora_adds_a_low_rank_change():
    adapter = build("lora", 8, adapter_rank=2)
    torch.nn.init.normal_(adapter.up.weight)
    features = torch.randn(20, 8)
    change = adapter(features, None) - features
    torch.testing.assert_close(change, features @ (adapter.up.weight @ adapter.down.weight).T)
    assert torch.linalg.matrix_rank(change) == 2


@pytest.mark.parametrize("name", ["befa", "lora", "soft_prompt"])
def test_gradients(name):
    adapter = build(name, 4, adapter_expansion=2, adapter_rank=2).double()
    inputs = [torch.randn(3, 4, dtype=torch.double, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda x, e: adapter(x, e) + 0 * e, inputs)


class TestBadInput:
    def test_unknown_adapter(self):
        with pytest.raises(ValueError, match=r"unknown feature adapter 'beffa' \(did you mean befa\?\); registered"):
            adapter_class("beffa")

    @pytest.mark.parametrize(
        ("name", "config", "message"),
        [
            ("befa", {"adapter_expansion": 0.3}, "adapter_expansion: 0.3 times the width 64"),
            ("befa", {"adapter_expansion": 0}, "adapter_expansion: 0 is not allowed; give a number above 0"),
            ("befa", {"adapter_gates": 2}, "2 with adapter_expansion: 1"),
            ("befa", {"adapter_gates": 3, "adapter_expansion": 1}, "adapter_gates: 3"),
            ("befa", {"adapter_dropout": 1.0}, "adapter_dropout: 1.0"),
            ("befa", {"adapter_expansion": "four"}, "adapter_expansion: 'four' is not allowed"),
            ("befa", {"adapter_expansion": float("inf")}, "adapter_expansion: inf"),
            ("befa", {"adapter_dropout": "a"}, "adapter_dropout: 'a' is not allowed"),
            ("befa", {"adapter_gates": "two", "adapter_expansion": 1}, "adapter_gates: 'two' is not allowed"),
            ("lora", {"adapter_rank": 0}, "adapter_rank: 0"),
            ("lora", {"adapter_rank": 2.5}, "adapter_rank: 2.5 is not allowed; give a whole number"),
            ("lora", {"adapter_rank": "x"}, "adapter_rank: 'x' is not allowed; give a whole number"),
        ],
    )
    def test_bad_settings(self, name, config, message):
        with pytest.raises(ValueError, match=message):
            build(name, **config)
