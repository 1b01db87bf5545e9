"""The settings of LUDP."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from recbole_mm.model.settings import ModelSettings
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Layers, Positive, Weight, Width


class LUDPSettings(ModelSettings):
    """LUDP (ACM TOMM 2023). The paper prints grids and no best values: learning rate, reg_weight and knn_k are from
    their middle, the batch is the largest, which trains fastest. What the paper leaves open has a recommended reading
    as its default; the others are named.
    """

    trainable_features: bool = True
    """The paper fine-tunes the features; its item graphs do not change."""
    n_layers: Layers = 2
    """LightGCN layers, summed with layer 0."""
    item_graph: bool = True
    """Whether items are enhanced by their similar items."""
    user_preference: bool = True
    """Whether users are enhanced by their items' features."""
    fusion: Literal["attention", "sum", "concat"] = "attention"
    """Modalities into one on both sides."""
    user_attention: Annotated[
        Literal["per_user", "shared"], acts_where("user_preference", True), acts_where("fusion", "attention")
    ] = "per_user"
    """Attention of the user side: its own per user, or shared by all users."""
    knn_k: Annotated[Count, acts_where("item_graph", True)] = 10
    """Similar items per item, itself included."""
    n_item_layers: Annotated[Layers, acts_where("item_graph", True)] = 1
    """Layers over the item graphs; best is 1 on TikTok, 2 on MovieLens."""
    item_graph_norm: Annotated[Literal["literal", "BIN", "WSYM"], acts_where("item_graph", True)] = "literal"
    """Edge value: literal is 1/sqrt(k) as printed, BIN 1/k, WSYM by cosine."""
    preference_scale: Annotated[Positive | None, acts_where("user_preference", True)] = None
    """Length of each modality's preference at the start, over that of the collaborative part; as drawn if not set."""
    preference_learning_rate: Weight | None = None
    """Learning rate of the user preference's maps and fusion alone; that of the rest if not set."""
    preference_size: Annotated[Width, acts_where("user_preference", True)] = 64
    """d', width of the preferences before they are mapped to d."""
    reg_weight: Weight = 0.001
    """lambda, weight of the regulariser."""
    l2_form: Annotated[Literal["batch_rows", "all_parameters"], acts_where("reg_weight")] = "batch_rows"
    """Of the batch's ID rows, or of all parameters as Eq. 15 prints."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 1024, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@10", "stopping_step": 10}
