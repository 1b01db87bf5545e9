"""Settings of MMSSL."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from recbole_mm.model.settings import ModelSettings
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Few, Layers, Positive, Rate, Real, Share, Weight


class MMSSLSettings(ModelSettings):
    """MMSSL (WWW 2023): its authors' one set of values for all data sets."""

    n_layers: Layers = 2
    """Layers over the user-item graph, with a softmax over the last one's features, and their mean with layer 0."""
    attention: Literal["identity", "cross"] = "identity"
    """Between modalities' views: none, as the public code computes, or heads that weigh the other views."""
    n_heads: Few = 4
    """Heads of the attention; of identity, matrices whose sum maps the views."""
    graph_refresh: Literal["code", "epoch"] = "code"
    """Modality graphs: as the public code renews them, which leaves them empty, or of a whole epoch's similar pairs."""
    refreshed_share: Share = 0.0001
    """Share of all items that a renewed graph has per user: rounded down by code, up by epoch."""
    view_weight: Weight = 0.36
    """Weight of the normalised modality views in layer 0."""
    content_weight: Weight = 0.55
    """Weight of the normalised propagated features in the final vectors."""
    feature_dropout: Rate = 0.2
    """Dropout of projected features."""
    reg_weight: Weight = 0.00001
    """Weight of the squares of the batch's final rows."""
    feature_reg_weight: Weight = 0.00001
    """Weight of the squares of propagated features."""
    contrast_weight: Weight = 0.03
    """Weight of the contrast of modality views with final vectors."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.5
    """Temperature of the contrast."""
    adversarial_weight: Weight = 0.0001
    """Weight of the critic's opinion of modalities' similarities; 0 leaves the critic out."""
    critic_learning_rate: Annotated[Positive, acts_where("adversarial_weight")] = 0.0003
    """Learning rate of the critic's own Adam."""
    critic_slope: Annotated[Real, Field(ge=0, le=1), acts_where("adversarial_weight")] = 1.0
    """Slope of the critic's LeakyReLU; 1, as in the public code, is none."""
    critic_dropout: Annotated[Rate, acts_where("adversarial_weight")] = 0.31
    """Dropout behind the critic's first layer."""
    critic_second_dropout: Annotated[Rate, acts_where("adversarial_weight")] = 0.5
    """Dropout behind its second."""
    gradient_penalty: Annotated[Weight, acts_where("adversarial_weight")] = 0.3
    """Weight of the penalty on the critic's gradient."""
    gumbel_weight: Annotated[Weight, acts_where("adversarial_weight")] = 0.00001
    """Weight of the noise on real rows, before it is divided by gumbel_temperature."""
    gumbel_temperature: Annotated[Positive, acts_where("adversarial_weight"), acts_where("gumbel_weight")] = 0.005
    """Temperature of that noise."""
    real_weight: Annotated[Weight, acts_where("adversarial_weight")] = 100.0
    """Weight of the final vectors' similarities in real rows."""

    defaults: ClassVar = {
        "learning_rate": 0.00055, "learner": "adamw", "weight_decay": 0.01, "train_batch_size": 1024, "epochs": 1000,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 7}
