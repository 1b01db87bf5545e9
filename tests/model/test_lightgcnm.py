"""LightGCNM against its formulae in dense float64."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestLightGCNM(ModelConformance):
    model = "LightGCNM"
    state_dict_keys = {
        "user_embedding", "item_embedding", "user_preference", "content_projection.weight", "content_projection.bias",
    }  # fmt: skip

    def test_parameter_count_and_initial_values(self, tmp_path):
        """Two user tables, one of items, and one layer of 4,096 and 384 columns."""
        model = build("LightGCNM", BABY, tmp_path)
        assert count_parameters(model) == (2 * 19_445 + 7_050) * 64 + (4_096 + 384 + 1) * 64
        for table in (model.user_embedding, model.item_embedding):
            # the standard deviation of at least 450,000 draws is known to 0.2 %
            assert table[1:].std().item() == pytest.approx(0.1, rel=0.01)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def dense(run):
    """Both user tables and both item tables."""
    model = run.model
    nodes = torch.cat([model.user_embedding, model.item_embedding])
    nodes = mean_of_layers(symmetric_graph(interactions(run)), nodes, model.settings.n_layers)
    users, items = nodes.split([model.n_users, model.n_items])
    features = torch.cat([run.dataset.modality_feature(name).double() for name in model.modalities], dim=1)
    content = features @ model.content_projection.weight.T + model.content_projection.bias
    return users, model.user_preference, items, content / content.norm(dim=1, keepdim=True).clamp(min=1e-12)


def dense_loss(run, batch):
    users, preference, items, content = dense(run)
    u, i, k = batch["user_id"], batch["item_id"], batch["neg_item_id"]
    margin = (users[u] * (items[i] - items[k])).sum(1) + (preference[u] * (content[i] - content[k])).sum(1)
    six = [users[u], items[i], items[k], preference[u], content[i], content[k]]
    norms = sum(vectors.square().sum() for vectors in six) / (2 * len(u))
    return torch.log(1 + torch.exp(-margin)).mean() + run.model.settings.reg_weight * norms


@pytest.mark.parametrize("modalities", [["textual"], ["visual", "textual", "acoustic"]])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_loss_gradients_and_scores(example, modalities, n_layers):
    run = start_example("LightGCNM", example, modalities=modalities, n_layers=n_layers, reg_weight=0.3)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))
    users, preference, items, content = dense(run)
    scores = run.model.eval().full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[:, 1:], (users @ items.T + preference @ content.T)[:, 1:])


def test_the_scale_of_the_features_changes_no_content_without_a_bias(example):
    run = start_example("LightGCNM", example)
    run.model.content_projection.bias.data.zero_()
    before = run.model.content()[1:]
    run.model.visual_feature.mul_(3.0)
    run.model.textual_feature.mul_(3.0)
    torch.testing.assert_close(run.model.content()[1:], before)


@pytest.mark.parametrize(
    "settings, message", [({"n_layers": 0}, "n_layers: 0"), ({"reg_weight": -1}, "reg_weight: -1")]
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("LightGCNM", example, **settings)
