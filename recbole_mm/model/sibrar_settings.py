"""The settings of SiBraR."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from recbole_mm.model.settings import ModelSettings
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Names, Positive, Rate, Weight, Whole, Width, Widths

INTERACTIONS = "interactions"
NormEvery = Annotated[Whole, Field(ge=-1, le=100)]


class SiBraRSettings(ModelSettings):
    """SiBraR (RecSys 2024), the small form of public code. contrast_weight, contrast_temperature, weight_decay and
    learning_rate: within the searched ranges.
    """

    common_width: Width | None = None
    """c, width behind each modality's first map; embedding_size if not set."""
    hidden_widths: Widths | None = None
    """Hidden layers of the shared network; one of embedding_size if not set."""
    dropout: Rate = 0.2
    """On the shared network's input."""
    norm_every: NormEvery = 0
    """Batch normalisation after each n-th layer; 0: on the output; -1: before the output's activation."""
    normalize_inputs: bool = False
    """L2-normalise the shared network's input."""
    output_activation: bool = False
    """ReLU on the shared network's output."""
    sampling: Literal["pairwise", "central", "single"] = "pairwise"
    """Modalities drawn for each item of a batch: any two, the central one and another, or one and no contrast."""
    central_modality: Annotated[str, acts_where("sampling", "central")] = INTERACTIONS
    """Which one is central: interactions, or a modality's name."""
    aggregation: Annotated[Literal["mean", "max"], acts_where("sampling", "pairwise", "central")] = "mean"
    """Of the drawn modalities' vectors."""
    contrast_weight: Annotated[Weight, acts_where("sampling", "pairwise", "central")] = 0.0001
    """lambda, weight of the contrast of the two drawn modalities."""
    contrast_temperature: Annotated[
        Positive, acts_where("sampling", "pairwise", "central"), acts_where("contrast_weight")
    ] = 0.1
    """tau, of the contrast."""
    user_encoder: Literal["rows", "table", "branch"] = "rows"
    """One layer over the user's interactions, an ID table, or a single branch of its own."""
    user_hidden_widths: Annotated[Widths | None, acts_where("user_encoder", "branch")] = None
    """Hidden layers of the user's branch; one of embedding_size if not set."""
    user_dropout: Annotated[Rate, acts_where("user_encoder", "branch")] = 0.2
    """On the input of the user's branch."""
    user_norm_every: Annotated[NormEvery, acts_where("user_encoder", "branch")] = 0
    """norm_every of the user's branch."""
    user_normalize_inputs: Annotated[bool, acts_where("user_encoder", "branch")] = False
    """normalize_inputs of the user's branch."""
    mask_target: bool = False
    """Whether a user is left out of the interactions of the positive item it is trained on."""
    warm_negatives: bool = True
    """Whether negative items without training interactions are drawn again."""
    eval_modalities: Names | None = None
    """What items are scored by: interactions and modalities' names; all that an item has if not set."""

    defaults: ClassVar = {
        "learning_rate": 0.001, "train_batch_size": 2560, "epochs": 50, "learner": "adamw", "weight_decay": 0.0001,
        "train_neg_sample_args": {
            "distribution": "uniform", "sample_num": 10, "alpha": 1.0, "dynamic": False, "candidate_num": 0,
        },
    }  # fmt: skip
    aliases: ClassVar = {"temperature": "contrast_temperature"}
    published: ClassVar = {"valid_metric": "NDCG@10", "stopping_step": 5}
