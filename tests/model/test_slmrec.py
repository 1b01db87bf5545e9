"""SLMRec against its formulae (IEEE TMM 2023)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.testing.models import ModelConformance
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters

UNUSED = {"unused.weight", "unused.bias"}
LAYERS = [
    *("projections.0", "projections.1", "user_map", "item_map", "id_head", "fine_head", "unused"),
    *("coarse_id_heads.0.0", "coarse_id_heads.0.1", "coarse_heads.0"),
]
LAYER_PARAMETERS = {f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")}


class TestSLMRec(ModelConformance):
    model = "SLMRec"
    parameters_without_gradient = UNUSED
    state_dict_keys = {"user_embedding", "item_embedding"} | LAYER_PARAMETERS

    @pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
    def test_equals_dense_reference(self, tmp_path, n_layers):
        run = start_example(self.model, write_example(tmp_path), n_layers=n_layers, contrast_weight=0.3)
        assert_equals_dense_slmrec(run)

    @pytest.mark.parametrize("modalities", [["textual"], ["acoustic", "visual", "textual"]])
    def test_other_numbers_of_modalities_equal_dense_reference(self, tmp_path, modalities):
        run = start_example(self.model, write_example(tmp_path), modalities=modalities, contrast_weight=0.3)
        assert_equals_dense_slmrec(run)

    def test_biases_of_the_candidates_cannot_matter(self, tmp_path):
        """They shift whole rows of the logits: their gradient is zero but for rounding."""
        run = start_example(self.model, write_example(tmp_path), contrast_weight=1.0)
        run.model.calculate_loss(training_batch(run)).backward()
        for head in (run.model.fine_head, *run.model.coarse_heads):
            # float64 sums of ten terms of order one
            torch.testing.assert_close(head.bias.grad, torch.zeros_like(head.bias), rtol=0, atol=1e-14)

    def test_without_the_self_supervised_loss(self, tmp_path):
        run = start_example(self.model, write_example(tmp_path), contrast_weight=0)
        run.model.calculate_loss(training_batch(run)).backward()
        assert run.model.id_head.weight.grad is None
        assert run.model.item_map.weight.grad.any()

    def test_no_negative_items_are_sampled(self, run):
        assert "neg_item_id" not in run.batch()

    def test_features_are_normalised_by_default(self, data_path, tmp_path):
        feature = self.start(data_path, tmp_path).model.feature("visual")
        # float32 rounding of a sum of twelve squares
        torch.testing.assert_close(feature[1:].norm(dim=1), torch.ones(30), rtol=1e-6, atol=0)

    def test_parameter_count_of_the_published_table(self, tmp_path):
        assert count_parameters(build("SLMRec", BABY, tmp_path)) == 2_028_032

    @pytest.mark.parametrize(
        "settings, message",
        [
            ({"n_layers": 0}, "n_layers: 0"),
            ({"temperature": 0}, "temperature"),
            ({"contrast_temperature": -1.0}, "contrast_temperature"),
        ],
    )
    def test_bad_settings(self, data_path, tmp_path, settings, message):
        with pytest.raises(ValueError, match=message):
            self.start(data_path, tmp_path, **settings)


def assert_equals_dense_slmrec(run) -> None:
    """Users, items, loss and gradients against :func:`dense_slmrec`."""
    batch = training_batch(run)
    for table, expected in zip(run.model.encode(), dense_slmrec(run, batch)[:2], strict=True):
        # both are float64 sums of some hundred terms
        torch.testing.assert_close(table[1:], expected[1:], rtol=1e-10, atol=1e-12)
    assert_same_loss_and_gradients(run, batch, lambda: dense_slmrec(run, batch)[2])


def dense_slmrec(run, batch):
    """Users, items and loss from the formulae, one dense product per view and layer."""
    model, graph = run.model, dense_graph(interactions(run))
    views = [model.item_embedding]
    views += [model.projections[place](model.feature(name)) for place, name in enumerate(model.modalities)]
    nodes = [mean_of_layers(graph, torch.cat([model.user_embedding, view]), model.n_layers) for view in views]
    user_views, item_views = zip(*(table.split([model.n_users, model.n_items]) for table in nodes), strict=True)
    users, items = model.user_map(torch.cat(user_views, dim=1)), model.item_map(torch.cat(item_views, dim=1))

    user, item = batch["user_id"], batch["item_id"]
    loss = match(F.normalize(users[user]), F.normalize(items[item]), model.temperature)
    rows = [view[item] for view in item_views]
    anchors = model.id_head(rows[0])
    contrast = match(anchors, model.fine_head(rows[1]), model.contrast_temperature)
    for id_head, head, row in zip(model.coarse_id_heads, model.coarse_heads, rows[2:], strict=True):
        contrast = contrast + match(id_head(anchors), head(row), model.contrast_temperature)
    return users, items, loss + model.contrast_weight * contrast


def match(anchors, candidates, temperature):
    """Mean over the rows of ``-ln(e^{x_rr} / sum_s e^{x_rs})``."""
    terms = torch.exp(anchors @ candidates.T / temperature)
    return -(terms.diagonal() / terms.sum(dim=1)).log().mean()


def dense_graph(block):
    """The symmetric graph with 1e-8 added to each degree, as this model's code has it."""
    block = block / ((block.sum(dim=1, keepdim=True) + 1e-8) * (block.sum(dim=0) + 1e-8)).sqrt()
    n_users, n_items = block.shape
    top = torch.cat([torch.zeros(n_users, n_users), block], dim=1)
    return torch.cat([top, torch.cat([block.T, torch.zeros(n_items, n_items)], dim=1)])
