"""BeCAM of a picture for checkpoints: maps before and after the feature adapter, and how well they find what counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from recbole_mm.analysis.attribution.score_cam import (
    attribution_map,
    centred,
    masked_features,
    perturbed,
    varying_channels,
)
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.encoder import ImageEncoder, PictureError

SCORES = ("before", "after")  # the adapter: the cosine of which feature with the behaviour vector
MAPS = ("plain", "adapted", "plain centred", "adapted centred")
RANKINGS = (*MAPS, "random")
PERTURBATIONS = ("deletion", "insertion")

Encode = Callable[[Tensor], Tensor]  # pixels [n, 3, H, W] to features [n, width]


@dataclass(frozen=True)
class Attribution:
    """BeCAM of one item for one checkpoint.

    Attributes:
        cosines: of the whole picture, ``[2]``, in the order of SCORES.
        maps: in the order of MAPS, ``[4, h, w]``: weighted sums of channels, not scaled.
        curves: the cosines as pixels are deleted or inserted in the order of a map or, last, at random:
            ``[2, 5, 2, steps + 1]``, in the orders of PERTURBATIONS, RANKINGS and SCORES.
        feature_cosine: between the encoder's feature and the row that the model knows, NaN where the item has none:
            near 1 if the encoder is the one that made it.
        lengths: of both, ``[2]``.
    """

    label: str
    item: str
    cosines: np.ndarray
    maps: np.ndarray
    curves: np.ndarray
    feature_cosine: float
    lengths: np.ndarray

    @property
    def length_ratio(self) -> float:
        """Of the encoder's feature to the data set's row, NaN where the item has none."""
        return float(self.lengths[0] / self.lengths[1])


class Becam:
    """Computes attributions; masked pictures are encoded once for all checkpoints.

    Args:
        encoder: the one that made the features of all checkpoints.
        targets: the checkpoints.
        steps: of the deletion and insertion curves.
        batch: pictures encoded at a time.

    Raises:
        ValueError: the encoder's features are not as wide as a checkpoint's.
    """

    def __init__(self, encoder: ImageEncoder, targets: list[BehaviourCosines], steps: int = 20, batch: int = 32):
        for target in targets:
            if encoder.width != target.feature_width:
                raise ValueError(
                    f"--encoder: its features are {encoder.width} wide, and checkpoint {target.label} was trained on "
                    f"'{target.modality}' features of width {target.feature_width}; give the encoder that made them"
                )
        self.encoder = encoder
        self.targets = targets
        self.steps = steps
        self.batch = batch

    @torch.inference_mode()
    def attribute(self, pixels: Tensor, item: str) -> list[Attribution]:
        """The attributions of a picture, one per checkpoint.

        Args:
            pixels: the preprocessed picture, ``[3, H, W]``.
            item: original id of its item, which all checkpoints know.

        Raises:
            PictureError: no channel of the encoder varies over the picture.
        """
        activation = self.encoder.activation(pixels.unsqueeze(0))[0]
        activation = activation[varying_channels(activation)]
        if len(activation) == 0:
            raise PictureError("the encoder sees the same everywhere in it")
        n_orders = 1 + len(MAPS) * len(self.targets)
        total = 1 + len(activation) + n_orders * len(PERTURBATIONS) * (self.steps + 1)
        # on a terminal only, as it goes when the picture is done
        with tqdm(total=total, desc=item, unit="encoding", leave=False, disable=None) as progress:

            def encode(pictures: Tensor) -> Tensor:
                progress.update(len(pictures))
                return self.encoder(pictures)

            whole = encode(pixels.unsqueeze(0))
            masked = masked_features(encode, pixels, activation, self.batch)
            random = self._perturbed_features(encode, pixels, _random_map(activation, item))
            results = []
            for target in self.targets:
                maps = _maps(self._cosines(target, masked, item), activation)
                features = [self._perturbed_features(encode, pixels, drawn) for drawn in maps]
                curves = [self._curves(target, ranking, item) for ranking in (*features, random)]
                results.append(self._result(target, item, whole, maps, torch.stack(curves, dim=1)))
        return results

    def _perturbed_features(self, encode: Encode, pixels: Tensor, importance: Tensor) -> Tensor:
        return torch.cat([encode(part) for part in perturbed(pixels, importance, self.steps, self.batch)])

    def _curves(self, target: BehaviourCosines, features: Tensor, item: str) -> Tensor:
        """``[2, 2, steps + 1]``: PERTURBATIONS, SCORES."""
        return self._cosines(target, features, item).unflatten(1, (2, self.steps + 1)).transpose(0, 1)

    def _cosines(self, target: BehaviourCosines, features: Tensor, item: str) -> Tensor:
        number = self._number(target, item)
        return target.of_encoded(features, torch.full((len(features),), number, device=features.device))

    def _number(self, target: BehaviourCosines, item: str) -> int:
        dataset = target.opened.dataset
        return int(dataset.token2id(dataset.iid_field, item))

    def _result(
        self, target: BehaviourCosines, item: str, whole: Tensor, maps: Tensor, curves: Tensor
    ) -> Attribution:
        cosines = self._cosines(target, whole, item)[:, 0]
        shown = [values.float().cpu().numpy() for values in (cosines, maps, curves)]
        fresh, row = target.as_trained_on(whole)[0].float().cpu(), target.known_row(self._number(target, item)).cpu()
        lengths = torch.stack([fresh.norm(), row.norm()]).numpy()
        alike = F.cosine_similarity(row, fresh, dim=0).item()
        return Attribution(target.label, item, shown[0], shown[1], shown[2], alike, lengths)


def _maps(cosines: Tensor, activation: Tensor) -> Tensor:
    """In the order of MAPS, ``[4, h, w]``."""
    before, after = cosines
    compared = (before, after, centred(before), centred(after))
    return torch.stack([attribution_map(features, activation) for features in compared])


def _random_map(activation: Tensor, item: str) -> Tensor:
    """An order as coarse as a map's, of each item its own and the same in every run."""
    grid = torch.rand(activation.shape[1:], generator=torch.Generator().manual_seed(crc32(item.encode())))
    return grid.to(activation)
