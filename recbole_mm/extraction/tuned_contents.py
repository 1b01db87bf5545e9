"""A data set's pictures and texts behind the dual encoder that makes their features and is tuned in part."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from torch import Tensor, nn

from recbole_mm.data.feature_file import find_modalities
from recbole_mm.data.file_form import FileForm
from recbole_mm.encoder import DualEncoder, TuningSettings, load_dual_encoder, tune
from recbole_mm.encoder.pretrained import clear_errors, encoder_folder, revision
from recbole_mm.extraction.contents import Contents, MissingContent, Pictures, Texts
from recbole_mm.extraction.item_inputs import ItemInputs, check_made_by, image_inputs, text_inputs
from recbole_mm.extraction.prepared_pictures import PreparedPictures, prepared
from recbole_mm.io.errors import memory_errors
from recbole_mm.registry import TUNINGS

Source = tuple[type[Pictures] | type[Texts], tuple[Any, ...]]  # a kind of contents and where they are


class TunedContents:
    """Features of items, encoded now. The contents are read when they are first asked for.

    Texts are kept as tokens, and pictures as bytes on the disk, for further runs too
    (:class:`~recbole_mm.extraction.pixel_cache.PixelCache`).

    Args:
        settings: PTMRec's.
        dataset: whose items these are.
        widths: of the modalities in use; those that the encoder makes are among them.
        config: the keys of a plugin's way of tuning.

    Attributes:
        encoder: the tuned encoder.

    Raises:
        ValueError: the encoder makes none of the modalities, or did not make their features.
    """

    KEYS: ClassVar = (  # settings that say what is read
        *("encoder", "peft", "tune_encoder", "modalities", "image_modality", "text_modality", "images", "text_fields"),
    )

    def __init__(self, settings: Any, dataset: Dataset, widths: dict[str, int], config: Config):
        encoder = load_dual_encoder(settings.encoder)
        self.encoder: DualEncoder = tune(encoder, settings.peft, _tuning_settings(settings, config))
        self.encoder.checkpoints_gradients = settings.gradient_checkpointing
        self._settings = settings
        self._picture_cache = Path(settings.picture_cache or Path(config["checkpoint_dir"]) / "pictures")
        self._sources = _sources(settings, Path(dataset.dataset_path), widths)
        self._scalings = {modality: dataset.modality_scaling(modality) for modality in self._sources}
        for modality in self._sources:
            file = Path(dataset.dataset_path) / f"{dataset.dataset_name}.{modality}.arrow"
            check_made_by(self.encoder, file, modality, widths[modality])
        self._ids = list(map(str, dataset.field2id_token[dataset.iid_field]))
        self._inputs: dict[str, ItemInputs] = {}

    @staticmethod
    def check(settings: Any, folder: Path, modalities: Collection[str]) -> None:
        """Raise, before data are loaded, where a data set's folder has no pictures or texts that settings ask for."""
        for kind, where in _sources(settings, folder, modalities).values():
            kind(*where)

    @staticmethod
    def digests(settings: Any, config: Mapping[str, Any]) -> dict[str, str]:
        """A digest of the encoder, and of all contents of each kind, by what they are; raises as :meth:`check`."""
        settings.check()
        if not settings.has_encoder:
            return {}
        folder, modalities = Path(config["data_path"]), config["modalities"]
        if modalities is None:
            modalities = find_modalities(folder, config["dataset"], FileForm.of_settings(config))
        with clear_errors(settings.encoder):
            found = {f"the encoder {settings.encoder}": revision(settings.encoder, encoder_folder(settings.encoder))}
        for kind, where in _sources(settings, folder, modalities).values():
            name = f"pictures in {settings.images or 'images'}" if kind is Pictures else f"texts of {where[1]}"
            found[f"the {name}"] = _digest_of_all(kind(*where))
        return found

    @property
    def modalities(self) -> list[str]:
        """Those that the encoder makes."""
        return list(self._sources)

    def tunable(self) -> dict[str, nn.Parameter]:
        """What of the encoder trains, by name."""
        return self.encoder.tunable()

    def find(self) -> dict[str, Pictures | Texts]:
        """Pictures and texts by modality, not yet read; raises where there are none, before hours are trained."""
        return {modality: kind(*where) for modality, (kind, where) in self._sources.items()}

    def inputs(self, modality: str) -> ItemInputs:
        """Pixels or tokens of all items that have contents."""
        if not self._inputs:
            self._read()
        return self._inputs[modality]

    def _read(self) -> None:
        for modality, contents in self.find().items():
            if isinstance(contents, Pictures):
                inputs = image_inputs(self._prepared(contents), self._ids)
            else:
                inputs = text_inputs(self.encoder, contents, self._ids)
            self._inputs[modality] = inputs
            logging.getLogger().info(
                f"{modality}: {len(inputs.items)} items to encode, {len(inputs.missing)} without contents keep their "
                f"features; texts cut to the context so far: {self.encoder.truncated}"
            )

    def _prepared(self, pictures: Pictures) -> PreparedPictures:
        memory = self._settings.picture_memory << 20
        return prepared(pictures, self.encoder.preparation, self._picture_cache, self._settings.picture_workers, memory)

    def encode(self, modality: str, items: Tensor) -> Tensor:
        """Fresh features ``[n, width]`` of items that have contents."""
        is_image = self._sources[modality][0] is Pictures
        tower = self.encoder.image_features if is_image else self.encoder.text_features
        inputs, device = self.inputs(modality), items.device
        self.encoder.to(device)
        half = half_type(device) if self._settings.mixed_precision else None
        with torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None):
            self.encoder.set_training(torch.is_grad_enabled())
            rows = inputs.features(tower, items, device)
        return self._scalings[modality](rows if half is None else rows.float())

    def needs_scaler(self, device: torch.device) -> bool:
        """Whether it encodes in float16 there, whose small gradients would be lost without a scaled loss."""
        return self._settings.mixed_precision and half_type(device) is torch.float16

    @torch.no_grad()
    def encode_into(self, table: Tensor, modality: str, at_once: int) -> None:
        """Encode all items that have contents into their rows of `table`, ``[n_items, width]``, some at once."""
        with memory_errors(f"lower micro_batch_size ({at_once})"):
            inputs = self.inputs(modality)
            for items in inputs.among(inputs.items.to(table.device)).split(at_once):
                table[items] = self.encode(modality, items)

    def constants(self) -> Iterator[Any]:
        """What copies share: frozen values and inputs."""
        yield from (value for value in self.encoder.parameters() if not value.requires_grad)
        yield self._inputs


