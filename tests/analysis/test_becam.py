"""BeCAM of models: a planted encoder whose right answer is known, and the same computation in loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recbole_mm.analysis.attribution.becam import MAPS, Becam
from recbole_mm.analysis.attribution.score_cam import upsample
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.encoder import ImageEncoder, PictureError, load_encoder
from recbole_mm.load import open_checkpoint
from tests.tiny_clip import write_clip

PATCH, BLOCKS = 8, 4  # pixels of a patch; a picture has 4 x 4 blocks of 2 x 2 patches
ITEM = "i4"


class PlantedEncoder(ImageEncoder):
    """Four noisy detectors of each block's texture; the features are the energy of one block, and of the rest."""

    def __init__(self, seed: int):
        super().__init__(6, [0.0] * 3, [1.0] * 3, processor=None)
        generator = torch.Generator().manual_seed(seed)
        textures = torch.randn(BLOCKS**2, 3, PATCH, PATCH, generator=generator)
        place = torch.randperm(BLOCKS**2, generator=generator).view(BLOCKS, BLOCKS)
        place = place.repeat_interleave(2, 0).repeat_interleave(2, 1)
        clean = textures[place].permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
        self.picture = clean + 0.5 * torch.randn(clean.shape, generator=generator)
        noisy = textures.repeat(4, 1, 1, 1)
        self.detectors = noisy + 0.5 * torch.randn(noisy.shape, generator=generator)
        self.region = (place == torch.randint(BLOCKS**2, (), generator=generator)).float()

    def preprocess(self, pictures):
        raise NotImplementedError("pictures are planted")

    def activation(self, pixels):
        return F.relu(F.conv2d(pixels, self.detectors, stride=PATCH)) / PATCH**2

    def forward(self, pixels):
        energy = F.avg_pool2d(pixels.square().mean(dim=1), PATCH)
        parts = [(energy * mask).sum(dim=(1, 2)) for mask in (self.region, 1 - self.region)]
        return torch.stack([*parts, *[torch.zeros(len(pixels))] * 4], dim=1)

    def is_hit(self, importance: np.ndarray) -> bool:
        """Whether the map's highest pixel lies in the region."""
        size = (PATCH * len(self.region),) * 2
        row, column = divmod(int(upsample(torch.from_numpy(importance).unsqueeze(0), size).argmax()), size[1])
        return bool(self.region[row // PATCH, column // PATCH])


def plant(opened, behaviour: list[float]) -> BehaviourCosines:
    """The features are the first dimensions of the projected ones; the item's ID vector begins with `behaviour`."""
    model, layer = opened.model, opened.model.projections[opened.model.modalities.index("visual")]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(*layer.weight.shape))
        layer.bias.zero_()
        row = model.item_embedding[int(opened.dataset.token2id("item_id", ITEM))]
        row.zero_()
        row[: len(behaviour)] = torch.tensor(behaviour)
    return BehaviourCosines(opened, "planted", "visual")


def share_of_hits(target: BehaviourCosines) -> dict[str, float]:
    """Pointing game over 40 pictures with one region each."""
    hits = []
    for encoder in map(PlantedEncoder, range(40)):
        (result,) = Becam(encoder, [target], steps=1).attribute(encoder.picture, ITEM)
        hits.append([encoder.is_hit(heatmap) for heatmap in result.maps])
    return dict(zip(MAPS, np.mean(hits, axis=0), strict=True))


class TestPlantedRegion:
    def test_maps_point_at_what_alone_determines_behaviour(self, train):
        checkpoint = open_checkpoint(train("BM3", feature_adapter="soft_prompt"))
        with torch.no_grad():
            checkpoint.model.feature_adapters["visual"].prompt.zero_()
        assert min(share_of_hits(plant(checkpoint, [1.0])).values()) >= 0.95

    def test_maps_of_other_behaviour_point_elsewhere(self, train):
        """The other 15 blocks."""
        target = plant(open_checkpoint(train("BM3", feature_adapter="soft_prompt")), [0.0, 1.0])
        assert share_of_hits(target)["plain centred"] <= 0.05

    def test_adapted_maps_are_those_of_the_adapted_feature(self, train):
        """A LoRA that swaps what the region and the rest tell: the plain map points elsewhere, the adapted one not."""
        checkpoint = open_checkpoint(train("BM3", feature_adapter="lora"))
        adapter = checkpoint.model.feature_adapters["visual"]
        swap = torch.tensor([1.0, -1.0])  # x - swap <swap, x> exchanges the first two dimensions
        with torch.no_grad():
            for layer in (adapter.down, adapter.up):
                layer.weight.zero_()
            adapter.down.weight[0, :2], adapter.up.weight[:2, 0] = swap, -swap
        hits = share_of_hits(plant(checkpoint, [0.0, 1.0]))
        assert hits["plain centred"] <= 0.05
        assert min(hits["adapted"], hits["adapted centred"]) >= 0.95

    def test_deletion_and_insertion_tell_a_good_map_from_a_random_one(self, train):
        target = plant(open_checkpoint(train("BM3", feature_adapter="soft_prompt")), [1.0])
        encoder = PlantedEncoder(0)
        (result,) = Becam(encoder, [target]).attribute(encoder.picture, ITEM)
        deletion, insertion = result.curves[:, :, 0].mean(axis=-1)
        centred, random = MAPS.index("plain centred"), len(MAPS)
        assert deletion[centred] < 0.5 * deletion[random]
        assert insertion[centred] > 1.5 * insertion[random]


def naive_becam(clip, pixels: torch.Tensor, to_cosine, size: int) -> tuple[list[float], list[np.ndarray]]:
    """Weight and activation ``[g, g]`` of each channel by the paper's text, one at a time, from transformers' model."""
    tokens = []
    block = clip.vision_model.encoder.layers[-2]
    hook = block.register_forward_hook(lambda module, given, output: tokens.append(output[0].clone()))
    clip.get_image_features(pixel_values=pixels[None])
    hook.remove()
    patches = tokens[0][1:].numpy()
    grid = int(len(patches) ** 0.5)
    weights, activations = [], []
    for channel in range(patches.shape[1]):
        activation = patches[:, channel].reshape(grid, grid)
        mask = bilinear(activation, size)
        mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
        masked = np.stack([colour * mask for colour in pixels.numpy()])
        feature = clip.get_image_features(pixel_values=torch.tensor(masked[None], dtype=torch.float32)).pooler_output
        weights.append(to_cosine(feature[0].double().numpy()))
        activations.append(activation)
    return weights, activations


def bilinear(values: np.ndarray, size: int) -> np.ndarray:
    """A square map at ``[size, size]``: a pixel's centre in the map's own grid, between the four nearest centres."""
    grown, last = np.empty((size, size)), len(values) - 1
    for row in range(size):
        for column in range(size):
            y, x = (min(max((at + 0.5) * len(values) / size - 0.5, 0), last) for at in (row, column))
            top, left = int(y), int(x)
            bottom, right = min(top + 1, last), min(left + 1, last)
            upper = values[top, left] * (left + 1 - x) + values[top, right] * (x - left)
            lower = values[bottom, left] * (left + 1 - x) + values[bottom, right] * (x - left)
            grown[row, column] = upper * (top + 1 - y) + lower * (y - top)
    return grown


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


class ByHand:
    """Projection and BeFA of a checkpoint in numpy, from its saved weights, for one item."""

    def __init__(self, opened):
        self.weights = {name: value.double().numpy() for name, value in opened.model.state_dict().items()}
        self.projection = f"projections.{opened.model.modalities.index('visual')}"
        self.behaviour = self.weights["item_embedding"][int(opened.dataset.token2id("item_id", ITEM))]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]

    def plain(self, feature: np.ndarray) -> float:
        return cosine(self.linear(self.projection, feature), self.behaviour)

    def adapted(self, feature: np.ndarray) -> float:
        adapter = "feature_adapters.visual"
        x = self.linear(self.projection, feature)
        a = np.tanh(np.maximum(self.linear(f"{adapter}.decouple", x), 0))
        b = np.maximum(self.linear(f"{adapter}.filter", a), 0)
        gate = 1 / (1 + np.exp(-self.linear(f"{adapter}.recombine", b)))
        return cosine(self.behaviour * gate, self.behaviour)


