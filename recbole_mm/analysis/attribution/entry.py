"""``analyse attribution``: which part of a picture a recommender uses, before and after its feature adapter (BeFA)."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_mm.analysis.attribution.becam import Becam
from recbole_mm.analysis.attribution.files import AttributionFiles
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.analysis.command import by_label
from recbole_mm.analysis.items import item_ids, item_pictures, item_titles
from recbole_mm.analysis.options import add_images, analysis, positive_int
from recbole_mm.encoder import ImageEncoder, PictureError, TunedTower, load_encoder, open_picture
from recbole_mm.encoder.pretrained import encoder_folder, revision
from recbole_mm.extraction.pixel_cache import PixelCache
from recbole_mm.io.pictures import open_picture_file
from recbole_mm.load import OpenedCheckpoint


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder", required=True, metavar="DIR_OR_NAME", help="the encoder that made the features: folder or hub name"
    )
    parser.add_argument(
        "--items", type=_ids, required=True, metavar="ID,ID", help="original ids of items, separated by commas"
    )
    add_images(parser)
    parser.add_argument(
        "--modality", default="visual", help="whose features the encoder made (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", dest="batch", type=positive_int, default=32, metavar="BATCH_SIZE",
        help="pictures encoded at a time (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive_int, default=20, help="of the deletion and insertion curves (default: %(default)s)"
    )


def _ids(text: str) -> list[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]


@analysis(
    "attribution",
    help="maps of what a recommender uses in items' pictures, before and after its feature adapter (BeFA, BeCAM)",
    options=_options,
)
def write_attribution(
    checkpoints: list[OpenedCheckpoint],
    encoder: str | Path,
    items: list[str],
    out: Path,
    *,
    images: Path | None = None,
    modality: str = "visual",
    batch: int = 32,
    steps: int = 20,
) -> list[Path]:
    """Write maps, heat maps, contact sheets, curves, tables and `attribution.html`, which shows them; gives all paths.

    An item whose picture is missing or unreadable is left out and listed, on the page and in a table. Projected are
    the encoder's own features, also where a model has trained copies of them since.

    Args:
        checkpoints: of models that project `modality` by themselves. Without a feature adapter, the adapted map is
            the plain one.
        encoder: folder or hub name of the one that made the features. A checkpoint tuned with it (PTMRec) has its own.
        items: original ids.
        out: folder, made where it does not exist.
        images: folder of pictures by item id; None takes the data set's own.
        modality: whose features the encoder made.
        batch: pictures encoded at a time.
        steps: of the deletion and insertion curves.

    Raises:
        ValueError: a checkpoint or the encoder does not fit, an item is unknown, or no picture is readable.
        FileNotFoundError: `images` does not exist or has no picture of any of the items.
    """
    items = list(dict.fromkeys(items))
    _require_known(items, checkpoints)
    targets = _targets(checkpoints, modality)
    dataset = checkpoints[0].dataset
    pictures = item_pictures(dataset, items, images)
    becams = [Becam(tower, of_tower, steps, batch) for tower, of_tower in _towers(encoder, targets)]
    analysed = [target for becam in becams for target in becam.targets]
    files = AttributionFiles(out, analysed, item_titles(dataset), str(encoder))
    return _attribute_all(becams, files, _Pixels.of_checkpoint(checkpoints[0], becams[0].encoder, pictures), items)


def _picture_cache(opened: OpenedCheckpoint) -> Path:
    """Where extraction and tuning have left resized pictures, if they have."""
    return Path(opened.config["picture_cache"] or Path(opened.config["checkpoint_dir"]) / "pictures")


def _towers(
    encoder: str | Path, targets: list[BehaviourCosines]
) -> Iterator[tuple[ImageEncoder, list[BehaviourCosines]]]:
    """Each tower, on their device, with the checkpoints it is of: first the encoder's as it is, then those tuned.

    Raises ValueError where a checkpoint was tuned with another encoder.
    """
    frozen, device = load_encoder(encoder), targets[0].opened.config["device"]
    untuned = [target for target in targets if target.tuned_encoder is None]
    if untuned:
        yield frozen.to(device), untuned
    for target in targets:
        tuned = target.tuned_encoder
        if tuned is not None:
            folder_revision = revision(encoder, encoder_folder(encoder))
            if tuned.facts["revision"] != folder_revision:
                raise ValueError(
                    f"--encoder: checkpoint {target.label} was tuned with encoder {tuned.facts['encoder']} of another "
                    f"revision ({tuned.facts['revision']}); give that one"
                )
            yield TunedTower(tuned).to(device), [target]


def _targets(checkpoints: list[OpenedCheckpoint], modality: str) -> list[BehaviourCosines]:
    return [BehaviourCosines(opened, label, modality) for label, opened in by_label(checkpoints).items()]


def _attribute_all(becams: list[Becam], files: AttributionFiles, pixels: _Pixels, items: list[str]) -> list[Path]:
    """Fill and write the files, and warn of what they leave out and doubt; gives their paths."""
    with files:
        for item in tqdm(items, desc="attribution", unit="item", disable=None):
            _attribute(becams, files, pixels, item)
        written = files.finish()
    for warning in files.warnings():
        logging.getLogger(__name__).warning("%s", warning)
    return written


def _attribute(becams: list[Becam], files: AttributionFiles, pixels: _Pixels, item: str) -> None:
    """Hand one item's attributions to the files, or why there are none."""
    try:
        picture = pixels.of(item)
        results = [result for becam in becams for result in becam.attribute(picture, item)]
    except PictureError as error:
        files.leave_out(item, str(error))
    else:
        files.add(becams[0].encoder.to_colours(picture.unsqueeze(0))[0], results)


def _require_known(items: list[str], checkpoints: list[OpenedCheckpoint]) -> None:
    if not items:
        raise ValueError("--items: give at least one item id")
    for opened in checkpoints:
        ids = item_ids(opened.dataset)
        known = set(ids)
        unknown = [item for item in items if item not in known]
        if unknown:
            raise ValueError(
                f"--items: data set '{opened.dataset.dataset_name}' has no item {', '.join(unknown)}; its ids are such "
                f"as {ids[0]}"
            )


@dataclass(frozen=True)
class _Pixels:
    """The preprocessed pictures of items, the same for all encoders, which are one before they are tuned."""

    encoder: ImageEncoder
    files: dict[str, Path]
    cache: PixelCache | None

    @classmethod
    def of_checkpoint(cls, opened: OpenedCheckpoint, encoder: ImageEncoder, files: dict[str, Path]) -> _Pixels:
        """With those that runs of the checkpoint's folder have resized."""
        preparation = encoder.preparation
        return cls(encoder, files, None if preparation is None else PixelCache(_picture_cache(opened), preparation))

    def of(self, item: str) -> Tensor:
        """``[3, H, W]``; raises PictureError where there is none that can be read."""
        if item not in self.files:
            raise PictureError("there is no picture of it")
        with open_picture_file(self.files[item]) as file:
            content = file.read()
        digest = hashlib.sha256(content).hexdigest()
        preparation = self.encoder.preparation
        if preparation is not None and self.cache is not None and digest in self.cache:
            pixels = preparation.normalised(torch.from_numpy(self.cache[digest].copy()))
        else:
            pixels = self.encoder.preprocess([open_picture(self.files[item], content)])[0]
        return pixels.to(self.encoder.mean)
