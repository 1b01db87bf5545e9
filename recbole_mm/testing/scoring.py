"""What the scores of every model must be, trained or solved in closed form."""

from __future__ import annotations

import torch

from recbole_mm.testing.model_runs import ModelRuns
from recbole_mm.testing.toy import Run


class ScoringConformance(ModelRuns):
    """Its scores of all items, finite and those of single pairs.

    Attributes:
        score_tolerance: between both, relative and absolute. One is a matrix product, the other a sum of products:
            float32 rounding over a few dozen terms.
    """

    score_tolerance = (1e-4, 1e-5)

    def test_scores_are_finite_and_pad_is_never_recommended(self, run: Run) -> None:
        scores = self.scores(run)
        assert torch.isfinite(scores[:, 1:]).all()
        assert (scores[:, 0] == -torch.inf).all()

    def test_full_sort_equals_predict(self, run: Run) -> None:
        scores = self.scores(run)
        users, items = torch.meshgrid(
            torch.arange(1, run.dataset.user_num), torch.arange(1, run.dataset.item_num), indexing="ij"
        )
        run.model.eval()
        with torch.no_grad():
            predicted = run.model.predict({"user_id": users.flatten(), "item_id": items.flatten()})
        rtol, atol = self.score_tolerance
        torch.testing.assert_close(predicted.view(users.shape), scores[:, 1:], rtol=rtol, atol=atol)