def _digest_of_all(contents: Contents) -> str:
    """One hash of what all items have, in whatever order they stand."""
    whole = hashlib.sha256()
    for item in sorted(contents.items):
        try:
            whole.update(f"{item}\0{contents.digest(item)}\n".encode())
        except MissingContent:
            continue
    return whole.hexdigest()


def half_type(device: torch.device) -> torch.dtype | None:
    """The half precision of a device: bfloat16 where it computes in it, else float16; None on a CPU.

    bfloat16 has float32's range; what is computed in float16 needs a loss that is scaled.
    """
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _tuning_settings(settings: Any, config: Config) -> Any:
    """The settings of the way of tuning: PTMRec's sizes, or its own where it declares some."""
    own = TUNINGS.entry(settings.peft).facts["settings"]
    if own is not None:
        return own.of(config)
    return TuningSettings(**{key: getattr(settings, key) for key in TuningSettings.__annotations__})


def _sources(settings: Any, folder: Path, modalities: Collection[str]) -> dict[str, Source]:
    """By modality that the encoder makes: the kind of its contents and where they are."""
    sources: dict[str, Source] = {
        settings.image_modality: (Pictures, (folder, Path(settings.images or folder / "images"))),
        settings.text_modality: (Texts, (folder, list(settings.text_fields))),
    }
    found = {modality: source for modality, source in sources.items() if modality in modalities}
    if not found:
        raise ValueError(
            f"image_modality: {settings.image_modality} and text_modality: {settings.text_modality} are not in use, "
            f"which are {', '.join(modalities)}; there is nothing to tune the encoder for"
        )
    return found
