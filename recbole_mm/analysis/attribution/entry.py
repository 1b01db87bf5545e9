"""``analyse attribution``: which part of a picture a recommender uses, before and after its feature adapter (BeFA)."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from recbole_mm.analysis.attribution.becam import Becam
from recbole_mm.analysis.attribution.files import AttributionFiles
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.analysis.command import checkpoint_labels, positive_int
from recbole_mm.analysis.items import item_ids, item_pictures, item_titles
from recbole_mm.encoder import PictureError, load_encoder, open_picture
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.registry import register_analysis


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder", required=True, metavar="DIR_OR_NAME", help="the CLIP that made the features: folder or hub name"
    )
    parser.add_argument("--items", required=True, metavar="ID,ID", help="original ids of items, separated by commas")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="pictures <item_id>.jpg or .png (default: the folder images beside the .inter)",
    )
    parser.add_argument(
        "--modality", default="visual", help="whose features the encoder made (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=32, help="pictures encoded at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=positive_int, default=20, help="of the deletion and insertion curves (default: %(default)s)"
    )


@register_analysis(
    "attribution",
    help="maps of what a recommender uses in items' pictures, before and after its feature adapter (BeFA, BeCAM)",
    options=_options,
)
def run_attribution(checkpoints: list[OpenedCheckpoint], arguments: argparse.Namespace) -> list[Path]:
    """:func:`write_attribution` with the options of `analyse attribution`."""
    items = [item for item in (part.strip() for part in arguments.items.split(",")) if item]
    return write_attribution(
        checkpoints,
        arguments.encoder,
        items,
        arguments.out,
        images=arguments.images,
        modality=arguments.modality,
        batch=arguments.batch_size,
        steps=arguments.steps,
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
        encoder: folder or hub name of the encoder that made the features.
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
    becam = Becam(load_encoder(encoder).to(checkpoints[0].config["device"]), targets, steps, batch)
    files = AttributionFiles(out, targets, item_titles(dataset), str(encoder))
    return _attribute_all(becam, files, pictures, items)


def _targets(checkpoints: list[OpenedCheckpoint], modality: str) -> list[BehaviourCosines]:
    targets = []
    for opened, label in zip(checkpoints, checkpoint_labels(checkpoints), strict=True):
        if len(getattr(opened.model, "tuned", ())) > 0:
            raise ValueError(
                f"checkpoint {label}: its encoder was tuned with it, and attribution knows only encoders that were "
                f"not; analyse feature-drift takes this checkpoint"
            )
        targets.append(BehaviourCosines(opened, label, modality))
    return targets


def _attribute_all(becam: Becam, files: AttributionFiles, pictures: dict[str, Path], items: list[str]) -> list[Path]:
    """Fill and write the files, and warn of what they leave out and doubt; gives their paths."""
    with files:
        for item in tqdm(items, desc="attribution", unit="item", disable=None):
            _attribute(becam, files, pictures, item)
        written = files.finish()
    for warning in files.warnings():
        logging.getLogger(__name__).warning("%s", warning)
    return written


def _attribute(becam: Becam, files: AttributionFiles, pictures: dict[str, Path], item: str) -> None:
    """Hand one item's attributions to the files, or why there are none."""
    try:
        pixels = _pixels(becam, pictures, item)
        results = becam.attribute(pixels, item)
    except PictureError as error:
        files.leave_out(item, str(error))
    else:
        files.add(becam.encoder.to_colours(pixels.unsqueeze(0))[0], results)


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


def _pixels(becam: Becam, pictures: dict[str, Path], item: str) -> Tensor:
    """The preprocessed picture, ``[3, H, W]``; raises PictureError where there is none that can be read."""
    if item not in pictures:
        raise PictureError("there is no picture of it")
    return becam.encoder.preprocess([open_picture(pictures[item])])[0].to(becam.encoder.mean)
