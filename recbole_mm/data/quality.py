"""What in a data set costs quality, of its description: a line each, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from recbole_mm.io.counting import counted

LONG_ROWS = 10.0  # tanh and the sigmoid are flat there, and ID vectors begin with norms below 1
COMMON_DIRECTION = 0.5  # mean cosine of all pairs
DIFFERENT_LENGTHS = 10.0  # ratio of two modalities' median norms
MANY = 0.1  # share of rows or items


def warnings(description: dict[str, Any]) -> list[str]:
    """The lines for what `recbole_mm.data.describe.describe` counted."""
    lines = list(_of_interactions(description))
    for modality in description["modalities"]:
        lines += [f"{modality['name']}: {line}" for line in _of_modality(modality)]
    return lines + list(_between(description["modalities"]))


def _of_interactions(description: dict[str, Any]) -> Iterator[str]:
    if description["repeated"]:
        repeated = counted(description["repeated"], "interaction repeats", "interactions repeat")
        yield (
            f"{repeated} a pair of user and item; keep one with convert --duplicates first, or with rm_dup_inter: first"
        )
    cold = description["cold"]
    if cold is None:
        return
    if cold["leaked"]:
        yield (
            f"{cold['leaked']:,} of {cold['held_out']:,} interactions held out are in training too, which a ranking "
            "never gives again: remove them, or split again"
        )
    if cold["interactions"] > MANY * cold["held_out"]:
        yield (
            f"{cold['interactions'] / cold['held_out']:.0%} of the interactions held out are with items that training "
            "has not: a model without features cannot rank them"
        )


def _of_modality(modality: dict[str, Any]) -> Iterator[str]:
    rows, items = modality["rows"], modality["present"] + modality["missing"]
    if modality["non_finite"]:
        not_finite = counted(modality["non_finite"], "value is", "values are")
        yield f"{not_finite} not finite, which a run refuses; leave the items out"
    if modality["norms"] is not None and modality["norms"][1] > LONG_ROWS:
        yield (
            f"rows of norm {modality['norms'][1]:.3g} (median) saturate activations and outweigh ID vectors: try "
            "normalize_feature: True, which comes after standardize_feature: True where columns differ in scale"
        )
    if modality["mean_cosine"] is not None and modality["mean_cosine"] > COMMON_DIRECTION:
        yield (
            f"all rows point alike (mean cosine of pairs {modality['mean_cosine']:.2f}), so that similarities say "
            "little: try center_feature: True, or standardize_feature: True"
        )
    if modality["zero"]:
        zero = f"{counted(modality['zero'], 'row of zeros is', 'rows of zeros are')} taken as features"
        yield f"{zero}; leave them out: convert npy --zero-rows missing"
    if modality["duplicate"] > MANY * rows:
        yield f"{modality['duplicate'] / rows:.0%} of the rows equal another item's, as those of a placeholder do"
    if modality["missing"] > MANY * items:
        yield f"{modality['missing'] / items:.0%} of the items have no row; missing_modality says what they get"


def _between(modalities: list[dict[str, Any]]) -> Iterator[str]:
    usable = [modality for modality in modalities if modality["norms"] is not None and modality["norms"][1] > 0]
    for first, second in combinations(usable, 2):
        ratio = first["norms"][1] / second["norms"][1]
        if not 1 / DIFFERENT_LENGTHS < ratio < DIFFERENT_LENGTHS:
            longer, shorter = (first, second) if ratio > 1 else (second, first)
            yield (
                f"rows of {longer['name']} are {max(ratio, 1 / ratio):.3g} times as long as those of "
                f"{shorter['name']}, which counts where they are joined or summed: try normalize_feature: True"
            )
