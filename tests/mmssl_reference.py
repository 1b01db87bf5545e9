"""MMSSL's formulae by dense matrices, for its test."""

from __future__ import annotations

import math

import torch

from tests.reference import interactions


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def softmax(rows):
    e = torch.exp(rows)
    return e / e.sum(-1, keepdim=True)


def fused(model, config, views):
    w = model.view_fusion.head_weight
    n_heads, d = config["n_heads"], w.shape[1]
    out = 0
    for view in views:
        for head in range(n_heads):
            value = view
            if config["attention"] == "cross":
                part = slice(head * d // n_heads, (head + 1) * d // n_heads)
                q = (view @ model.view_fusion.query_weight)[:, part]
                scores = [(q * (views[o] @ model.view_fusion.key_weight)[:, part]).sum(1) for o in range(len(views))]
                alpha = softmax(torch.stack(scores, dim=1) / math.sqrt(d / n_heads))
                value = sum(alpha[:, [o]] * views[o] for o in range(len(views)))
            out = out + value @ w[head * d : (head + 1) * d]
    return out / len(views)


def dense_forward(run, masks):
    model, config = run.model, run.config
    a_ui = interactions(run)
    r_u = a_ui * (a_ui.sum(1, keepdim=True) + 1e-8) ** -0.5
    r_i = a_ui.T * (a_ui.sum(0).unsqueeze(1) + 1e-8) ** -0.5
    content = []
    for number, (name, layer) in enumerate(zip(model.modalities, model.projections, strict=True)):
        x = (model.feature(name) @ layer.weight.T + layer.bias) * masks[number]
        content.append((r_u @ x, r_i @ (r_u @ x)))
    views_u, views_i = ([graph @ table for _ in model.modalities]
                        for graph, table in ((r_u, model.item_embedding), (r_i, model.user_embedding)))  # fmt: skip
    a = [model.user_embedding + config["view_weight"] * unit(fused(model, config, views_u))]
    b = [model.item_embedding + config["view_weight"] * unit(fused(model, config, views_i))]
    for layer in range(1, config["n_layers"] + 1):
        last = layer == config["n_layers"]
        a.append(softmax(r_u @ b[-1]) if last else r_u @ b[-1])
        b.append(softmax(r_i @ a[-1]) if last else r_i @ a[-1])
    users = torch.stack(a).mean(0) + config["content_weight"] * sum(unit(u) for u, _ in content)
    items = torch.stack(b).mean(0) + config["content_weight"] * sum(unit(i) for _, i in content)
    return users, items, content, views_u


def sim(run, users, user_table, item_table):
    return unit(user_table[users] @ item_table[1:].T * (1 - interactions(run)[users, 1:]))


def score(critic, rows, masks, slope):
    for layer, norm, mask in zip(critic.layers[:2], critic.norms, masks, strict=True):
        h = rows @ layer.weight.T + layer.bias
        h = torch.where(h > 0, h, slope * h)
        h = (h - h.mean(0)) / torch.sqrt(((h - h.mean(0)) ** 2).mean(0) + 1e-5) * norm.weight + norm.bias
        rows = h * mask
    return 100 * torch.sigmoid(rows @ critic.layers[2].weight.T + critic.layers[2].bias).squeeze(1)


def dense_loss(run, ids, masks, critic_masks):
    model, config = run.model, run.config
    users, positives, negatives = ids
    user_table, item_table, content, views = dense_forward(run, masks)
    u, i, k = user_table[users], item_table[positives], item_table[negatives]
    loss = -torch.log(torch.sigmoid((u * i).sum(1) - (u * k).sum(1))).mean()
    squares = sum(rows.square().sum() for rows in (u, i, k))
    loss = loss + config["reg_weight"] * 0.5 * squares / config["train_batch_size"]
    features = sum(xu.square().sum() + xi.square().sum() for xu, xi in content)
    loss = loss + config["feature_reg_weight"] * features / (2 * (model.n_items - 1))
    for view in views:
        z, y = unit(view[users]), unit(u)
        zz, zy = (torch.exp(z @ rows.T / config["contrast_temperature"]) for rows in (z, y))
        share = zy.diagonal() / (zz.sum(1) + zy.sum(1) - zz.diagonal())
        loss = loss + config["contrast_weight"] * -torch.log(share + 1e-8).mean()
    if config["adversarial_weight"]:
        fake = torch.cat([sim(run, users, *pair) for pair in content])
        opinion = score(model.critic, fake, critic_masks, config["critic_slope"]).mean()
        loss = loss - config["adversarial_weight"] * opinion
    return loss


def dense_critic_loss(run, users, masks, drawn):
    model, config = run.model, run.config
    with torch.no_grad():
        user_table, item_table, content, _ = dense_forward(run, masks)
        fake = torch.cat([sim(run, users, *pair) for pair in content])
        gumbel = -torch.log(-torch.log(drawn.uniform + 1e-8) + 1e-8)
        known = softmax(interactions(run)[users, 1:] + config["gumbel_weight"] / config["gumbel_temperature"] * gumbel)
        real = unit(known + config["real_weight"] * sim(run, users, user_table, item_table))
        real = torch.cat([real] * len(model.modalities))
    x = (drawn.alpha * real + (1 - drawn.alpha) * fake).requires_grad_()
    slope = config["critic_slope"]
    of_fake, of_real, of_x = (score(model.critic, rows, mask, slope) for rows, mask in
                              zip((fake, real, x), drawn.masks, strict=True))  # fmt: skip
    (gradient,) = torch.autograd.grad(of_x.sum(), x, create_graph=True)
    penalty = ((gradient.norm(dim=1) - 1) ** 2).mean()
    return of_fake.mean() - of_real.mean() + config["gradient_penalty"] * penalty
