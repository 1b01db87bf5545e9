"""ContentEASE: the shallow autoencoder EASE (WWW 2019) with side information of items (RecSys 2020)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np

from recbole_mm.model.closed_form import ClosedFormRecommender, ItemWeights
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.content_similarity import UnitRows
from recbole_mm.nn.ridge import MOST_ITEMS, SingularMatrix, add_content_weights, ease_weights, gram_matrix, invert
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Positive, Share, Weight


class ContentEASESettings(ModelSettings):
    """EASE with side information (Jeunen, Van Balen and Goethals, RecSys 2020). Defaults are of the grid in
    ContentEASE.hyper, from which to choose on validation data.
    """

    combination: Literal["stacked", "added"] = "stacked"
    """Content as further rows of the regression (CEASE), or a regression of its own, added (Add-EASE)."""
    reg_weight: Weight = 100.0
    """lambda, weight of the squared norm of the weights."""
    content_weight: Annotated[Weight, acts_where("combination", "stacked")] = 100.0
    """alpha, weight of the content in the stacked regression; comparable with a number of users."""
    content_reg_weight: Annotated[Positive, acts_where("combination", "added")] = 100.0
    """lambda of the content's own regression, where they are added."""
    behaviour_share: Annotated[Share, acts_where("combination", "added")] = 0.5
    """gamma, share of the interactions' regression, where they are added."""

    defaults: ClassVar = {"epochs": 1, "train_neg_sample_args": None}


@register_model(
    settings=ContentEASESettings,
    paper="Closed-form models for collaborative filtering with side-information",
    year=2020,
    modalities="any number; without any it is EASE",
    needs="interactions, and features where there are any; solved, not trained",
)
class ContentEASE(ClosedFormRecommender):
    r"""Item-item weights B of least squares, none of an item for itself; the score is ``X B``.

    .. math::
        P = (X^T X + \alpha \sum_m F_m^T F_m + \lambda I)^{-1}, \quad
        B_{ij} = -P_{ij} / P_{jj} \; (i \ne j), \quad B_{jj} = 0

    Stacked (CEASE): the features ``F_m [width, n_items]``, centred over the items and of length 1 for each item, are
    further rows of the interactions X, as of so many users: :math:`\|X - XB\|^2 + \alpha \sum_m \|F_m - F_m B\|^2
    + \lambda \|B\|^2` is least. Added (Add-EASE): :math:`B = \gamma B_X(\lambda) + (1 - \gamma) B_F(\lambda_F)`, each
    of the closed form above. ``content_weight: 0`` and ``modalities: []`` give EASE (Steck, WWW 2019).

    Centring and length 1 are this implementation's choice, by which :math:`\alpha` does not depend on a modality's
    scale; an item without features in a modality has a column of zeros there, which pulls nothing. An item without
    interactions gets scores by content alone, and 0 from EASE. Exact, in float64: one matrix of ``8 n_items^2`` bytes
    and blocks; more than 40,000 items are refused.
    """

    settings: ContentEASESettings
    id_only_model = "EASE"

    def solve(self) -> ItemWeights:
        """The weights; raises ValueError for too many items, or a matrix without an inverse."""
        n = self.n_items - 1
        if n > MOST_ITEMS:
            raise ValueError(
                f"ContentEASE: {n:,} items need a matrix of {8 * n**2 / 1e9:.0f} GB; it takes up to {MOST_ITEMS:,}, "
                "filter the data with item_inter_num_interval"
            )
        parts = [UnitRows(*self.modality_rows(name)) for name in self.modalities]
        stacked = self.settings.combination == "stacked"
        weights = self._regression(parts if stacked and self.settings.content_weight else [])
        if parts and not stacked:
            share = self.settings.behaviour_share
            weights *= share
            add_content_weights(weights, parts, self.settings.content_reg_weight, 1 - share)
        return ItemWeights(weights)

    def _regression(self, parts: list[UnitRows]) -> np.ndarray:
        chosen = self.settings
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # which invert() tells
                return ease_weights(invert(gram_matrix(self.history, parts, chosen.content_weight, chosen.reg_weight)))
        except SingularMatrix:
            beside = f" beside content_weight: {chosen.content_weight:g}" if parts else ""
            less = ", or less content, such as content_weight: 100" if parts else ""
            raise ValueError(
                f"reg_weight: {chosen.reg_weight:g}{beside} leaves ContentEASE a matrix without an inverse; give more, "
                f"such as 30{less}"
            ) from None
        except OverflowError:
            raise ValueError(
                f"content_weight: {chosen.content_weight:g} with reg_weight: {chosen.reg_weight:g} gives "
                "ContentEASE a matrix beyond float64; give less, such as 100 of each"
            ) from None
