"""VBPR against its formulae (AAAI 2016, in the form of this field's comparisons)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.testing.models import ModelConformance
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example
from tests.shape_only import BABY, build, count_parameters


class TestVBPR(ModelConformance):
    model = "VBPR"
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "item_embedding",
        "content_projection.weight", "content_projection.bias",
    }  # fmt: skip
    planted_epochs = 30

    def test_parameter_count_of_the_published_table(self, tmp_path):
        assert count_parameters(build("VBPR", BABY, tmp_path)) == 3_226_944

    def test_initial_values(self, tmp_path):
        """The user tables have the bound of the one table [n, 2d] that they stand for."""
        model = build("VBPR", BABY, tmp_path)
        bounds = [math.sqrt(6 / (19_445 + 128))] * 2 + [math.sqrt(6 / (7_050 + 64))]
        for table, bound in zip([*model.user_embedding.tables, model.item_embedding], bounds, strict=True):
            assert not table[0].any()
            # the largest of at least 450,000 uniform draws lies within 0.1 % of the bound
            assert table.abs().max().item() == pytest.approx(bound, rel=1e-3)
        weight = model.content_projection.weight
        # 286,720 normal draws: the standard deviation is known to 0.2 %
        assert weight.std().item() == pytest.approx(math.sqrt(2 / (4480 + 64)), rel=0.01)
        assert weight.abs().max() > 4 * weight.std(), "normal, not uniform"
        assert not model.content_projection.bias.any()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize("kind", ["separate", "shared", "prompted"])
@pytest.mark.parametrize("weak_weight", [0.0, 0.7])
@pytest.mark.parametrize("modalities", [["visual"], ["textual", "visual", "acoustic"]])
def test_loss_and_gradients(example, kind, weak_weight, modalities):
    settings = {"user_embedding": kind, "weak_weight": weak_weight, "modalities": modalities}
    run = start_example("VBPR", example, reg_weight=0.3, prompt_num=2, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run.model, batch, kind, weak_weight))


def test_vectors_of_a_batch_are_rows_of_all_vectors(example):
    run = start_example("VBPR", example, user_embedding="prompted")
    batch = training_batch(run)
    user, positive, negative = run.model.batch(batch)
    users, items = run.model.encode()
    expected = users[user], items[positive], items[negative]
    vectors = run.model.batch_vectors(user, positive, negative)
    torch.testing.assert_close(vectors, expected, rtol=1e-12, atol=1e-12)


def test_the_score_is_one_product_with_concatenated_content(example):
    run = start_example("VBPR", example)
    users, items = dense_tables(run.model, "separate")
    run.model.eval()
    scores = run.model.full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[:, 1:], (users.flatten(1) @ items.flatten(1).T)[:, 1:])


def test_regularisation_is_the_part_of_the_loss_with_its_weight(example):
    run = start_example("VBPR", example, user_embedding="prompted", reg_weight=2.0)
    batch = training_batch(run)
    difference = run.model.calculate_loss(batch)
    run.model.reg_weight = 0.0
    difference = difference - run.model.calculate_loss(batch)
    run.model.reg_weight = 2.0
    torch.testing.assert_close(run.model.regularisation(*run.model.batch(batch)), difference)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"user_embedding": "hashed"}, "user_embedding: 'hashed'"),
        ({"modalities": ["audio"]}, "modality 'audio'"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("VBPR", example, **settings)


def dense_tables(model, kind):
    """Users ``[n_users, 2, d]`` and items ``[n_items, 2, d]`` by their definition."""
    tables = list(model.user_embedding.tables)
    prompts = model.user_embedding.prompts.sum(1) if kind == "prompted" else torch.zeros(2, 1)
    tables = tables if kind == "separate" else tables * 2
    users = torch.stack([tables[part] + prompts[part] for part in (0, 1)], dim=1)
    content = torch.cat([model.feature(name) for name in model.modalities], dim=1)
    projected = content @ model.content_projection.weight.T + model.content_projection.bias
    return users, torch.stack([model.item_embedding, projected], dim=1)


def dense_loss(model, batch, kind, weak_weight):
    users, items = dense_tables(model, kind)
    user = users[batch["user_id"]]
    positive, negative = items[batch["item_id"]], items[batch["neg_item_id"]]
    ratings = [(user * item).sum(-1) for item in (positive, negative)]
    margins = ratings[0] - ratings[1]
    size = len(user)
    loss = torch.log1p(torch.exp(-margins.sum(1))).sum() / size
    loss = loss + weak_weight * torch.log1p(torch.exp(-margins.amin(1))).sum() / size
    tables = model.user_embedding.tables
    rows = [F.embedding(batch["user_id"], table) for table in tables]
    norms = sum(row.square().sum() for row in rows).sqrt()
    norms = norms + positive.square().sum().sqrt() + negative.square().sum().sqrt()
    return loss + 0.3 * norms / size
