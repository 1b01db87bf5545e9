"""Settings of DiffMM."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from recbole_mm.model.settings import ModelSettings
from recbole_mm.setting_conditions import ActsWhere, acts_where
from recbole_mm.settings import Count, Few, Layers, Positive, PositiveShare, Weight, Width


class DiffMMSettings(ModelSettings):
    """DiffMM (ACM MM 2024): its authors' settings for Baby."""

    n_layers: Layers = 1
    """Layers over the user-item graph, summed."""
    projection: Literal["matrix", "linear", "mixed"] = "matrix"
    """Of features: a matrix and a LeakyReLU, a linear layer, or the first modality's a matrix and the others linear."""
    reg_weight: Weight = 0.00001
    """Weight of the squares of the ID tables."""
    reg_scope: Annotated[Literal["tables", "batch"], acts_where("reg_weight")] = "tables"
    """Whose squares: those of whole tables in every batch, or of the batch's rows, over the batch size."""
    contrast: Annotated[Literal["modalities", "final"], acts_where("contrast_weight")] = "modalities"
    """What is contrasted: each two modalities' views, or the final vectors with each view."""
    contrast_weight: Weight = 0.1
    """Weight of the contrast."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.5
    """Temperature of the contrast."""
    residual_weight: Weight = 0.5
    """Weight of the normalised fused vectors beside the propagated ones."""
    rebuilt_weight: Weight = 0.2
    """Weight of the rebuilt graphs in the fused vectors."""
    rebuilt_k: Count = 1
    """Items per user in a rebuilt graph, those of training not left out."""
    keep_rate: PositiveShare = 1.0
    """Share of a rebuilt graph's entries that an epoch trains on."""
    eval_graph: Annotated[
        Literal["full", "as_trained"], ActsWhere("keep_rate", lambda share: share < 1, "a share below 1")
    ] = "full"
    """Rebuilt graphs that scores are computed on: whole, or the latest epoch's share of them (the public code)."""
    diffusion_steps: Few = 5
    """T, steps of the diffusion."""
    noise_scale: Positive = 0.1
    """What the bounds of the noise are multiplied by."""
    noise_min: Positive = 0.0001
    """Noise of the first step."""
    noise_max: Positive = 0.02
    """Noise of the last step."""
    denoiser_width: Few = 1000
    """Hidden width of the denoisers."""
    time_width: Width = 10
    """Width of the code of a step, an even number."""
    denoiser_normalise: bool = False
    """Whether denoisers take rows at unit length."""
    denoiser_learning_rate: Positive = 0.001
    """Learning rate of the denoisers' own Adam."""
    denoiser_batch_size: Count = 1024
    """Users in a batch of the denoisers."""
    content_weight: Weight = 0.01
    """Weight of the distance, in the denoisers' loss, between content that users' rows gather and their items' IDs."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 1024, "epochs": 50}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 50}
