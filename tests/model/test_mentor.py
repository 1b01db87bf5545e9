"""MENTOR against its formulae (AAAI 2025)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.mentor_reference import Draws, dense_branches, dense_fused, dense_loss
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example
from tests.shape_only import BABY, build, count_parameters

MASK = {"mask_map.weight", "mask_map.bias"}
TWO_LAYERS = ("0.weight", "0.bias", "2.weight", "2.bias")
ENCODERS = ["id_encoder", *(f"twins.{number}" for number in range(4))]
DESCRIBED = {"feature_mask_gradient": True, "shared_twins": True}
WEIGHTS = {"knn_k": 3, "reg_weight": 0.3, "align_weight": 2.0, "contrast_weight": 0.5}


class TestMENTOR(ModelConformance):
    model = "MENTOR"
    settings = {"knn_k": 3}
    parameters_without_gradient = MASK
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "user_fusion", "item_embedding",
        *(f"projections.{number}.{part}" for number in range(2) for part in TWO_LAYERS),
        *(f"{encoder}.projection.{part}" for encoder in ENCODERS for part in TWO_LAYERS),
        *(f"{encoder}.preference" for encoder in ENCODERS), *MASK,
    }  # fmt: skip
    planted_epochs = 30

    @pytest.mark.parametrize(
        "settings, count",
        [({}, 12_775_402 + 128 * 129), ({"contrast_weight": 0.0, "mask_weight": 0.0}, 12_775_402 - 7_338_496),
         ({"shared_twins": True, "mask_weight": 0.0}, 3_708_138 + 1_728_768)],
    )  # fmt: skip
    def test_parameter_count(self, tmp_path, settings, count):
        """Those with a gradient in the public code, and the map of masking, which has none there."""
        assert count_parameters(build("MENTOR", BABY, tmp_path, **settings)) == count


class TestAsDescribed(ModelConformance):
    """With masking and contrast that train the encoders which recommend."""

    model = "MENTOR"
    settings = {"knn_k": 3, **DESCRIBED, "contrast_scope": "batch"}
    planted_epochs = 30


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def start_mentor(example, **settings):
    """With masks and noise that depend on their shapes and order alone."""
    run = start_example("MENTOR", example, **{**WEIGHTS, **settings})
    run.model.draw_noise, run.model.draw_mask = Draws(), Draws(rate=0.5)
    return run


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "n_item_layers": 2, "contrast_temperature": 0.5},
        {"contrast_scope": "batch"},
        DESCRIBED,
        {**DESCRIBED, "contrast_scope": "batch"},
        {"modality_weights": [0.7, 0.3], "contrast_weight": 0.0, "align_weight": 0.0},
        {"mask_weight": 0.0},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "visual", "textual"], "weak_weight": 0.7, **DESCRIBED},
        {"user_embedding": "prompted", "prompt_num": 3},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_mentor(example, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize("modalities", [["textual"], ["visual", "textual"]])
def test_encoding(example, modalities):
    run = start_mentor(example, modalities=modalities)
    users, items = run.model.eval().encode()
    expected = dense_fused(run, dense_branches(run))
    torch.testing.assert_close(torch.cat([users, items]).flatten(1), expected, rtol=1e-10, atol=1e-13)
    assert torch.equal(torch.cat([users, items]), torch.cat(run.model.encode())), "no noise in evaluation"


def gradients(run, term):
    """Names of the parameters that a term of the loss moves."""
    run.model.zero_grad()
    ids = run.model.batch(training_batch(run))
    model, nodes = run.model, run.model.nodes()
    if term == "masking":
        loss = model.feature_masking(*model.encode())
    elif term == "contrast":
        loss = model.contrast(*model.noisy_views(*nodes), *ids[:2])
    else:
        loss = model.alignment(*model._all_views(nodes))
    if not loss.requires_grad:
        return set()
    loss.backward()
    return {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}


def test_as_released_masking_trains_nothing_and_the_contrast_the_user_weights_alone(example):
    run = start_mentor(example)
    assert gradients(run, "masking") == set()
    moved = gradients(run, "contrast")
    assert "user_fusion" in moved
    assert all(name == "user_fusion" or name.startswith("twins.") for name in moved)


def test_as_described_both_train_what_recommends(example):
    run = start_mentor(example, **DESCRIBED)
    main = {"user_embedding.tables.0", "user_embedding.tables.1", "projections.0.0.weight", "projections.1.2.bias"}
    assert main | MASK <= gradients(run, "masking")
    assert main | {"user_fusion"} <= gradients(run, "contrast")


def test_ids_learn_from_the_alignment_alone(example):
    run = start_mentor(example)
    assert {"item_embedding", "id_encoder.preference"} <= gradients(run, "alignment")
    alone = start_mentor(example, align_weight=0.0)
    alone.model.calculate_loss(training_batch(alone)).backward()
    assert alone.model.item_embedding.grad is None


def test_equal_views_are_aligned(example):
    """Two modalities and the IDs that have the same rows, and user weights of 1: all four views are one."""
    model = start_mentor(example).model
    with torch.no_grad():
        model.user_fusion.fill_(1.0)
        rows = [torch.randn(n, 1, 6, dtype=torch.float64).expand(-1, 3, -1) for n in (model.n_users, model.n_items)]
        assert model.alignment(*rows).item() == pytest.approx(0.0, abs=1e-14)


def test_without_contrast_the_recommendations_are_the_same_but_for_the_user_weights(example):
    """The twins can be left out: one step of the rest moves what recommends as before, up to w's share."""
    moved = []
    for weight in (0.0, 0.5):
        run = start_mentor(example, contrast_weight=weight)
        run.model.calculate_loss(training_batch(run)).backward()
        moved.append({name: value.grad for name, value in run.model.named_parameters() if value.grad is not None})
    shared = set(moved[0]) - {"user_fusion"}
    assert "user_embedding.tables.0" in shared and set(moved[1]) > set(moved[0])
    # the twins' initial values are drawn last: the main branches start alike
    for name in ("user_embedding.tables.0", "projections.0.0.weight"):
        torch.testing.assert_close(moved[0][name], moved[1][name], rtol=1e-12, atol=1e-15)
    assert not torch.allclose(moved[0]["user_fusion"], moved[1]["user_fusion"])


def test_the_score_is_the_sum_of_the_modalities(example):
    model = start_mentor(example).model.eval()
    pairs = {"user_id": torch.tensor([1, 5, 11]), "item_id": torch.tensor([2, 9, 4])}
    torch.testing.assert_close(model.predict(pairs), model.modality_ratings(*pairs.values()).sum(1))


def test_noise_has_an_entry_for_every_twin_of_every_layer(example):
    run, shapes = start_mentor(example, n_layers=3), []
    draw = run.model.draw_noise
    run.model.draw_noise = lambda layer: shapes.append(tuple(layer.shape)) or draw(layer)
    run.model.calculate_loss(training_batch(run))
    assert shapes == [(run.model.graph.n_nodes, 4, 6)] * 3


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"contrast_scope": "rows"}, "contrast_scope: 'rows' is not allowed"),
        ({"mask_dropout": 1.0}, "mask_dropout: 1.0 is not allowed"),
        ({"contrast_temperature": 0}, "contrast_temperature: 0 is not allowed"),
        ({"align_weight": -1}, "align_weight: -1 is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_mentor(example, **settings)