class TestAgainstLoops:
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, train, tmp_path_factory):
        transformers = pytest.importorskip("transformers")
        folder = write_clip(tmp_path_factory.mktemp("clip"))
        encoder, opened = load_encoder(folder), open_checkpoint(train("MGCN", feature_adapter="befa", knn_k=4))
        noise = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        pixels = encoder.preprocess([Image.fromarray(noise).resize((40, 60))])[0]
        becam = Becam(encoder, [BehaviourCosines(opened, "befa", "visual")], steps=3, batch=5)
        clip = transformers.CLIPModel.from_pretrained(folder).eval()
        return clip, pixels, ByHand(opened), becam.attribute(pixels, ITEM)[0]

    @torch.no_grad()
    @pytest.mark.parametrize("kind", ["plain", "adapted"])
    def test_maps(self, case, kind):
        """The loops are in double precision behind the encoder, whose features and their cosines have six digits."""
        clip, pixels, by_hand, result = case
        weights, activations = naive_becam(clip, pixels, getattr(by_hand, kind), size=32)
        for name, less in ((kind, 0), (f"{kind} centred", np.mean(weights))):
            expected = sum((weight - less) * channel for weight, channel in zip(weights, activations, strict=True))
            actual = result.maps[MAPS.index(name)]
            np.testing.assert_allclose(actual, expected, atol=len(weights) * 1e-6 * np.abs(activations).max())
            assert np.ptp(expected) > 100 * np.abs(actual - expected).max()  # the tolerance tells maps apart

    @torch.no_grad()
    @pytest.mark.parametrize("which", range(len(MAPS)))
    def test_curves(self, case, which):
        clip, pixels, by_hand, result = case
        heat = result.maps[which]
        # Pixels between the last centre and the edge are equal; which of them float32 puts first is the processor's.
        rounded = upsample(torch.from_numpy(heat).unsqueeze(0), (32, 32)).numpy()
        order = np.lexsort((-rounded.ravel(), -bilinear(heat.astype(np.float64), 32).ravel()))
        for perturbation in (0, 1):
            for step, gone in enumerate((0, 341, 683, 1024)):  # thirds of 32 x 32 pixels
                shown = np.full(1024, perturbation == 0)
                shown[order[:gone]] = perturbation == 1
                picture = pixels * torch.from_numpy(shown.reshape(32, 32))
                feature = clip.get_image_features(pixel_values=picture[None]).pooler_output[0].double().numpy()
                expected = [by_hand.plain(feature), by_hand.adapted(feature)]
                np.testing.assert_allclose(result.curves[perturbation, which, :, step], expected, atol=1e-4)

    def test_curves_run_between_the_whole_picture_and_none(self, case):
        result = case[-1]
        for perturbation, whole in ((0, 0), (1, -1)):
            ends = result.curves[perturbation, ..., whole]
            np.testing.assert_allclose(ends, np.tile(result.cosines, (5, 1)), atol=1e-5)


