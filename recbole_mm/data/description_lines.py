"""What `describe` counts, as lines for a terminal."""

from __future__ import annotations

from typing import Any

from recbole_mm.io.counting import counted


def format_description(description: dict[str, Any]) -> str:
    """The counts of `describe` as lines for a terminal."""
    splits = ", ".join(f"{name} {count:,}" for name, count in description["splits"].items())
    lines = [
        f"{description['name']} ({description['folder']})",
        f"  users         {description['users']:,}",
        f"  items         {description['items']:,}",
        f"  interactions  {description['interactions']:,}" + (f" ({splits})" if splits else ""),
        f"  sparsity      {description['sparsity']:.4%}",
    ]
    if description["cold"] is not None:
        cold = description["cold"]
        lines.append(
            f"  cold          {counted(cold['items'], 'item')} and {counted(cold['users'], 'user')} without training; "
            f"{cold['interactions']:,} of {cold['held_out']:,} interactions held out are with such items"
        )
    for modality in description["modalities"]:
        lines += _format_modality(modality)
    if not description["modalities"]:
        lines.append("  no modality files; make one with: python -m recbole_mm convert --help")
    lines += [f"  warning       {warning}" for warning in description["warnings"]]
    return "\n".join(lines)


def _format_modality(modality: dict[str, Any]) -> list[str]:
    norms = modality["norms"]
    cosine = "no pairs" if modality["mean_cosine"] is None else f"{modality['mean_cosine']:.3f}"
    shown = "none finite" if norms is None else "min {:.4g}, median {:.4g}, max {:.4g}".format(*norms)
    return [
        f"  {modality['name']}: {modality['file']} ({modality['form']}, {modality['size_mb']:.1f} MB)",
        f"    width         {modality['width']}, {modality['dtype']}",
        f"    rows          {modality['rows']:,}: {counted(modality['present'], 'item')} present, "
        f"{modality['missing']:,} missing, {modality['without_interactions']:,} without interactions",
        f"    bad rows      {modality['zero']:,} zero, {modality['duplicate']:,} duplicate; "
        f"{modality['non_finite']:,} non-finite values",
        f"    norms         {shown}",
        f"    cosine        mean of all pairs of items {cosine}",
        f"    encoder       {modality['encoder'] or 'not stated'}",
    ]
