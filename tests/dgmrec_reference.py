"""DGMRec's formulae by dense matrices, for its test."""

from __future__ import annotations

import torch

from tests.graph_reference import kept_cosines, symmetric_by_rows
from tests.reference import interactions, mean_of_layers, symmetric_graph


def item_graph(feature, k, missing):
    """The similarity graph in which items without the modality are alone, normalised after that."""
    graph = kept_cosines(feature, k).clone()
    graph[missing] = 0
    graph[:, missing] = 0
    graph[missing, missing] = 1
    return symmetric_by_rows(graph)


def perturbed(rows, noise):
    return rows + rows.detach().sign() * noise / noise.norm(dim=1, keepdim=True) * 0.1


def dense_parts(model, config, dense=None):
    """Final users and items, and all parts by the letters of the text."""
    dense = train_matrix(model) if dense is None else dense
    sigma = torch.sigmoid
    ids = torch.cat([model.user_embedding, model.item_embedding])
    u, i = mean_of_layers(symmetric_graph(dense), ids, config["n_layers"]).split(list(dense.shape))
    parts = {name: [] for name in ("g", "s", "c", "gi", "si", "gu", "su")}
    degrees = dense.sum(1, keepdim=True)
    for m, name in enumerate(model.modalities):
        f = model.feature(name)
        p, q, ps = model.projections[m], model.specific_encoders[m], model.shared_encoder
        g = sigma(torch.tanh(f @ p.weight.T + p.bias) @ ps.weight.T + ps.bias)
        s = sigma(f @ q.weight.T + q.bias)
        c = dense.T @ torch.tanh(model.user_embedding @ model.filters[m].weight.T) / (dense.sum(0)[:, None] + 1e-7)
        graph = torch.linalg.matrix_power(model.item_graphs[m].to_dense(), config["n_item_layers"])
        gi, si = graph @ (c * g), graph @ (c * s)
        gu, su = (dense @ table / degrees.clamp(min=1) for table in (gi, si))
        for key, value in zip(parts, (g, s, c, gi, si, gu, su), strict=True):
            parts[key].append(value)
    count = len(model.modalities)
    users = u + (sum(parts["gu"]) / count + sum(parts["su"])) / (count + 1)
    items = i + (sum(parts["gi"]) / count + sum(parts["si"])) / (count + 1)
    return users, items, {**parts, "u": u, "i": i}


def train_matrix(model):
    dense = torch.zeros(model.n_users, model.n_items, dtype=torch.float64)
    dense[model.graph.users, model.graph.items] = 1
    return dense


def nce(x, y, tau):
    x, y = (rows / rows.norm(dim=1, keepdim=True) for rows in (x, y))
    e = torch.exp(x @ y.T / tau)
    return -torch.log(e.diagonal() / e.sum(1)).mean()


def mse(x, y):
    return ((x - y) ** 2).mean()


def dense_loss(run, ids, drawn):
    model, config = run.model, run.config
    dense = interactions(run)
    users, items, p = dense_parts(model, config, dense)
    u, i, k = ids
    loss = -torch.log(torch.sigmoid((users[u] * (items[i] - items[k])).sum(1))).mean()
    norms = [p["u"][u], p["i"][i], p["i"][k]]
    loss = loss + config["id_reg_weight"] * sum(rows.square().sum().sqrt() for rows in norms) / len(u)
    numbers = range(len(model.modalities))
    for m in numbers:
        loss = loss + config["reg_weight"] * (p["gi"][m] + p["si"][m])[i].square().sum().sqrt() / len(i)
        if config["reconstruction_weight"]:
            content = perturbed(torch.cat([p["gi"][m], p["si"][m]], dim=1).detach(), drawn.decoded[m])
            gap = mse(model.decoders[m](content)[1:], model.feature(model.modalities[m])[1:])
            loss = loss + config["reconstruction_weight"] * gap
    if config["club_weight"]:
        for m, club in enumerate(model.clubs.values()):
            x, y = p["si"][m][1:], p["gi"][m][1:]
            mean, variance = club.mean(x), torch.exp(club.log_variance(x))
            own, other = (((mean - target) ** 2 / variance).sum(1) for target in (y, y[drawn.permutations[m]]))
            loss = loss + config["club_weight"] * 0.5 * (other - own).mean()
    b = torch.tensor(sorted(set(i.tolist()) | set(k.tolist())))
    return loss + contrasts(model, config, p, u, i, b) + config["generation_weight"] * generation(model, p, b, drawn)


def contrasts(model, config, p, u, i, b):
    t1, t2, t3 = (config[f"{name}_temperature"] for name in ("general", "specific", "align"))
    numbers = range(len(model.modalities))
    there = [~model.missing[name][b] for name in model.modalities]
    between = torch.zeros((), dtype=torch.float64)
    for m in numbers:
        for n in range(m + 1, len(numbers)):
            both = b[there[m] & there[n]]
            between = between + nce(p["g"][m][both], p["g"][n][both], t1)
    if len(numbers) > 1:
        between = between + nce(p["gu"][0][u], p["gu"][1][u], t1)
    within = nce(p["u"][u], p["i"][i], t2) + nce(sum(p["gu"])[u], sum(p["gi"])[i], t1)
    for m in numbers:
        is_general = m == 2 and len(numbers) == 3 and config["third_within"] == "general"
        of_users, of_items = (p["gu"], p["gi"]) if is_general else (p["su"], p["si"])
        within = within + nce(of_users[m][u], of_items[m][i], t2)
    align = nce(p["i"][i], sum(p["gi"])[i], t3) + nce(p["u"][u], sum(p["gu"])[u], t3)
    return config["between_weight"] * between + config["within_weight"] * within + config["align_weight"] * align


def generation(model, p, b, drawn):
    """ADD; for three modalities translators take the two others cyclically."""
    total = torch.zeros((), dtype=torch.float64)
    if not drawn.filters:
        return total
    names = model.modalities
    there = [~model.missing[name][b] for name in names]
    everywhere = torch.stack(there).all(0)
    for m in range(len(names)):
        rows = there[m]
        made = model.generators[m](perturbed(p["c"][m][b[rows]], drawn.filters[m][rows]))
        total = total + mse(p["s"][m][b[rows]], made)
        if len(names) > 1:
            order = {2: [1 - m], 3: [(m + 1) % 3, (m + 2) % 3]}[len(names)]
            inputs = [perturbed(p["gi"][o][b[everywhere]], drawn.translated[m][slot][everywhere])
                      for slot, o in enumerate(order)]  # fmt: skip
            made = model.translators[m][0](torch.cat(inputs, dim=1))
            total = total + mse(p["gi"][m][b[everywhere]], made)
    return total
