"""From a converter to a data set: read, filtered, split and written the same way for every layout."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recbole_mm.data.conversion.atomic_table import write_header, write_rows
from recbole_mm.data.conversion.layout import SPLITS, Converter, Features, Interactions, each
from recbole_mm.data.conversion.notes import nearly_same, note_of_near, rounded, unread_files
from recbole_mm.data.conversion.progress import progress
from recbole_mm.data.conversion.report import Counts, Report
from recbole_mm.data.conversion.selection import outside_k_core, repeated
from recbole_mm.data.conversion.side_files import ItemIds, write_features, write_items
from recbole_mm.data.conversion.spill import Spill
from recbole_mm.data.conversion.splitting import global_time, leave_one_out, random_per_user
from recbole_mm.data.conversion.target import check_target
from recbole_mm.io.files import check_folder_writable, publish_folder, publish_new_folder, temporary_folder

ITEM_FIELDS = ("user_id", "item_id")


@dataclass(frozen=True)
class Selection:
    """Which interactions are kept, and how they are split.

    Attributes:
        min_rating: the least rating that counts as an interaction.
        duplicates: of several interactions of a user with an item, keep all, the first or the last.
        k_core: each user and item has at least as many interactions; 0 for all.
        split: `keep` the source's, where it has one (RecBole splits what has none), or a new one.
        ratios: shares of training, validation and test, of `random` and `time`.
        seed: of `random`.
    """

    min_rating: float | None = None
    duplicates: Literal["keep", "first", "last"] = "keep"
    k_core: int = 0
    split: Literal["keep", "none", "random", "leave-one-out", "time"] = "keep"
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 2020

    def __post_init__(self) -> None:
        if len(self.ratios) != 3 or not min(self.ratios) > 0 or not abs(sum(self.ratios) - 1) < 1e-6:
            shown = " ".join(str(ratio) for ratio in self.ratios)
            raise ValueError(f"--ratios: {shown} are no shares of training, validation and test; give 0.8 0.1 0.1")
        if self.k_core < 0:
            raise ValueError(f"--k-core: {self.k_core} is no number of interactions; give 5, or 0 for all")
        if self.seed < 0:
            raise ValueError(f"--seed: {self.seed} is no seed; give 0 or more")
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise ValueError(f"--min-rating: {self.min_rating} is no rating; give a number, such as 4")

    def shown(self) -> str:
        """For the plan."""
        parts = [f"ratings from {self.min_rating:g}"] if self.min_rating is not None else []
        parts += [f"the {self.duplicates} of repeated interactions"] if self.duplicates != "keep" else []
        parts += [f"{self.k_core}-core"] if self.k_core else []
        plain = {"keep": "split as in the source, if at all", "none": "not split"}
        split = plain.get(self.split, f"split: {self.split}")
        ratios = " ".join(f"{ratio:g}" for ratio in self.ratios)
        split += {"random": f" {ratios} per user, seed {self.seed}", "time": f" {ratios}"}.get(self.split, "")
        return ", ".join([*(parts or ["all interactions"]), split])


def convert_dataset(
    converter: Converter, name: str, out: Path, selection: Selection | None = None, *, overwrite: bool = False
) -> Report:
    """Make a RecBole data set of a source; it appears as the folder `out/name` when it is complete.

    Writes `name.inter`, or one `.inter` for each split; `name.item` where there are texts; `name.<modality>.arrow`;
    and `name.yaml` with the settings that a run reads by itself. Ids, texts and the values of times and ratings are
    the source's. Memory: the ids and about 20 bytes for each interaction; features and texts pass in blocks.

    Raises:
        OSError: the source cannot be read, or the target not written.
        ValueError: the target is occupied (and not to be overwritten); the source is bad (file and line are named);
            nothing is left of it, or nothing of a split.
    """
    selection = selection or Selection()
    target = out / name
    check_target(converter.source, name, target, overwrite, (converter.options.interactions, converter.options.items))
    check_folder_writable(out)
    with temporary_folder(target) as folder:
        work = folder / "work"
        work.mkdir()
        spill, sources = Spill(work), set[Path]()
        for chunk in progress(each(converter, "interactions", Interactions), "interactions"):
            spill.add(chunk)
            sources.add(chunk.source)
        spill.close()
        report = _write_dataset(converter, spill, folder, name, selection)
        report.folder = target
        report.notes += unread_files(converter.source, sources | report.sources, converter.also_reads)
        spill.path.unlink()
        work.rmdir()
        (publish_folder if overwrite else publish_new_folder)(folder, target)
    report.next_steps = converter.next_steps(target)
    return report


def _write_dataset(converter: Converter, spill: Spill, folder: Path, name: str, selection: Selection) -> Report:
    if not spill.rows:
        raise ValueError(f"{converter.interaction_source} holds no interactions; fill it")
    users, items = spill.column("user"), spill.column("item")
    kept, dropped = _select(converter, spill, users, items, selection)
    splits, notes = _split(converter, spill, users, kept, selection)
    for codes, what in ((spill.users.codes, "user"), (spill.items.codes, "item")):
        notes += note_of_near(nearly_same(codes, codes), what) + rounded(codes, what)
    written = Counts(int(kept.sum()), len(np.unique(users[kept])), len(np.unique(items[kept])))
    report = Report(folder, Counts(spill.rows, len(spill.users), len(spill.items)), written, dropped, notes=notes)
    columns = _write_interactions(spill, folder, name, kept, splits)
    if splits is not None:
        counts = np.bincount(splits[kept], minlength=3)
        report.splits = dict(zip(SPLITS, counts.tolist(), strict=True))
    kept_items = np.zeros(len(spill.items), dtype=bool)
    kept_items[items[kept]] = True
    ids = ItemIds(spill.items.codes, kept_items, converter.keeps_unused_items)
    write_items(converter, folder / f"{name}.item", ids, report)
    for features in each(converter, "features", Features):
        path = folder / f"{name}.{features.modality}.arrow"
        if path.exists():
            raise ValueError(f"{features.source}: the modality {features.modality} is there twice; rename one")
        report.modalities.append(write_features(features, path, ids, folder / "work", converter.source))
        report.sources.add(features.source)
    (folder / f"{name}.yaml").write_text(_settings(name, columns, bool(report.splits)), encoding="utf-8")
    return report


def _select(
    converter: Converter, spill: Spill, users: np.ndarray, items: np.ndarray, selection: Selection
) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Which interactions are kept, bool `[n]`, and how many were dropped for which reason."""
    kept = np.ones(spill.rows, dtype=bool)
    dropped: list[tuple[str, int]] = []

    def drop(mask: np.ndarray, reason: str) -> None:
        if count := int(mask.sum()):
            dropped.append((reason, count))
            kept[mask] = False

    if selection.min_rating is not None:
        if not spill.has_ratings:
            raise ValueError(f"--min-rating: {converter.interaction_source} has no ratings; name the column: --rating")
        drop(spill.column("rating") < selection.min_rating, f"rating below {selection.min_rating:g}")
    if selection.duplicates != "keep":
        drop(repeated(users, items, kept, selection.duplicates), f"repeated; the {selection.duplicates} is kept")
    if selection.k_core > 1 and kept.any():
        drop(outside_k_core(users, items, kept, selection.k_core), f"outside the {selection.k_core}-core")
    if not kept.any():
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in dropped)
        raise ValueError(f"{converter.interaction_source}: no interaction is left ({reasons}); ask for less")
    return kept, dropped


