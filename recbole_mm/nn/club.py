"""CLUB: an upper bound of the mutual information of two vectors (Cheng et al., ICML 2020), as DGMRec uses it."""

from __future__ import annotations

from torch import Tensor, nn


class Club(nn.Module):
    """A Gaussian with a diagonal variance that predicts y of x.

    Args:
        size: width of x and y; half of it is the hidden width of both networks.
    """

    def __init__(self, size: int):
        super().__init__()
        hidden = max(1, size // 2)
        self.mean = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.log_variance = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size), nn.Tanh())

    def forward(self, x: Tensor, y: Tensor, permutation: Tensor) -> Tensor:
        r"""The bound, a scalar: half the mean over rows of how much worse the prediction is of another row's y.

        .. math:: \tfrac{1}{2} \mathrm{mean}_i \sum_d [(\mu(x_i) - y_{\pi i})^2 - (\mu(x_i) - y_i)^2] / \sigma^2(x_i)

        Args:
            x, y: ``[n, size]``.
            permutation: pi, ``[n]``.
        """
        mean, log_variance = self.mean(x), self.log_variance(x)
        gaps = (mean - y[permutation]).square() - (mean - y).square()
        return (gaps / log_variance.exp()).sum(dim=1).mean() / 2

    def likelihood_loss(self, x: Tensor, y: Tensor) -> Tensor:
        r"""What both networks learn by: ``mean_i \sum_d (\mu(x_i) - y_i)^2 / \sigma^2(x_i) + \ln \sigma^2(x_i)``."""
        mean, log_variance = self.mean(x), self.log_variance(x)
        return ((mean - y).square() / log_variance.exp() + log_variance).sum(dim=1).mean()
