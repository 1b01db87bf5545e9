"""DiffMM's formulae by dense matrices, for its test."""

from __future__ import annotations

import torch

from tests.reference import interactions


def with_loops(dense):
    """``D^-1/2 (A + I) D^-1/2`` of users and items, dense; [PAD] rows are zero."""
    n_users, n_items = dense.shape
    graph = torch.eye(n_users + n_items, dtype=torch.float64)
    graph[:n_users, n_users:], graph[n_users:, :n_users] = dense, dense.T
    graph[0, 0] = graph[n_users, n_users] = 0
    roots = graph.sum(1).clamp(min=1).rsqrt()
    return graph * roots[:, None] * roots


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def content_of(model, number, name):
    layer = model.projections[number]
    if isinstance(layer, torch.nn.Linear):
        return model.feature(name) @ layer.weight.T + layer.bias
    return torch.nn.functional.leaky_relu(model.feature(name) @ layer[0].weight.T, 0.2)


def dense_loss(run, batch):
    model, config = run.model, run.config
    u0, i0, n_users = model.user_embedding, model.item_embedding, model.n_users
    s = with_loops(interactions(run))
    w = torch.exp(model.modality_logits) / torch.exp(model.modality_logits).sum()
    fused, views = 0, []
    for number, name in enumerate(model.modalities):
        rebuilt = torch.zeros(n_users, model.n_items, dtype=torch.float64)
        for user in range(1, n_users):
            rebuilt[user, model.rebuilt_items[number, user]] = 1
        assert (rebuilt[1:, 1:].sum(1) == config["rebuilt_k"]).all()
        b = with_loops(rebuilt)
        torch.testing.assert_close(model.whole_graphs[number].to_dense(), b, rtol=1e-12, atol=0)
        if config["keep_rate"] < 1:
            b = model.training_graphs[number].to_dense()
        x = unit(content_of(model, number, name))
        a = s @ torch.cat([u0, x])
        a = a + s @ torch.cat([a[:n_users], i0])
        a = a + config["rebuilt_weight"] * (b @ torch.cat([u0, i0]))
        fused = fused + w[number] * a
        views.append(layer_sum(s, b @ torch.cat([u0, x]), config["n_layers"]))
    final = layer_sum(s, fused, config["n_layers"]) + config["residual_weight"] * unit(fused)
    users, positives, negatives = batch["user_id"], batch["item_id"], batch["neg_item_id"]
    rating = (final[users] * (final[n_users + positives] - final[n_users + negatives])).sum(1)
    size = config["train_batch_size"]
    loss = -torch.log(torch.sigmoid(rating)).sum() / size
    if config["reg_scope"] == "tables":
        squares = u0.square().sum() + i0.square().sum()
    else:
        squares = sum(rows.square().sum() for rows in (u0[users], i0[positives], i0[negatives])) / size
    loss = loss + config["reg_weight"] * squares
    if config["contrast"] == "final":
        pairs = [(final, view) for view in views]
    else:
        pairs = [(views[m], views[n]) for m in range(len(views)) for n in range(m + 1, len(views))]
    for x, y in pairs:
        for ids, rows in ((users, slice(0, n_users)), (positives, slice(n_users, None))):
            e = torch.exp(unit(x[rows])[ids] @ unit(y[rows])[1:].T / config["contrast_temperature"])
            own = e[torch.arange(len(ids)), ids - 1]
            loss = loss + config["contrast_weight"] * -torch.log(own / e.sum(1)).mean()
    return loss


def layer_sum(graph, nodes, n_layers):
    total = nodes
    for _ in range(n_layers):
        nodes = graph @ nodes
        total = total + nodes
    return total