def _split(
    converter: Converter, spill: Spill, users: np.ndarray, kept: np.ndarray, selection: Selection
) -> tuple[np.ndarray | None, list[str]]:
    """The split of each interaction, int8 `[n]`, or None where RecBole shall split; and notes for the report."""
    notes = [f"{name} left out: only a part of the source has it" for name in spill.partly]
    if spill.dates:
        notes.append("dates became seconds since 1970 (UTC) in the column timestamp")
    if selection.split == "none":
        return None, notes
    if selection.split == "keep":
        if not spill.splits or "split" in spill.partly:
            return None, notes
        splits = spill.column("split")
        _check_source_splits(converter, spill)
    else:
        splits = np.zeros(spill.rows, dtype=np.int8)
        splits[kept] = _new_split(converter, spill, users[kept], kept, selection, notes)
    place = converter.interaction_source
    for label, split in enumerate(SPLITS):
        if not (splits[kept] == label).any():
            raise ValueError(f"{place}: the {split} split is empty; choose another --split or --ratios")
    return splits, notes


def _check_source_splits(converter: Converter, spill: Spill) -> None:
    absent = [split for split in SPLITS if split not in spill.splits]
    if absent:
        there, lacking = " and ".join(spill.splits), " and ".join(absent)
        raise ValueError(
            f"{converter.interaction_source} is split into {there}, without {lacking}; RecBole needs all three: split "
            "it anew with --split random, leave-one-out or time, or --split none"
        )


def _new_split(
    converter: Converter, spill: Spill, users: np.ndarray, kept: np.ndarray, selection: Selection, notes: list[str]
) -> np.ndarray:
    times = spill.column("timestamp")[kept] if spill.has_times and selection.split != "random" else None
    if selection.split == "random":
        return random_per_user(users, selection.ratios, selection.seed)
    if selection.split == "time":
        if times is None:
            raise ValueError(f"--split time: {converter.interaction_source} has no times; name the column: --time")
        return global_time(times, selection.ratios)
    if times is None:
        notes.append("there are no times: each user's last interaction is the last in the file")
    return leave_one_out(users, times)


def _write_interactions(
    spill: Spill, folder: Path, name: str, kept: np.ndarray, splits: np.ndarray | None
) -> list[str]:
    """Write the `.inter` files; returns the names of their columns."""
    import pyarrow as pa

    numbers = [column for column, there in (("rating", spill.has_ratings), ("timestamp", spill.has_times)) if there]
    ids = [pa.array(list(codes.codes), pa.string()) for codes in (spill.users, spill.items)]
    paths = [folder / f"{name}.inter"] if splits is None else [folder / f"{name}.{split}.inter" for split in SPLITS]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for file in files:
            write_header(file, ["user_id:token", "item_id:token", *(f"{number}:float" for number in numbers)])
        start = 0
        for batch in progress(spill.batches(), "writing"):
            here = slice(start, start + batch.num_rows)
            start += batch.num_rows
            for label, file in enumerate(files):
                mask = kept[here] if splits is None else kept[here] & (splits[here] == label)
                rows = batch.filter(pa.array(mask))
                columns = [known.take(rows.column(column)) for known, column in zip(ids, ("user", "item"), strict=True)]
                write_rows(file, [*columns, *(rows.column(number) for number in numbers)])
    return [*ITEM_FIELDS, *numbers]


def _settings(name: str, columns: list[str], is_split: bool) -> str:
    lines = [f"# Settings of {name}: runs of recbole_mm read them by themselves, plain RecBole as a config file."]
    if is_split:
        lines.append(f"benchmark_filename: [{', '.join(SPLITS)}]")
        columns = list(ITEM_FIELDS)
    lines += ["load_col:", f"  inter: [{', '.join(columns)}]"]
    return "\n".join(lines) + "\n"
