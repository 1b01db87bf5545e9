"""The host of BeFA's released code against its formulae (AAAI 2025)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import checked_item_graphs, exact_symmetric_graph
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestBeFAHost(ModelConformance):
    model = "BeFAHost"
    settings = {"knn_k": 4}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        *(f"feature_adapters.{m}.{layer}.{part}" for m in ("visual", "textual") for layer in ("decouple", "filter",
          "recombine") for part in ("weight", "bias")),
        "unused.hidden.weight", "unused.hidden.bias", "unused.query.weight",
    }  # fmt: skip
    parameters_without_gradient = {"unused.hidden.weight", "unused.hidden.bias", "unused.query.weight"}
    planted_epochs = 25


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize("adapter", ["befa", "none"])
@pytest.mark.parametrize("modalities", [["visual", "textual"], ["textual"]])
def test_loss_and_gradients(example, adapter, modalities):
    """A regulariser as large as the ranking loss, so that neither hides behind the other."""
    settings = {"feature_adapter": adapter, "adapter_dropout": 0.0, "modalities": modalities}
    run = start_example("BeFAHost", example, knn_k=3, reg_weight=20.0, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def dense_loss(run, batch):
    model, config = run.model, run.config
    graph = exact_symmetric_graph(interactions(run))
    ego = torch.cat([model.user_embedding, model.item_embedding])
    content = mean_of_layers(graph, ego, config["n_layers"])
    block = graph[: model.n_users, model.n_users :]
    item_graphs = checked_item_graphs(run, model.item_graphs, [config["knn_k"]] * len(model.modalities))
    views = []
    for m, (name, item_graph) in enumerate(zip(model.modalities, item_graphs, strict=True)):
        x = model.feature(name) @ model.projections[m].weight.T + model.projections[m].bias
        if config["feature_adapter"] == "befa":
            adapter = model.feature_adapters[name]
            a = torch.tanh(torch.relu(x @ adapter.decouple.weight.T + adapter.decouple.bias))
            b = torch.relu(a @ adapter.filter.weight.T + adapter.filter.bias)
            logits = b @ adapter.recombine.weight.T + adapter.recombine.bias
        else:
            logits = x @ model.purifiers[m].weight.T + model.purifiers[m].bias
        view = item_graph @ (model.item_embedding / (1 + torch.exp(-logits)))
        views.append(torch.cat([block @ view, view]))
    final = content + sum(views) / len(views)
    ids = (batch["user_id"], model.n_users + batch["item_id"], model.n_users + batch["neg_item_id"])
    user, positive, negative = (final[index] for index in ids)
    loss = -torch.log(torch.sigmoid((user * (positive - negative)).sum(1))).mean()
    squares = sum(rows.square().sum() for rows in (user, positive, negative))
    return loss + config["reg_weight"] * 0.5 * squares / config["train_batch_size"]


def test_parameter_count_at_baby(tmp_path):
    """FREEDOM's published count with 512-wide features, two adapters and the unused attention's 4,224 (BeFA paper)."""
    model = build("BeFAHost", {**BABY, "widths": {"visual": 512, "textual": 512}}, tmp_path)
    assert count_parameters(model) == 8_980_544 + 197_760 + 4_224
