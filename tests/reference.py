"""A data set small enough to compute a model on by dense matrices: 12 users, 9 items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recbole_mm.testing.toy import PRE_SPLIT, Run, start, write_dataset

WIDTHS = {"visual": 5, "textual": 4, "acoustic": 3}


def write_example(folder: Path) -> Path:
    """12 users, 9 items, three modalities. User u11 has no training interaction, item i8 neither."""
    rng = np.random.default_rng(7)
    splits = {"train": [], "valid": [], "test": []}
    for user in range(11):
        items = rng.permutation(8)[: 2 + user % 4]
        splits["train"] += [(f"u{user}", f"i{item}") for item in items]
    splits["valid"] = [("u11", "i1"), ("u2", "i8")]
    splits["test"] = [("u11", "i2"), ("u3", "i8")]
    features = {
        name: {f"i{item}": rng.standard_normal(width) for item in range(9)} for name, width in WIDTHS.items()
    }
    return write_dataset(folder, splits, features)


def start_example(model: str, folder: Path, **settings) -> Run:
    """The model in float64 and in training mode, on the example written to `folder`."""
    merged = {**PRE_SPLIT, "modalities": ["visual", "textual"], "embedding_size": 6, **settings}
    run = start(model, folder, checkpoint_dir=str(folder / "saved"), **merged)
    run.model.double().train()
    return run


def training_batch(run: Run) -> dict[str, Tensor]:
    """Ten training interactions and a negative item for each: users and items occur several times."""
    edges = torch.from_numpy(np.random.default_rng(3).permutation(run.model.graph.n_edges)[:10])
    users, items = (torch.from_numpy(ids)[edges] for ids in (run.model.graph.users, run.model.graph.items))
    return {"user_id": users, "item_id": items, "neg_item_id": torch.tensor([4, 9, 4, 1, 7, 4, 2, 9, 9, 8])}


def interactions(run: Run) -> Tensor:
    """The training interactions as 0 and 1, ``[n_users, n_items]`` float64, row and column 0 [PAD]."""
    train = run.train_data._dataset.inter_feat
    dense = torch.zeros(run.model.n_users, run.model.n_items, dtype=torch.float64)
    dense[train["user_id"], train["item_id"]] = 1
    return dense


def symmetric_graph(dense: Tensor) -> Tensor:
    """``D^-1/2 A D^-1/2`` of users and items, dense; 1e-7 is added to each degree."""
    n_users, n_items = dense.shape
    adjacency = torch.zeros(n_users + n_items, n_users + n_items, dtype=dense.dtype)
    adjacency[:n_users, n_users:], adjacency[n_users:, :n_users] = dense, dense.T
    roots = (adjacency.sum(1) + 1e-7).rsqrt()
    return adjacency * roots[:, None] * roots


def mean_of_layers(graph: Tensor, nodes: Tensor, n_layers: int) -> Tensor:
    """LightGCN by dense products."""
    layers = [nodes]
    for _ in range(n_layers):
        layers.append(graph @ layers[-1])
    return torch.stack(layers).mean(0)


def assert_same_loss_and_gradients(
    run: Run, batch: dict, reference: Callable[[], Tensor], atol: float = 1e-12
) -> None:
    """The model's loss and the gradient of every parameter against those of `reference`, by autograd.

    Both are sums of at most a few thousand float64 terms in different orders: they agree to 1e-10.
    """
    results = []
    for loss_of in (lambda: run.model.calculate_loss(batch), reference):
        run.model.zero_grad()
        loss = loss_of()
        loss.backward()
        gradients = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in run.model.named_parameters()
        }
        results.append((loss.detach(), gradients))
    (loss, gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    assert any(gradient.any() for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient,
            expected_gradients[name],
            rtol=1e-9,
            atol=atol,
            msg=lambda text, name=name: f"{name}: {text}",
        )
