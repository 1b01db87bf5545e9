"""MARGO: modality reliability guided multimodal recommendation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.backbone_model import BackboneModel, BackboneModelSettings
from recbole_mm.model.late_fusion import ModalityRatings, late_fusion_models
from recbole_mm.model.recommender import TERM
from recbole_mm.nn.calibration import calibration_loss, confidence, log_reliability
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Positive, Weight


class MARGOSettings(BackboneModelSettings):
    """MARGO: the paper's settings; alpha per data set is not printed."""

    backbone: str = "DRAGON"
    """Late-fusion model: DRAGON, DualGNN, VBPR, GRCN, POWERec or one of yours."""
    user_weights: bool = False
    """DRAGON's per-user modality weights, which item weights replace."""
    calibration_weight: Annotated[Weight, acts_where("item_weights", True)] = 0.1
    """alpha, weight of the calibration loss; 0 is the paper's "w/o L_cal"."""
    temperature: Annotated[Positive, acts_where("item_weights", True), acts_where("calibration_weight")] = 5
    """tau of the confidence, in {0.1, 1, 5, 10}; best 5."""
    weak_weight: Weight = 0
    """POWERec's weak-modality loss, which MARGO's loss does not have: always 0."""
    item_weights_learning_rate: Weight | None = None
    """Learning rate of the item weights alone, in stage two; at that of the rest, Adam hardly moves them."""
    item_weights: bool = True
    """False is "w/o weight": stage one alone."""
    two_stage: Annotated[bool, acts_where("item_weights", True)] = True
    """False is "w/o two-stage": stage two from scratch."""
    stop_gradient: Annotated[bool, acts_where("item_weights", True), acts_where("calibration_weight")] = True
    """False is "w/o nograd": gradients through reliability and confidence."""
    joint: Annotated[
        Literal["sum", "mean"],
        acts_where("item_weights", True),
        acts_where("calibration_weight"),
        acts_where("stop_gradient", False),
    ] = "sum"
    """What calibration holds reliability against, of the two items' weights; tells only without the stop-gradient."""
    log_base: Annotated[Positive, Field(gt=1)] = 2.718281828459045
    """Base of the logarithm in BPR; DRAGON uses 2."""
    reg_weight: Weight = 0.1
    """beta, weight of the backbone's regulariser, in {0.01, 0.1, 1}."""

    defaults: ClassVar = {"learning_rate": 0.0001, "train_batch_size": 2048, "epochs": 100}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=MARGOSettings,
    paper="Modality reliability guided multimodal recommendation",
    year=2025,
    modalities="those of the backbone; at least two ratings per pair",
    backbones=("DRAGON", "DualGNN", "VBPR", "GRCN", "POWERec", "any late-fusion model"),
    staged=True,
)
class MARGO(ModalityRatings, BackboneModel):
    r"""Per-item modality weights over a late-fusion backbone, supervised by how reliably each modality ranks.

    Stage one trains the backbone with the sum of its ratings, stage two goes on with weights
    :math:`w_i = \mathrm{softmax}_m(W_i)` per item and the calibration loss:

    .. math::
        y_{ui} = \sum_m w_i^m y^m_{ui}, \quad
        L = L_{rec} + \alpha\, \mathrm{mean}\, \gamma\, KL(z \,\|\, w_i + w_k)
            + \beta L_{reg}

    with the reliability vector z of the unweighted margins and the confidence gamma of the weighted margin
    (Eqs. 1 to 10), neither of which passes a gradient.

    Keys: ``calibration_weight`` (alpha; 0 is "w/o L_cal"), ``temperature`` (tau), ``item_weights`` (False is
    "w/o weight", stage one alone), ``two_stage`` (False is "w/o two-stage"), ``stop_gradient`` (False is "w/o nograd"),
    ``joint`` (``mean`` for ``(w_i + w_k) / 2``). ``item_weights_learning_rate: 0`` leaves the weights at one half:
    what is then gained is the halved rating's, and the new optimizer's.

    Log and TensorBoard have, per epoch of stage two: ``L_rec`` and ``L_cal``, the mean ``gamma``, ``weights_sd`` (the
    standard deviation over items of their weights, mean over modalities) and ``gradient_cosine`` (of the two losses'
    gradients with respect to the weights, in the epoch's first batch).
    """

    settings: MARGOSettings

    trainer_class = "recbole_mm.trainer.staged.StagedTrainer"
    kind_of_backbone = "a late-fusion model"
    refusal = "has no rating per modality, which MARGO weights"
    without_stage_two = "item_weights: False"
    other_parameter_name = [*BackboneModel.other_parameter_name, "stage"]

    @classmethod
    def backbones(cls) -> list[str]:
        """Names of the late-fusion models."""
        return late_fusion_models()

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        if self.settings.weak_weight:
            raise ValueError(
                f"weak_weight: {self.settings.weak_weight} is of a loss that MARGO's does not have (Eq. 10: ranking, "
                "calibration and regulariser); leave it at 0"
            )
        self.rated_modalities = self.backbone.rated_modalities
        self.temperature: float = self.settings.temperature
        self.calibration_weight: float = self.settings.calibration_weight
        self.stop_gradient: bool = self.settings.stop_gradient
        self.joint: str = self.settings.joint
        self.log_base: float = self.settings.log_base
        self.stages = self.stages_for(self.settings)
        if "two" in self.stages and len(self.rated_modalities) < 2:
            raise ValueError(
                f"stage two weights modalities against each other, and {self.backbone_name} rates only "
                f"{self.rated_modalities}; use two modalities, or item_weights: False for stage one alone"
            )
        self.item_logits = nn.Parameter(0.01 * torch.randn(self.n_items, len(self.rated_modalities)))
        self.enter_stage(self.stages[0])

    @staticmethod
    def stages_for(settings: MARGOSettings) -> tuple[str, ...]:
        """The stages of a run with these settings."""
        if not settings.item_weights:
            return ("one",)
        return ("one", "two") if settings.two_stage else ("two",)

    def enter_stage(self, stage: str) -> None:
        """Begin a stage: ``one`` sums the ratings, ``two`` weights them per item."""
        self.stage = stage
        self.item_logits.requires_grad_(stage == "two")

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The item weights, and the backbone's."""
        own = [self.item_logits] if self.item_logits.requires_grad else []
        return {**super().parameter_groups(), "item_weights": own}

    def item_weights(self) -> Tensor | None:
        """``w_i^m [n_items, M]`` in stage two; None in stage one, where ratings are summed."""
        return None if self.stage == "one" else self.item_logits.softmax(dim=-1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the (weighted) ratings, calibration and the backbone's regulariser, as batch means."""
        users, positives, negatives = self.batch(interaction)
        user, *rows = self.backbone.batch_vectors(users, positives, negatives)
        positive, negative = ((user * row).sum(dim=-1) for row in rows)
        margins = positive - negative
        regularisation = self.backbone.regularisation(users, positives, negatives)
        if self.backbone.loss_reduction == "sum":
            regularisation = regularisation / len(users)
        if not self.backbone.has_recorded(f"{TERM}regularisation"):  # as parts of it, where it has several
            self.record(loss_regularisation=regularisation)
        if self.stage == "one":
            ranking = bpr_loss(margins.sum(dim=-1), base=self.log_base)
            self.record(loss_ranking=ranking)
            return ranking + regularisation
        of_positive, of_negative = (logits.softmax(dim=-1) for logits in gather(self.item_logits, positives, negatives))
        rating_margin = (of_positive * positive).sum(dim=-1) - (of_negative * negative).sum(dim=-1)
        ranking = bpr_loss(rating_margin, base=self.log_base)
        self.record(L_rec=ranking, loss_ranking=ranking)
        if not self.calibration_weight:
            return ranking + regularisation
        if self.stop_gradient:
            margins, rating_margin = margins.detach(), rating_margin.detach()
        gamma = confidence(rating_margin, margins, self.temperature)
        calibration = calibration_loss(log_reliability(margins), gamma, of_positive, of_negative, self.joint)
        weighted = self.calibration_weight * calibration
        self.record(L_cal=calibration, loss_calibration=weighted, gamma=gamma.mean())
        if self.training and not self.has_recorded("gradient_cosine"):
            self.record(gradient_cosine=self._gradient_cosine(ranking, calibration))
        return ranking + regularisation + weighted

    def _gradient_cosine(self, term: Tensor, other: Tensor) -> Tensor:
        """Of the gradients of two losses with respect to the item weights' logits."""
        first, second = (
            torch.autograd.grad(loss, self.item_logits, retain_graph=True)[0].flatten() for loss in (term, other)
        )
        return F.cosine_similarity(first, second, dim=0)

    def records(self) -> dict[str, float]:
        """As of every model, and the spread of the item weights."""
        weights = self.item_weights()
        spread = {} if weights is None else {"weights_sd": weights.detach()[1:].std(dim=0).mean().item()}  # row 0 pads
        return {**super().records(), **spread}
