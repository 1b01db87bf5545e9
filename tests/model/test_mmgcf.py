"""MMGCF against its formulae in dense float64."""

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
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestMMGCF(ModelConformance):
    model = "MMGCF"
    state_dict_keys = {
        "user_embedding", "item_embedding", "projections.0.weight", "projections.0.bias", "projections.1.weight",
        "projections.1.bias",
    }  # fmt: skip

    def test_parameter_count(self, tmp_path):
        """ID tables and one layer per modality, of 4,096 and 384 columns."""
        own = (19_445 + 7_050) * 64 + (4_096 + 1 + 384 + 1) * 64
        assert count_parameters(build("MMGCF", BABY, tmp_path)) == own
        concat = build("MMGCF", BABY, tmp_path / "concat", fusion="concat")
        assert count_parameters(concat) == own + 2 * (128 * 64 + 64)


class TestConcatenatedMMGCF(ModelConformance):
    model = "MMGCF"
    settings = {"fusion": "concat", "weighting": "alpha", "edge_dropout": 0.2}


class TestEarlyMMGCF(ModelConformance):
    model = "MMGCF"
    settings = {"fusion": "sum", "fusion_point": "early"}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def fuse(model, own, contents):
    """The text's three weightings and three fusions, one after the other."""
    fusion, weighting = model.settings.fusion, model.settings.weighting

    def together(rows, layer=None):
        if fusion == "concat":
            return torch.cat(rows, dim=1) @ layer.weight.T + layer.bias
        return sum(rows) / (len(rows) if fusion == "mean" else 1)

    part = model.item_fusion
    layer = getattr(part, "layer", None)
    if weighting == "equal":
        content = contents[0]
        if len(contents) > 1:
            content = together(contents, getattr(part, "content_layer", None))
        return together([own, content], layer)
    if weighting == "alpha":
        a = 1 / (1 + torch.exp(-part.share_logit))
        return together([a * own] + [(1 - a) * vectors for vectors in contents], layer)
    rows = [vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-12) for vectors in [own, *contents]]
    return together([len(contents) * rows[0], *rows[1:]], layer)


def dense_tables(run):
    model = run.model
    contents = [
        run.dataset.modality_feature(name).double() @ layer.weight.T + layer.bias
        for name, layer in zip(model.modalities, model.projections, strict=True)
    ]
    early = model.settings.fusion_point == "early"
    items = fuse(model, model.item_embedding, contents) if early else model.item_embedding
    kept = torch.zeros(model.n_users, model.n_items, dtype=torch.float64)
    graph = model.edge_sampler.graph if not model.training else model.edge_sampler.graph.keep(
        model.edge_sampler.kept_edges(model.epochs_started - 1)
    )  # fmt: skip
    kept[torch.from_numpy(graph.users), torch.from_numpy(graph.items)] = 1
    nodes = mean_of_layers(symmetric_graph(kept), torch.cat([model.user_embedding, items]), model.settings.n_layers)
    users, items = nodes.split([model.n_users, model.n_items])
    return users, items if early else fuse(model, items, contents)


def dense_loss(run, batch):
    users, items = dense_tables(run)
    u, i, k = batch["user_id"], batch["item_id"], batch["neg_item_id"]
    loss = -F.logsigmoid((users[u] * (items[i] - items[k])).sum(1)).mean()
    model = run.model
    rows = [model.user_embedding[u], model.item_embedding[i], model.item_embedding[k]]
    return loss + model.settings.reg_weight * sum(row.square().sum() for row in rows) / (2 * len(u))


@pytest.mark.parametrize("modalities", [["visual"], ["visual", "textual", "acoustic"]])
@pytest.mark.parametrize("weighting", ["equal", "alpha", "normalized"])
@pytest.mark.parametrize("fusion", ["mean", "sum", "concat"])
@pytest.mark.parametrize("point", ["late", "early"])
def test_loss_gradients_and_scores(example, modalities, weighting, fusion, point):
    run = start_example(
        "MMGCF", example, modalities=modalities, weighting=weighting, fusion=fusion, fusion_point=point,
        reg_weight=0.3, edge_dropout=0.4,
    )  # fmt: skip
    if weighting == "alpha":
        run.model.item_fusion.share_logit.data.fill_(0.7)
    batch = training_batch(run)
    run.model.start_epoch(0)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))
    run.model.eval()
    users, items = dense_tables(run)
    scores = run.model.full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[:, 1:], (users @ items.T)[:, 1:])


def test_the_whole_share_for_the_item_is_lightgcn(example):
    run = start_example("MMGCF", example, weighting="alpha", fusion="sum", n_layers=3)
    model = run.model.eval()
    model.item_fusion.share_logit.data.fill_(40.0)  # its sigmoid is 1 in float64
    nodes = torch.cat([model.user_embedding, model.item_embedding])
    expected = mean_of_layers(symmetric_graph(interactions(run)), nodes, 3)
    torch.testing.assert_close(torch.cat(model.encode()), expected)


def test_mean_and_sum_differ_by_their_divisors(example):
    """Of two modalities: (I + (x1 + x2) / 2) / 2 and I + x1 + x2."""
    rng = torch.Generator().manual_seed(0)
    own, first, second = torch.rand(3, 9, 6, generator=rng, dtype=torch.float64)
    mean, total = (start_example("MMGCF", example, fusion=fusion).model.item_fusion for fusion in ("mean", "sum"))
    torch.testing.assert_close(mean(own, [first, second]), own / 2 + first / 4 + second / 4)
    torch.testing.assert_close(total(own, [first, second]), own + first + second)


def test_a_cold_item_is_scored_by_its_content(example):
    run = start_example("MMGCF", example)
    item = run.dataset.token2id("item_id", "i8")
    before = run.model.eval().encode()[1][item]
    run.model.visual_feature[item] += 1.0
    assert not torch.allclose(before, run.model.encode()[1][item])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"fusion": "max"}, "fusion: 'max'"),
        ({"weighting": "beta"}, "weighting: 'beta'"),
        ({"fusion_point": "middle"}, "fusion_point: 'middle'"),
        ({"edge_dropout": 1.0}, "edge_dropout: 1.0"),
        ({"reg_weight": -1}, "reg_weight: -1"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("MMGCF", example, **settings)
