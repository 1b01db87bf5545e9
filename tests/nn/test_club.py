"""CLUB against its formulae."""

from __future__ import annotations

import torch

from recbole_mm.nn.club import Club


def test_formulae():
    torch.manual_seed(0)
    club, x, y = Club(4).double(), torch.randn(5, 4).double(), torch.randn(5, 4).double()
    permutation = torch.tensor([2, 0, 1, 4, 3])
    bound, likelihood = [], []
    for row in range(5):
        hidden = torch.relu(club.mean[0](x[row]))
        mean = club.mean[2](hidden)
        variance = torch.exp(torch.tanh(club.log_variance[2](torch.relu(club.log_variance[0](x[row])))))
        own, other = (((mean - target) ** 2 / variance).sum() for target in (y[row], y[permutation[row]]))
        bound.append((other - own) / 2)
        likelihood.append(own + variance.log().sum())
    torch.testing.assert_close(club(x, y, permutation), torch.stack(bound).mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(club.likelihood_loss(x, y), torch.stack(likelihood).mean(), rtol=1e-12, atol=0)
    assert club(x, y, torch.arange(5)) == 0


def test_sizes_are_the_papers():
    assert sum(p.numel() for p in Club(64).parameters()) == 2 * (64 * 32 + 32 + 32 * 64 + 64)
