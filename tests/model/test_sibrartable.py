"""SiBraRTable against its formulae in dense float64."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example


class TestSiBraRTable(ModelConformance):
    model = "SiBraRTable"
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature", "projections.0.weight",
        "projections.0.bias", "projections.1.weight", "projections.1.bias", "branch.0.weight", "branch.0.bias",
        "branch.2.weight", "branch.2.bias",
    }  # fmt: skip


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def vector(model, source, item):
    if source == 0:
        rows = model.item_embedding[item]
    else:
        layer = model.projections[source - 1]
        rows = layer.weight @ model.feature(model.modalities[source - 1])[item] + layer.bias
    hidden = (model.branch[0].weight @ rows + model.branch[0].bias).clamp(min=0)
    out = model.branch[2].weight @ hidden + model.branch[2].bias
    return out / out.norm() if source else out


def dense_loss(model, users, positives, negatives, sources):
    total, temperature = 0, model.settings.contrast_temperature
    for user, i, k, (first, second) in zip(users, positives, negatives, sources.tolist(), strict=True):
        first_i, second_i, first_k, second_k = (
            vector(model, source, item) for item in (i, k) for source in (first, second)
        )
        margin = model.user_embedding[user] @ (first_i + second_i - first_k - second_k)
        s, s1, s2 = first_i @ second_i, first_i @ second_k, second_i @ first_k
        contrast = sum(-s / temperature + torch.stack([s, other]).div(temperature).logsumexp(0) for other in (s1, s2))
        total = total - torch.log(torch.sigmoid(margin)) + model.settings.contrast_weight * contrast
    return total / len(users)


@pytest.mark.parametrize("modalities", [["visual"], ["acoustic", "visual", "textual"]])
def test_loss_gradients_and_scores(example, modalities):
    run = start_example("SiBraRTable", example, modalities=modalities, contrast_weight=0.4, contrast_temperature=0.7)
    model, batch = run.model, training_batch(run)
    ids = [batch[name] for name in ("user_id", "item_id", "neg_item_id")]
    sources = model.draw_sources(len(ids[0]))
    model.draw_sources = lambda n_pairs: sources
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(model, *ids, sources))
    n_sources = 1 + len(modalities)
    items = torch.stack([sum(vector(model, s, i) for s in range(n_sources)) / n_sources for i in range(1, 10)])
    scores = model.eval().full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[:, 1:], model.user_embedding @ items.T)


def test_draws_are_two_different_sources(example):
    model = start_example("SiBraRTable", example).model
    drawn = model.draw_sources(3000)
    assert (drawn[:, 0] != drawn[:, 1]).all()
    # 6,000 draws of three: the share is known to 0.006
    assert (drawn.flatten().bincount() / 6000).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


@pytest.mark.parametrize(
    "settings, message",
    [({"contrast_temperature": 0.0}, "contrast_temperature: 0.0"), ({"contrast_weight": -1}, "contrast_weight: -1")],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("SiBraRTable", example, **settings)
