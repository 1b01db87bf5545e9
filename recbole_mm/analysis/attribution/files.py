"""The files of `analyse attribution`: contact sheets, raw maps, tables and the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from recbole_mm.analysis.attribution.becam import MAPS, PERTURBATIONS, RANKINGS, SCORES, Attribution
from recbole_mm.analysis.attribution.encoder_check import doubts
from recbole_mm.analysis.attribution.figures import COLOURS, draw_curves, heat_map
from recbole_mm.analysis.attribution.page import ItemPictures, write_attribution_page
from recbole_mm.analysis.attribution.tables import area_rows, summary_rows
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.analysis.command import write_csv
from recbole_mm.analysis.contact_sheet import Card, contact_sheet
from recbole_mm.analysis.figures import FORMATS, save_figure
from recbole_mm.io.files import atomic_file, publish_folder, temporary_folder

ITEMS_A_SHEET = 4  # two rows each, of 420 pixels
AREA_HEADER = ["checkpoint", "item_id", "title", "map", "score", "whole_picture", "deletion_area", "insertion_area"]
SHOWN = ("plain", "adapted")
SUMMARY_HEADER = "checkpoint map score items deletion_mean deletion_sd insertion_mean insertion_sd".split()


class AttributionFiles:
    """Collects the attributions of items; a context, at whose end nothing half-written is left.

    Args:
        out: folder, made where it does not exist; heat maps go into its folder `attribution-pictures`, which is
            replaced as a whole.
        targets: the checkpoints.
        titles: by original item id.
        encoder: its folder or name.
    """

    def __init__(self, out: Path, targets: list[BehaviourCosines], titles: dict[str, str], encoder: str):
        self.out = out
        self.targets = targets
        self.labels = [target.label for target in targets]
        self.titles = titles
        self.encoder = encoder
        self.results: list[Attribution] = []
        self.left_out: dict[str, str] = {}
        self.doubts: list[str] = []  # known when it is finished
        self._pictures: list[ItemPictures] = []
        self._stack = ExitStack()

    def __enter__(self) -> AttributionFiles:
        self.out.mkdir(parents=True, exist_ok=True)
        self._folder = self.out / "attribution-pictures"
        self._temporary = self._stack.enter_context(temporary_folder(self._folder))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def leave_out(self, item: str, reason: str) -> None:
        """Note an item without a usable picture."""
        self.left_out[item] = reason

    def add(self, colours: np.ndarray, results: list[Attribution]) -> None:
        """Take the attributions of one item, one per checkpoint, and draw them over its picture ``[H, W, 3]``."""
        item = results[0].item
        # numbered, because two ids can be the same file name where case does not count, and cut, as ids have no limit
        stem = f"{len(self._pictures) + 1:04d}-{quote(item, safe='')[:80]}"
        original = self._save(colours, f"{stem}.png")
        heat = []
        for number, result in enumerate(results, start=1):
            names = (f"{stem}-{number}-{name.replace(' ', '-')}.png" for name in MAPS)
            sizes = np.abs(result.maps[:2]).max(axis=(1, 2))  # centred maps are differences of numbers of this size
            shown = (
                heat_map(colours, map_values, size)
                for map_values, size in zip(result.maps, [*sizes, *sizes], strict=True)
            )
            heat.append([self._save(pictures, name) for pictures, name in zip(shown, names, strict=True)])
        cosines = [result.cosines for result in results]
        self._pictures.append(ItemPictures(item, self.titles.get(item, ""), original, heat, cosines))
        self.results.extend(results)

    def _save(self, colours: np.ndarray, name: str) -> str:
        from PIL import Image

        Image.fromarray(colours).save(self._temporary / name)
        return name

    def warnings(self) -> list[str]:
        """What was left out and what is doubted, a line each; known when it is finished."""
        return [*(f"item {item} is left out: {why}" for item, why in self.left_out.items()), *self.doubts]

    def finish(self) -> list[Path]:
        """Write everything; raises ValueError where no item could be attributed, and then writes nothing."""
        if not self.results:
            reasons = "; ".join(f"{item}: {reason}" for item, reason in self.left_out.items())
            raise ValueError(f"no item has a picture that can be used ({reasons})")
        publish_folder(self._temporary, self._folder)
        sheets = self._write_sheets()
        curves = save_figure(draw_curves(self.results, self.labels), self.out / "attribution-curves.png")
        raw = self.out / "attribution-maps.npz"
        self._write_raw(raw)
        tables = self._write_tables()
        self.doubts = list(doubts(self.results, self.labels))
        shown = write_attribution_page(
            self.out / "attribution.html",
            self.targets,
            list(summary_rows(self.results, self.labels)),
            encoder=self.encoder,
            doubts=self.doubts,
            left_out=self.left_out,
            sheets=sheets,
            folder=self._folder,
            items=self._pictures,
            curves=curves,
            data=[*tables, raw],
        )
        return [shown, *sheets, *curves, raw, *tables, self._folder]

    def _write_sheets(self) -> list[Path]:
        for old in self.out.iterdir():  # of a run of more items
            if re.fullmatch(rf"attribution-sheet-\d+\.({'|'.join(FORMATS)})", old.name):
                old.unlink()
        sheets = []
        for first in range(0, len(self._pictures), ITEMS_A_SHEET):
            part = self._pictures[first : first + ITEMS_A_SHEET]
            figure, _ = contact_sheet([row for pictures in part for row in self._sheet_rows(pictures)], COLOURS)
            sheets += save_figure(figure, self.out / f"attribution-sheet-{first // ITEMS_A_SHEET + 1}.png")
        return sheets

    def _sheet_rows(self, pictures: ItemPictures) -> Iterator[tuple[str, list[Card]]]:
        """The original and the maps of each checkpoint: plain, then adapted; below, those of centred weights."""
        original = Card("original", "", self._folder / pictures.original)
        for centred, heading in enumerate((pictures.heading, f"Item {pictures.item}, centred weights")):
            cards = [original]
            for adapted, name in enumerate(SHOWN):
                for target, heat, cosines in zip(self.targets, pictures.heat, pictures.cosines, strict=True):
                    note = f"{name}, cosine {cosines[adapted]:.3f}"
                    if adapted and not target.has_adapter:
                        note = "no adapter: as plain"
                    cards.append(Card(target.label, note, self._folder / heat[2 * centred + adapted]))
            yield heading, cards

    def _write_raw(self, file: Path) -> None:
        """Arrays by name; the first two axes of each are the checkpoints and the items."""
        shape = (len(self._pictures), len(self.labels))
        arrays = {
            name: np.stack([getattr(result, name) for result in self.results])
            .reshape(*shape, *like.shape)
            .swapaxes(0, 1)
            for name in ("cosines", "maps", "curves")
            for like in [getattr(self.results[0], name)]
        }
        axes = {
            "checkpoint_names": self.labels,
            "item_ids": [picture.item for picture in self._pictures],
            "map_names": RANKINGS,
            "score_names": SCORES,
            "curve_names": PERTURBATIONS,
        }
        arrays.update((name, np.asarray(values, str)) for name, values in axes.items())
        with atomic_file(file) as temporary, open(temporary, "wb") as sink:
            np.savez_compressed(sink, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle

    def _write_tables(self) -> list[Path]:
        areas, summary, left_out, features = (
            self.out / f"attribution{end}.csv" for end in ("", "-summary", "-left-out", "-features")
        )
        write_csv(areas, AREA_HEADER, area_rows(self.results, self.titles))
        write_csv(summary, SUMMARY_HEADER, summary_rows(self.results, self.labels))
        write_csv(left_out, ["item_id", "reason"], self.left_out.items())
        write_csv(
            features,
            ["checkpoint", "item_id", "cosine_with_data_set", "length_over_data_sets"],
            ([result.label, result.item, result.feature_cosine, result.length_ratio] for result in self.results),
        )
        return [areas, summary, left_out, features]
