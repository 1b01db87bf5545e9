"""The declared keys of a multimodal data set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from recbole_mm.data.imputation import MissingModality
from recbole_mm.data.knock_out import KnockOut
from recbole_mm.graph.imputation import IMPUTERS
from recbole_mm.setting_conditions import ActsWhere, acts_where
from recbole_mm.settings import Count, Names, Real, Settings, Whole

Inner = Annotated[Real, Field(gt=0, lt=1)]
_MISSING = ActsWhere("missing_share", bool, "shares of modalities, such as {visual: 0.5}")
_COLD = ActsWhere("cold_items", bool, "a share of the items or natural")
_DRAWN = ActsWhere("cold_items", lambda value: isinstance(value, float), "a share of the items")


class DatasetSettings(Settings):
    """Keys of the data set."""

    modalities: Names | None = None
    """Modalities to use, such as [visual, textual]; all that have a file if not set. Where a paper treats its two
    modalities differently, the first has the part of the pictures; the default of modality_weights goes by names."""
    missing_modality: MissingModality = "mean"
    """Features of an item without a row; neighbor_mean to heat take them from items that users have with it."""
    missing_k: Annotated[Count, acts_where("missing_modality", *IMPUTERS)] = 10
    """Items used together with an item, itself among them, that its features are made of."""
    missing_steps: Annotated[Count, acts_where("missing_modality", *IMPUTERS[1:])] = 10
    """How often features are passed on along them."""
    missing_in_graphs: Literal["alone", "imputed"] = "alone"
    """Item graphs of features: an item without a row keeps itself alone, or takes part with what it got."""
    missing_share: dict[str, Inner] | None = None
    """Shares of the items that lose their row of a modality, such as {visual: 0.5}, as if the file lacked it."""
    missing_seed: Annotated[Whole, Field(ge=0, lt=2**32), _MISSING] | None = None
    """Seed that draws them; the run's if not set."""
    missing_together: Annotated[StrictBool, _MISSING] = False
    """Whether all modalities lose the same items, or each its own."""
    center_feature: bool = False
    """Subtract from every feature row the mean of the rows that items have."""
    standardize_feature: bool = False
    """Bring every feature column to mean 0 and standard deviation 1 over the items that have a row."""
    normalize_feature: bool = False
    """L2-normalise every feature row, after the columns are centred or standardised."""
    knock_out: dict[str, KnockOut] | None = None
    """What the features of modalities are replaced by before anything is built from them, such as {visual: shuffle}."""
    swap_valid_test: bool = False
    """Choose epochs on the test split and report the validation split, as DA-MRS's and DGMRec's rows on TikTok do."""
    cold_items: Inner | Literal["natural"] | None = None
    """Share of the items that are held out with all their interactions, half of them in validation and half in test;
    natural: those without a training interaction as the data are split. Test metrics are then of three candidate sets:
    all items, warm_ and cold_ ones alone."""
    cold_seed: Annotated[Whole, Field(ge=0, lt=2**32), _DRAWN] | None = None
    """Seed that draws the cold items; the run's if not set."""
    cold_negatives: Annotated[StrictBool, _COLD] = False
    """Whether cold items may be drawn as negative items in training."""