class TestSharing:
    def test_a_checkpoint_is_the_same_beside_others(self, train, tmp_path):
        encoder = load_encoder(write_clip(tmp_path))
        files = train("MGCN", feature_adapter="befa", knn_k=4), train("BM3", feature_adapter="lora")
        targets = [BehaviourCosines(open_checkpoint(file), file.stem, "visual") for file in files]
        pixels = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
        both = Becam(encoder, targets, steps=2).attribute(pixels, ITEM)
        (alone,) = Becam(encoder, targets[1:], steps=2).attribute(pixels, ITEM)
        np.testing.assert_array_equal(both[1].maps, alone.maps)
        np.testing.assert_array_equal(both[1].curves, alone.curves)

    def test_features_are_normalised_where_the_data_sets_were(self, train):
        opened = open_checkpoint(train("BM3", feature_adapter="lora", normalize_feature=True))
        target, items = BehaviourCosines(opened, "normalised", "visual"), torch.tensor([3, 5])
        features = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
        expected = opened.model.project_features("visual", features / features.norm(dim=1, keepdim=True))
        expected = F.cosine_similarity(expected, opened.model.item_embedding[items])
        torch.testing.assert_close(target.of_encoded(features, items)[0], expected)


def test_an_encoder_that_sees_the_same_everywhere(train):
    encoder = PlantedEncoder(0)
    target = BehaviourCosines(open_checkpoint(train("BM3", feature_adapter="lora")), "lora", "visual")
    with pytest.raises(PictureError, match="the same everywhere"):
        Becam(encoder, [target]).attribute(torch.zeros_like(encoder.picture), ITEM)
