"""MENTOR by dense matrices, from its formulae (AAAI 2025)."""

from __future__ import annotations

from itertools import combinations

import torch

from tests.dual_reference import log2_loss, user_vectors
from tests.graph_reference import exact_symmetric_graph, kept_cosines
from tests.reference import interactions


class Draws:
    """Draws the same values in the same order at each start."""

    def __init__(self, rate=None):
        self.rate, self.generator = rate, torch.Generator().manual_seed(8)

    def __call__(self, like):
        drawn = torch.rand(like.shape, generator=self.generator, dtype=torch.float64)
        return drawn if self.rate is None else (drawn >= self.rate) / (1 - self.rate)


def dense_graphs(run):
    """S of users and items and the weighted item graph, dense."""
    config, modalities = run.config, run.model.modalities
    weights = config["modality_weights"] or {1: [1.0], 2: [0.1, 0.9], 3: [1 / 3] * 3}[len(modalities)]
    features = [run.dataset.modality_feature(name).double() for name in modalities]
    graphs = [(kept_cosines(feature, config["knn_k"]) != 0).double() / config["knn_k"] for feature in features]
    items = sum(weight * graph for weight, graph in zip(weights, graphs, strict=True))
    return exact_symmetric_graph(interactions(run)), torch.linalg.matrix_power(items, config["n_item_layers"])


def project(layers, feature):
    first, _, second = layers
    hidden = feature @ first.weight.T + first.bias
    return torch.where(hidden > 0, hidden, 0.01 * hidden) @ second.weight.T + second.bias


def branch(run, preference, content, noise=None):
    """``out = x + a + b + ...`` of one branch, ``[N, d]``; the noise of each layer ``[L, N, d]``."""
    graph, _ = dense_graphs(run)
    x = torch.cat([preference, content])
    total = layer = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    for depth in range(run.config["n_layers"]):
        layer = graph @ layer
        if noise is not None:
            r = noise[depth]
            layer = layer + 0.1 * torch.sign(layer).detach() * r / r.norm(dim=1, keepdim=True)
        total = total + layer
    return total


def dense_branches(run):
    """``Z^m`` of each modality."""
    model = run.model
    users = user_vectors(model).unbind(1)
    contents = [project(layers, model.feature(name)) for name, layers in zip(model.modalities, model.projections,
                                                                              strict=True)]  # fmt: skip
    return [branch(run, *pair) for pair in zip(users, contents, strict=True)]


def view(run, branches, weights):
    """The view of some branches side by side, ``[N, M * d]``; weights ``[n_users, M]`` or 1."""
    n_users = run.model.n_users
    users = torch.cat([z[:n_users] * (weights[:, [m]] if torch.is_tensor(weights) else weights)
                       for m, z in enumerate(branches)], dim=1)  # fmt: skip
    items = torch.cat([z[n_users:] for z in branches], dim=1)
    return torch.cat([users, items + dense_graphs(run)[1] @ items])


def dense_fused(run, branches):
    return view(run, branches, run.model.user_fusion)


def gap(x, y):
    return (x.var() - y.var()).abs() + (x.mean() - y.mean()).abs()


def without_pad(run, rows):
    n_users = run.model.n_users
    return torch.cat([rows[1:n_users], rows[n_users + 1 :]])


def dense_loss(run, batch):
    model, config = run.model, run.config
    n_modalities, n_users = len(model.modalities), model.n_users
    branches = dense_branches(run)
    fused = dense_fused(run, branches)
    user, positive, negative = (
        fused[batch["user_id"]], fused[n_users + batch["item_id"]], fused[n_users + batch["neg_item_id"]]
    )  # fmt: skip
    products = (user * (positive - negative)).split(6, dim=1)
    loss = log2_loss(torch.stack([part.sum(1) for part in products], dim=1), config["weak_weight"])
    squares = [(table[batch["user_id"]] ** 2).mean() for table in model.user_embedding.tables]
    loss = loss + config["reg_weight"] * (sum(squares) + (model.user_fusion[1:] ** 2).mean())
    if config["align_weight"]:
        ids = branch(run, model.id_encoder.preference, project(model.id_encoder.projection, model.item_embedding))
        views = [view(run, [z] * n_modalities, 1.0) for z in [ids, *branches]]
        rows = [without_pad(run, table) for table in [*views, fused]]
        loss = loss + config["align_weight"] * sum(gap(x, y) for x, y in combinations(rows, 2))
    if config["mask_weight"]:
        loss = loss + config["mask_weight"] * dense_masking(run, fused)
    if config["contrast_weight"]:
        loss = loss + config["contrast_weight"] * dense_contrast(run, batch)
    return loss


def dense_masking(run, fused):
    model, draw, total = run.model, Draws(rate=0.5), 0.0
    for rows in (fused[1 : model.n_users], fused[model.n_users + 1 :]):
        mapped = rows @ model.mask_map.weight.T + model.mask_map.bias
        masked = rows * draw(rows)
        cosines = (masked * mapped).sum(1) / (masked.norm(dim=1) * mapped.norm(dim=1)).clamp(min=1e-8)
        total = total + 1 - cosines.mean()
    return total if run.config["feature_mask_gradient"] else total.detach()


def dense_contrast(run, batch):
    """Noise by twin from the layers' noises, and InfoNCE with all rows or the batch's as negatives."""
    model, config = run.model, run.config
    n_modalities, draw = len(model.modalities), Draws()
    like = torch.empty(model.graph.n_nodes, 2 * n_modalities, 6)
    noise = torch.stack([draw(like) for _ in range(config["n_layers"])])
    twins = []
    for number in range(2):
        branches = []
        for m, name in enumerate(model.modalities):
            preference, layers = user_vectors(model)[:, m], model.projections[m]
            if not config["shared_twins"]:
                encoder = model.twins[2 * m + number]
                preference, layers = encoder.preference, encoder.projection
            content = project(layers, model.feature(name))
            branches.append(branch(run, preference, content, noise[:, :, 2 * m + number]))
        twins.append(dense_fused(run, branches))
    total = 0.0
    for ids, stop in ((batch["user_id"], model.n_users), (model.n_users + batch["item_id"], model.graph.n_nodes)):
        if config["contrast_scope"] == "all":
            ids = torch.arange(1 if stop == model.n_users else model.n_users + 1, stop)
        a, b = (twin[ids] / twin[ids].norm(dim=1, keepdim=True) for twin in twins)
        e = torch.exp(a @ b.T / config["contrast_temperature"])
        total = total - torch.log(e.diagonal() / e.sum(1)).mean()
    return total
