"""The settings that all models have, and those of late fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from recbole_mm.registry import ADAPTERS, NameIn
from recbole_mm.setting_conditions import ActsWhere, acts_where
from recbole_mm.settings import Few, Place, Positive, Settings, Weight, Width

SEVERAL_PROMPTS = ActsWhere("prompt_num", lambda number: number > 1, "a number above 1")


class ModelSettings(Settings):
    """Settings of a multimodal model; a model derives its own from these.

    Attributes:
        published: what its authors, or the public code that tables quote, stop training by: ``valid_metric``,
            ``stopping_step``, ``eval_step``. It holds under ``protocol: published``; by default all models of a
            comparison share one protocol.
    """

    published: ClassVar[Mapping[str, Any]] = {}

    embedding_size: Width = 64
    """Width d of user and item vectors."""
    trainable_features: bool = False
    """Whether a copy of the features is trained, from their values as loaded."""
    feature_adapter: Annotated[str, NameIn(ADAPTERS)] = "none"
    """Network behind the projected features."""
    adapter_projections: Literal["trained", "frozen"] = "trained"
    """frozen: the projections stay as drawn; with constant features, the adapters alone learn from these."""
    graph_dir: Place | None = None
    """Folder of the item and user graphs kept on disk; checkpoint_dir/graphs if not set."""


class LateFusionSettings(ModelSettings):
    """POWERec's components, which every model with one rating per modality takes."""

    user_embedding: Literal["separate", "shared", "prompted"] = "separate"
    """User tables: one per modality, one for all, or one with prompts per modality."""
    prompt_num: Annotated[Few, acts_where("user_embedding", "prompted")] = 1
    """Q, the prompts per modality of a prompted table."""
    prompt_pooling: Annotated[
        Literal["sum", "mean", "max"], acts_where("user_embedding", "prompted"), SEVERAL_PROMPTS
    ] = "sum"
    """How Q prompts become one."""
    prompt_scale: Annotated[Positive, acts_where("user_embedding", "prompted")] = 1.0
    """What the start of the prompts is multiplied by; at 1, Xavier's over few prompts outweighs the users' table."""
    weak_weight: Weight = 0.0
    """alpha, weight of POWERec's weak-modality loss."""
