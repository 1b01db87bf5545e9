"""DA-MRS against its formulae (KDD 2024)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestDAMRS(ModelConformance):
    model = "DAMRS"
    settings = {"knn_k": 4, "relation_size": 5}
    state_dict_keys = {"user_embedding", "item_embedding"}
    planted_epochs = 25


def test_parameter_count(tmp_path):
    """The two tables alone train: 1,695,680 of them on Baby."""
    shape = {**BABY, "widths": {"visual": 8, "textual": 8}}
    assert count_parameters(build("DAMRS", shape, tmp_path)) == 1_695_680


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "n_item_layers": 2, "knn_k": 2, "relation_temperature": 0.5},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"], "relation_size": 2},
        {"pos_mean_power": 1.5, "pos_var_power": 1.5, "neg_power": 0.5},
        {"relation_weight": 0.0},
        {"preference_weight": 0.0},
    ],
)
def test_loss_and_gradients(example, settings):
    """Tables of size 1 and weights of 1, so that confidences differ and no term hides behind another."""
    settings = {"knn_k": 4, "relation_size": 3, "relation_weight": 1.0, **settings}
    run = start_example("DAMRS", example, **settings)
    with torch.no_grad():
        for table in run.model.parameters():
            table[1:] = torch.randn(table[1:].shape, dtype=torch.float64)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_both_weights_are_at_work(example):
    run = start_example("DAMRS", example, knn_k=4, relation_size=3)
    with torch.no_grad():
        for table in run.model.parameters():
            table[1:] = torch.randn(table[1:].shape, dtype=torch.float64)
    _, _, weights = dense_parts(run, training_batch(run))
    assert all(weight.any() and not weight.bool().all() or weight.std() > 0 for weight in weights)
    assert weights[1].any()


def test_features_enter_by_the_graphs_alone(example):
    run = start_example("DAMRS", example, knn_k=4, relation_size=3)
    before = torch.cat(run.model.eval().encode())
    run.model.visual_feature.zero_()
    assert torch.equal(before, torch.cat(run.model.encode()))


def test_training_and_evaluation_score_alike(example):
    model = start_example("DAMRS", example, knn_k=4, relation_size=3).model
    assert torch.equal(torch.cat(model.encode()), torch.cat(model.eval().encode()))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"knn_k": 0}, "knn_k: 0 is not allowed"),
        ({"relation_size": 5}, "relation_size: 5 must be at most 4"),
        ({"relation_temperature": 0}, "relation_temperature: 0 is not allowed"),
        ({"pos_var_power": -1}, "pos_var_power: -1 is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("DAMRS", example, **{"knn_k": 3, "relation_size": 3, **settings})


def item_graphs(run):
    """All item graphs by dense matrices, from their definitions; random features and these counts have few ties."""
    model, n_items = run.model, run.model.n_items
    cosines = []
    for name in model.modalities:
        rows = run.dataset.modality_feature(name).double()[1:]
        rows = rows / rows.norm(dim=1, keepdim=True)
        cosines.append(rows @ rows.T)
    kept = torch.stack([matrix >= matrix.mean() for matrix in cosines]).all(0)
    graphs = []
    for cosine in cosines:
        graph = torch.zeros(n_items, n_items, dtype=torch.float64)
        for item, row in enumerate(torch.where(kept, cosine, -torch.inf)):
            count = min(run.config["knn_k"], int(kept[item].sum()))
            graph[item + 1, 1 + row.topk(count).indices] = 1
        graphs.append(graph)
    common = interactions(run).T @ interactions(run)
    together = torch.zeros(n_items, n_items, dtype=torch.float64)
    for item in range(1, n_items):
        others = [(-int(common[item, other]), other) for other in range(1, n_items)
                  if other != item and common[item, other] >= 2]  # fmt: skip
        together[item, [other for _, other in sorted(others)[:2]] + [item]] = 1
    assert together.sum() > n_items
    return [graph / torch.sqrt((graph.sum(1)[:, None] + 1e-7) * (graph.sum(1) + 1e-7)) for graph in [*graphs, together]]


def dense_parts(run, batch):
    model, config = run.model, run.config
    ego = torch.cat([model.user_embedding, model.item_embedding])
    nodes = mean_of_layers(symmetric_graph(interactions(run)), ego, config["n_layers"])
    users, items = nodes.split([model.n_users, model.n_items])
    graphs = item_graphs(run)
    for graph, expected in zip(model.item_graphs, graphs, strict=True):
        torch.testing.assert_close(graph.to_dense(), expected, rtol=1e-12, atol=1e-14)
    related = [torch.linalg.matrix_power(graph, config["n_item_layers"]) @ model.item_embedding for graph in graphs]
    with torch.no_grad():
        user = users[batch["user_id"]]
        p, q = (torch.stack([torch.sigmoid((user * unit(h)[batch[ids]]).sum(1)) for h in related])
                for ids in ("item_id", "neg_item_id"))  # fmt: skip
        mean = p.mean(0)
        variance = ((p - mean) ** 2).sum(0) / (len(p) - 1)
        positive = mean ** config["pos_mean_power"] * torch.exp(-config["pos_var_power"] * variance)
        negative = (p.max(0).values - q.mean()).clamp(min=0) ** config["neg_power"] * (mean < q.mean())
    return (users, items), related, (positive, negative)


def dense_loss(run, batch):
    """The loss with whole matrices, and logarithms where the text has them."""
    config = run.config
    (users, items), related, (positive_weight, negative_weight) = dense_parts(run, batch)
    mean_related = sum(related) / len(related)
    final = items + mean_related
    x = (users[batch["user_id"]] * (final[batch["item_id"]] - final[batch["neg_item_id"]])).sum(1)
    loss = -(positive_weight * torch.log(torch.sigmoid(x)) + negative_weight * torch.log(torch.sigmoid(-x))).mean()
    some_users = users[sorted(set(batch["user_id"].tolist()))]
    ids = sorted(set(batch["item_id"].tolist()) | set(batch["neg_item_id"].tolist()))
    g, c = (torch.sigmoid(some_users @ unit(table[ids]).T) for table in (items, mean_related))
    loss = loss + config["preference_weight"] * (kl(g, c) + kl(c, g)).mean()
    size, tau = config["relation_size"], config["relation_temperature"]
    cosines = [unit(table[ids]) @ unit(table[1:]).T for table in related]
    p = [torch.exp(matrix) / torch.exp(matrix).sum(1, keepdim=True) for matrix in cosines]
    terms = []
    for own, cosine in enumerate(cosines):
        mixed = 2 * p[own] + sum(probabilities for other, probabilities in enumerate(p) if other != own)
        for anchor in range(len(ids)):
            e = torch.exp(cosine[anchor] / tau)
            shared = np.argsort(-mixed[anchor].detach().numpy())[:size].tolist()
            rest = p[own][anchor].detach().clone()
            rest[shared] = 0
            separate = np.argsort(-rest.numpy())[:size].tolist()
            total, joint = e.sum(), e[shared].sum()
            terms.append(-torch.log(joint / total + 1e-9) - torch.log(e[separate].sum() / (total - joint) + 1e-9))
    return loss + config["relation_weight"] * torch.stack(terms).mean()


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def kl(p, q):
    return p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))
