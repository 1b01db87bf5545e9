"""Initial values of the models that have no test of their own for them, against the bounds of each distribution."""

from __future__ import annotations

import math

import pytest
import torch

from tests.shape_only import TMALL, build

TABLES = {"user_embedding": "xavier uniform", "item_embedding": "xavier uniform"}
TABLE_NAMES = ("_embedding", ".tables.0", "extended_users.0")
CASES = {
    "ACF": {**TABLES, "history_embedding": "xavier uniform", "projections.0.weight": "linear"},
    "BM3": {**TABLES, "predictor.weight": "xavier normal", "projections.1.weight": "xavier normal"},
    "BUIR": {**TABLES, "predictor.weight": "linear"},
    "FREEDOM": {**TABLES, "projections.0.weight": "linear", "projections.1.bias": "linear of 512"},
    "LATTICE": {**TABLES, "projections.0.weight": "linear", "modality_weights": 0.5},
    "LGMRec": {**TABLES, "projections.0": "xavier uniform", "hyperedges.1": "xavier uniform"},
    "LayerGCN": TABLES,
    "MGCN": {**TABLES, "projections.0.weight": "linear", "purifiers.1.weight": "linear"},
    "MICRO": {**TABLES, "projections.0.weight": "linear"},
    "PGL": {"user_embedding.tables.0": "xavier uniform", "projections.0.weight": "linear"},
    "MENTOR": {"user_embedding.tables.0": "xavier normal", "item_embedding": "xavier normal"},
    "COHESION": {"user_embedding.tables.0": "xavier normal", "item_embedding": "xavier normal"},
    "GUME": {**TABLES, "extended_users.0": "xavier uniform", "projections.0.weight": "linear"},
    "DAMRS": TABLES,
    "DiffMM": {**TABLES, "projections.0.0.weight": "xavier uniform", "modality_logits": 0.5},
    "MMSSL": {
        **TABLES, "projections.1.weight": "xavier uniform", "projections.1.bias": "linear of 512",
        "view_fusion.head_weight": "xavier uniform", "critic.layers.0.bias": 0.0,
    },
    "DGMRec": {
        **TABLES, "projections.0.weight": "xavier uniform", "projections.0.bias": "linear of 512",
        "decoders.1.weight": "xavier uniform", "generators.0.2.weight": "xavier uniform",
        "translators.1.0.0.weight": "xavier uniform", "clubs.visual.mean.0.weight": "linear",
    },
    "SLMRec": {
        **TABLES, "projections.0.weight": "xavier uniform", "user_map.weight": "xavier uniform",
        "fine_head.weight": "xavier uniform", "id_head.bias": "linear of 64",
    },
    "SMORE": {**TABLES, "filters": "normal", "projections.0.weight": "linear"},
}  # fmt: skip


@pytest.mark.parametrize("model", CASES)
def test_initial_values(tmp_path, model):
    torch.manual_seed(0)
    parameters = dict(build(model, TMALL, tmp_path).named_parameters())
    for name, kind in CASES[model].items():
        values = parameters[name].detach()
        if name.endswith(TABLE_NAMES):
            assert not values[0].any(), "[PAD]"
            values = values[1:]
        if isinstance(kind, float):
            assert torch.equal(values, torch.full_like(values, kind)), name
        elif kind in ("normal", "xavier normal"):
            spread = 1.0 if kind == "normal" else math.sqrt(2 / sum(values.shape))
            # the standard deviation of at least 198 draws is known to 5 %, of 4,096 to 1 %; a uniform's maximum is
            # 1.7 times its own
            assert values.std().item() == pytest.approx(spread, rel=0.15 if values.numel() < 1000 else 0.04), name
            assert values.abs().max() > 2.3 * spread, name
        else:
            fan_in = int(kind.split()[-1]) if "linear of" in kind else values.shape[-1]
            bound = 1 / math.sqrt(fan_in) if "linear" in kind else math.sqrt(6 / sum(values.shape))
            largest = values.abs().max().item()
            # of n uniform draws the largest is below 1 - 10 / n of the bound once in 20,000 times
            assert bound * (1 - 10 / values.numel()) < largest <= bound * (1 + 1e-6), name
