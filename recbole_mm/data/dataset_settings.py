"""The declared keys of a multimodal data set."""

from __future__ import annotations

from typing import Literal

from recbole_mm.data.knock_out import KnockOut
from recbole_mm.settings import Names, Settings


class DatasetSettings(Settings):
    """Keys of the data set."""

    modalities: Names | None = None
    """Modalities to use, such as [visual, textual]; all that have a file if not set. Where a paper treats its two
    modalities differently, the first has the part of the pictures; the default of modality_weights goes by names."""
    missing_modality: Literal["mean", "zero", "error"] = "mean"
    """Features of an item without a row."""
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
