"""Settings of DGMRec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from recbole_mm.model.settings import ModelSettings
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Few, Layers, Positive, Share, Weight


class DGMRecSettings(ModelSettings):
    """DGMRec (SIGIR 2025): its authors' settings for Baby."""

    trainable_features: bool = True
    """Whether a copy of the features is trained; missing rows are generated in either case."""
    n_layers: Layers = 3
    """Layers over the user-item graph."""
    n_item_layers: Layers = 2
    """Layers over the item graphs."""
    knn_k: Count = 10
    """Nearest items per item, itself included."""
    rebuild_epochs: Count = 5
    """Epochs between two renewals of the item graphs' rows of items without a modality."""
    rebuilt_share: Share = 0.4
    """lambda, share of the renewed graph in such a row."""
    id_reg_weight: Weight = 0.00001
    """Weight of the norms of the batch's propagated ID vectors."""
    reg_weight: Weight = 0.1
    """Weight of the norms of the batch's content."""
    reconstruction_weight: Weight = 0.1
    """Weight of the distance between features and those decoded from content."""
    club_weight: Weight = 0.01
    """Weight of the bound on what general and specific content share."""
    between_weight: Weight = 0.01
    """Weight of the contrast between modalities' general content."""
    within_weight: Weight = 0.01
    """Weight of the contrasts between users and their items."""
    align_weight: Weight = 0.01
    """Weight of the contrasts between propagated IDs and general content."""
    generation_weight: Weight = 0.1
    """Weight of what generators and translators are trained on; nothing where no item lacks a modality."""
    general_temperature: Positive = 0.4
    """t1, of contrasts of general content."""
    specific_temperature: Annotated[Positive, acts_where("within_weight")] = 0.2
    """t2, of contrasts of IDs, and of specific content."""
    align_temperature: Annotated[Positive, acts_where("align_weight")] = 0.4
    """t3, of contrasts of IDs with content."""
    third_within: Annotated[Literal["general", "specific"], acts_where("within_weight")] = "general"
    """Content of the third of three modalities in the contrast within: general, as the public code has it."""
    club_learning_rate: Annotated[Positive, acts_where("club_weight")] = 0.0001
    """Learning rate of the bounds' own Adam."""
    club_steps: Annotated[Few, acts_where("club_weight")] = 5
    """Steps of the bounds before each epoch."""
    club_items: Annotated[Count, acts_where("club_weight")] = 2048
    """Items in such a step."""

    aliases: ClassVar = {"n_ui_layers": "n_layers", "n_mm_layers": "n_item_layers"}
    defaults: ClassVar = {
        "learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000, "lr_decay": {"factor": 0.96, "epochs": 50},
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 30, "eval_step": 3}
