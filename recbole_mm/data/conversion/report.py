"""What a conversion read, left out and why, and wrote: the summary at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recbole_mm.io.counting import counted


@dataclass
class Counts:
    """Interactions, and the users and items that have one."""

    interactions: int
    users: int
    items: int


@dataclass
class ModalityCounts:
    """Rows of a modality in the source and in its file, its width, and the items with interactions that have none."""

    modality: str
    source: str
    rows_read: int
    rows_written: int
    width: int
    dtype: str
    missing: int


@dataclass
class Report:
    """What a conversion did.

    Attributes:
        folder: of the data set.
        read, written: counts of the source and of the data set.
        dropped: interactions left out, by reason, in the order in which they were.
        splits: interactions of each split; empty where RecBole shall split.
        texts: items with texts, of the items written; None where the source has no texts.
        fields: of the `.item` file.
        modalities: a row for each.
        notes: anything else that is not as in the source.
        sources: files that items and features were read from.
        next_steps: commands for what the conversion leaves in the source.
    """

    folder: Path
    read: Counts
    written: Counts
    dropped: list[tuple[str, int]] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    texts: int | None = None
    fields: list[str] = field(default_factory=list)
    modalities: list[ModalityCounts] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: set[Path] = field(default_factory=set)
    next_steps: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        shown = ["                        read      written"]
        for name in ("interactions", "users", "items"):
            shown.append(f"  {name:<14}{getattr(self.read, name):>14,}{getattr(self.written, name):>13,}")
        shown += [f"  left out      {count:>14,}  interactions: {reason}" for reason, count in self.dropped]
        if self.splits:
            shown.append("  splits        " + ", ".join(f"{name} {count:,}" for name, count in self.splits.items()))
        if self.texts is not None:
            shown.append(
                f"  texts         {self.texts:,} of {self.written.items:,} items: fields {', '.join(self.fields)}"
            )
        shown += [_modality_line(modality, self.written.items) for modality in self.modalities]
        return shown + [f"  note          {note}" for note in self.notes]


def _modality_line(counts: ModalityCounts, n_items: int) -> str:
    left_out = counts.rows_read - counts.rows_written
    without = f"; {counted(left_out, 'row')} of items that are not in the data set left out" if left_out else ""
    missing = f"; {counts.missing:,} of {counted(n_items, 'item')} without" if counts.missing else ""
    return (
        f"  {counts.modality:<14}{counts.rows_read:>14,}{counts.rows_written:>13,}  rows of {counts.width} "
        f"{counts.dtype} values, from {counts.source}{without}{missing}"
    )
