"""SiBraR against its formulae in dense float64, and the identities of its text."""

from __future__ import annotations

import math

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_mm.nn.single_branch import SingleBranch, contrast_of_slots
from recbole_mm.testing.models import ModelConformance
from tests.reference import assert_same_loss_and_gradients, interactions, start_example, write_example
from tests.shape_only import BABY, build, count_parameters

NEGATIVES = {"distribution": "uniform", "sample_num": 3}
LARGE = {
    "hidden_widths": [5, 7, 4], "norm_every": 2, "output_activation": True, "normalize_inputs": True, "common_width": 9,
    "dropout": 0.0,
}  # fmt: skip


class TestSiBraR(ModelConformance):
    model = "SiBraR"
    settings = {"train_neg_sample_args": NEGATIVES, "train_batch_size": 96}
    planted_epochs = 30
    state_dict_keys = {
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "interaction_projection.weight", "interaction_projection.bias", "user_projection.weight",
        "user_projection.bias", "branch.layers.0.weight", "branch.layers.0.bias", "branch.layers.1.weight",
        "branch.layers.1.bias", "branch.norms.2.weight", "branch.norms.2.bias", "branch.norms.2.running_mean",
        "branch.norms.2.running_var", "branch.norms.2.num_batches_tracked",
    }  # fmt: skip

    def test_all_parameters_receive_gradients(self, run):
        """That of a bias before the batch normalisation is zero but for rounding."""
        run.loss(run.batch()).backward()
        for name, parameter in run.model.named_parameters():
            if name != "branch.layers.1.bias":
                assert parameter.grad.any(), name

    def test_batch_of_one(self, run):
        """One pair, with as many rows as it has negative items."""
        row = run.batch()[:1]
        pair = Interaction({name: values.repeat(3) for name, values in row.interaction.items()})
        run.loss(pair).backward()
        assert all(torch.isfinite(p.grad).all() for p in run.model.parameters() if p.grad is not None)

    def test_a_batch_holds_each_pair_with_its_negative_items(self, run):
        users, items = run.model.slots(run.batch())
        history = interactions(run)
        assert items.shape == (32, 4)
        assert history[users, items[:, 0]].all()
        assert not history[users[:, None], items[:, 1:]].any()

    def test_parameter_count(self, tmp_path):
        assert count_parameters(build("SiBraR", BABY, tmp_path)) == 1_991_104
        tiktok = {"n_users": 9_308, "n_items": 6_710, "widths": {"visual": 128, "acoustic": 128}}
        assert count_parameters(build("SiBraR", tiktok, tmp_path)) == 1_050_240

    def test_initial_values(self, tmp_path):
        model = build("SiBraR", BABY, tmp_path)
        for weight, fan_in in ((model.interaction_projection.weight, 19_445), (model.user_projection.weight, 7_050)):
            # the largest of at least 450,000 uniform draws lies within 0.1 % of the bound
            assert weight.abs().max().item() == pytest.approx(math.sqrt(6 / fan_in), rel=1e-3)
        assert model.projections[0].weight.abs().max().item() == pytest.approx(math.sqrt(6 / 4096), rel=1e-3)


class TestSiBraROfBranches(ModelConformance):
    model = "SiBraR"
    settings = {
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}, "user_encoder": "branch",
        "sampling": "central", "norm_every": -1, "mask_target": True,
    }  # fmt: skip
    planted_epochs = 30

    def test_all_parameters_receive_gradients(self, run):
        run.loss(run.batch()).backward()
        for name, parameter in run.model.named_parameters():
            if name not in ("branch.layers.1.bias", "user_branch.layers.1.bias"):
                assert parameter.grad.any(), name

    def test_batch_of_one(self, run):
        """A user's batch normalisation has no statistics of one row, which torch refuses."""
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            run.loss(run.batch()[:1])


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def batch_of(run, n_negatives=2):
    """Five pairs as RecBole lays them out."""
    users, items = (torch.from_numpy(ids)[[0, 3, 3, 9, 14]] for ids in (run.model.graph.users, run.model.graph.items))
    negatives = torch.tensor([4, 9, 1, 7, 2, 9, 8, 4, 5, 6])[: 5 * n_negatives]
    return {
        "user_id": users.repeat(n_negatives), "item_id": items.repeat(n_negatives), "neg_item_id": negatives,
    }  # fmt: skip


def start_sibrar(example, **settings):
    merged = {
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}, "dropout": 0.0, "user_dropout": 0.0,
        "warm_negatives": False, "contrast_weight": 0.4, "contrast_temperature": 0.7, **settings,
    }  # fmt: skip
    return start_example("SiBraR", example, **merged)


def branch(part, rows, training):
    """g layer by layer, with the batch normalisation written out."""
    n = len(part.layers)
    for number, layer in enumerate(part.layers, 1):
        rows = rows @ layer.weight.T + layer.bias
        key = str(number)
        if key in part.norms and not part.norm_is_last:
            rows = normalise(part.norms[key], rows, training)
        if number < n or part.output_activation:
            rows = rows.clamp(min=0)
        if key in part.norms and part.norm_is_last:
            rows = normalise(part.norms[key], rows, training)
    return rows


def normalise(norm, rows, training):
    mean, var = (rows.mean(0), rows.var(0, unbiased=False)) if training else (norm.running_mean, norm.running_var)
    return (rows - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias


def unit(rows, wanted):
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12) if wanted else rows


def first_map(run, source, column):
    model = run.model
    if source == 0:
        return (column @ model.interaction_projection.weight + model.interaction_projection.bias).clamp(min=0)
    layer = model.projections[source - 1]
    return (column @ layer.weight.T + layer.bias).clamp(min=0)


def inputs(run, source, item, user=None):
    if source == 0:
        column = interactions(run)[:, item].clone()
        if user is not None:
            column[user] = 0
        return column
    return run.dataset.modality_feature(run.model.modalities[source - 1])[item].double()


def users_of(run, users, training):
    model, chosen = run.model, run.model.settings
    if chosen.user_encoder == "table":
        return model.user_embedding[users]
    rows = (interactions(run)[users] @ model.user_projection.weight + model.user_projection.bias).clamp(min=0)
    if chosen.user_encoder == "branch":
        return branch(model.user_branch, unit(rows, chosen.user_normalize_inputs), training)
    return rows


def dense_loss(run, users, items, sources):
    """Slot by slot; all rows go through g together."""
    chosen, rows = run.model.settings, []
    for b, user in enumerate(users.tolist()):
        for slot, item in enumerate(items[b].tolist()):
            for source in sources[b, slot].tolist():
                left_out = user if chosen.mask_target and slot == 0 else None
                rows.append(first_map(run, source, inputs(run, source, item, left_out)))
    views = branch(run.model.branch, unit(torch.stack(rows), chosen.normalize_inputs), True)
    views = views.view(*sources.shape, -1)
    items_of = views.mean(2) if chosen.aggregation == "mean" else views.max(2).values
    user = users_of(run, users, True)
    ratings = torch.einsum("bd,bsd->bs", user, items_of)
    loss = -torch.log(torch.sigmoid(ratings[:, :1] - ratings[:, 1:])).mean()
    if sources.shape[-1] == 1:
        return loss
    logits = torch.einsum("bsd,btd->bst", views[:, :, 0], views[:, :, 1]) / chosen.contrast_temperature
    terms = []
    for index in range(logits.shape[1]):
        diagonal = logits[:, index, index]
        terms.append(logits[:, index].logsumexp(1) + logits[:, :, index].logsumexp(1) - 2 * diagonal)
    return loss + chosen.contrast_weight * torch.stack(terms).mean()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modalities": ["acoustic"], "aggregation": "max", "norm_every": -1},
        {"modalities": ["visual", "textual", "acoustic"], "mask_target": True, "hidden_widths": [4, 5]},
        {**LARGE, "user_encoder": "table"},
        {"user_encoder": "branch", "user_hidden_widths": [5], "user_normalize_inputs": True, "user_norm_every": 1},
        {"sampling": "single", "norm_every": 1},
        {"sampling": "central", "central_modality": "textual", "contrast_weight": 0.05},
    ],
)
def test_loss_gradients_and_scores(example, settings):
    run = start_sibrar(example, **settings)
    model = run.model
    torch.manual_seed(3)
    users, items = model.slots(batch_of(run))
    sources = model.draw_sources(items)
    run.model.calculate_loss = lambda _: run.model.loss_of(users, items, sources)
    # the gradient of a bias before batch normalisation is zero, of terms as large as 1 / standard deviation
    assert_same_loss_and_gradients(run, batch_of(run), lambda: dense_loss(run, users, items, sources), atol=1e-11)
    model.eval()
    expected = dense_scores(run, range(len(model.sources)))
    scores = model.full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[1:, 1:], expected[1:])


def dense_scores(run, used):
    """The mean over an item's sources; [PAD]'s column left out."""
    model, degrees = run.model, interactions(run).sum(0)
    columns = []
    for item in range(1, model.n_items):
        views = [
            branch(model.branch, unit(first_map(run, s, inputs(run, s, item))[None], model.settings.normalize_inputs),
                   False)[0]
            for s in used if s or degrees[item]
        ]  # fmt: skip
        columns.append(torch.stack(views).mean(0))
    return users_of(run, torch.arange(model.n_users), False) @ torch.stack(columns).T


@pytest.mark.parametrize("central", ["interactions", "visual"])
def test_draws(example, central):
    run = start_sibrar(example, modalities=["visual", "textual", "acoustic"])
    items = torch.arange(1, 10).repeat(400, 1)
    drawn = run.model.draw_sources(items)
    assert (drawn[..., 0] != drawn[..., 1]).all()
    cold = run.dataset.token2id("item_id", "i8")
    assert (drawn[:, cold - 1] != 0).all()
    warm = drawn[:, [column for column in range(9) if column != cold - 1]]
    shares = warm.flatten().bincount() / warm.numel()
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.03)  # of 6,400 draws: 5 standard deviations
    run = start_sibrar(example, sampling="central", central_modality=central)
    drawn = run.model.draw_sources(items)
    of_warm = drawn[:, [column for column in range(9) if column != cold - 1]]
    assert (of_warm[..., 0] == run.model.sources.index(central)).all()
    assert (of_warm[..., 1] != of_warm[..., 0]).all()


def test_an_item_with_one_source_has_it_twice(example):
    run = start_sibrar(example, modalities=["visual"])
    cold = run.dataset.token2id("item_id", "i8")
    assert run.model.draw_sources(torch.tensor([[cold]])).tolist() == [[[1, 1]]]
    run.model.present[:] = False
    assert run.model.draw_sources(torch.tensor([[cold]])).tolist() == [[[0, 0]]]


def test_cold_negative_items_are_drawn_again_outside_the_history(example):
    run = start_sibrar(example, warm_negatives=True)
    cold = run.dataset.token2id("item_id", "i8")
    users = torch.arange(1, 13)
    drawn = torch.cat([run.model._warm(users, torch.full((12, 1), cold)) for _ in range(100)], dim=1)
    history = interactions(run)
    assert (drawn != cold).all()
    assert not history[users[:, None], drawn].any()
    for user, items in zip(users.tolist(), drawn.tolist(), strict=True):
        assert len(set(items)) == 8 - int(history[user].sum())


def test_identities_of_the_contrast():
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    assert contrast_of_slots(first, second, 1e9).item() == pytest.approx(2 * math.log(4))
    assert contrast_of_slots(first[:, :1], second[:, :1], 0.3).item() == 0
    torch.testing.assert_close(contrast_of_slots(first, second, 0.3), contrast_of_slots(second, first, 0.3))


def test_items_of_equal_content_have_equal_cold_scores(example):
    run = start_sibrar(example, eval_modalities=["visual", "textual"])
    run.model.visual_feature[5] = run.model.visual_feature[2]
    run.model.textual_feature[5] = run.model.textual_feature[2]
    scores = run.model.eval().full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    assert torch.equal(scores[:, 5], scores[:, 2])


def test_scores_are_of_the_sources_that_are_named(example):
    for names, used in ((["visual"], [1]), (["textual", "interactions"], [0, 2])):
        run = start_sibrar(example, eval_modalities=names)
        run.model.eval()
        scores = run.model.full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
        torch.testing.assert_close(scores[1:, 1:], dense_scores(run, used)[1:])


def test_an_item_without_a_named_source_has_its_share_of_users(example):
    run = start_sibrar(example, eval_modalities=["visual"])
    run.model.present[2, 1] = False
    scores = run.model.eval().full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    share = interactions(run)[:, 2].sum() / 12
    assert share > 0
    torch.testing.assert_close(scores[:, 2], share.expand(13))


@pytest.mark.parametrize(
    ("every", "where"), [(0, {"4"}), (-1, {"4"}), (1, {"1", "2", "3", "4"}), (2, {"2", "4"}), (3, {"3"})]
)
def test_places_of_the_batch_normalisation(every, where):
    part = SingleBranch([3, 4, 4, 4, 2], 0.0, every, True)
    assert set(part.norms) == where
    rows = torch.rand(50, 3)
    out = part(rows)
    assert (out.min() < 0) == (every == 0)  # behind the activation it centres, before it the ReLU cuts
    torch.testing.assert_close(out, branch(part, rows, True))


def test_dropout_is_on_the_input_alone():
    part = SingleBranch([3, 2], 0.5, 0, False)
    assert not torch.equal(part(torch.ones(20, 3)), part(torch.ones(20, 3)))
    part.eval()
    assert torch.equal(part(torch.ones(20, 3)), part(torch.ones(20, 3)))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"eval_modalities": ["smell"]}, "eval_modalities: 'smell' is none of interactions, visual, textual"),
        ({"eval_modalities": []}, "eval_modalities: .* leaves nothing"),
        ({"sampling": "central", "central_modality": "smell"}, "central_modality: 'smell' is none of"),
        ({"contrast_temperature": 0.0}, "contrast_temperature: 0.0 is not allowed"),
        ({"norm_every": -2}, "norm_every: -2 is not allowed"),
        ({"hidden_widths": [0]}, "hidden_widths.* is not allowed"),
        ({"feature_adapter": "lora", "common_width": 5}, "common_width: 5 must be embedding_size, 6"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        start_sibrar(example, **settings)
    assert "\n" not in str(error.value)


def test_batches_of_one_pair_for_the_users_branch(example):
    """37 interactions, 2 negative items each: the last batch of 36 pairs, or each batch, would be of one."""
    settings = {"user_encoder": "branch", "sampling": "single"}
    for size, fits in ((72, False), (73, False), (24, False), (3, False), (74, True), (70, True), (20, True)):
        if fits:
            run = start_sibrar(example, train_batch_size=size, **settings)
            for batch in run.train_data:
                run.model.calculate_loss(batch)
        else:
            with pytest.raises(ValueError, match=f"^train_batch_size: {size} leaves a batch of one pair"):
                start_sibrar(example, train_batch_size=size, **settings)
    assert start_sibrar(example, train_batch_size=72, user_encoder="rows").model.graph.n_edges == 37
    run.model.train_batch_size = 72  # as of a checkpoint trained in several processes: it opens, and does not train on
    assert torch.isfinite(run.model.eval().encode()[0]).all()
    with pytest.raises(ValueError, match="^train_batch_size: 72 leaves"):
        run.model.train()


def test_a_batch_that_is_no_multiple_of_the_negatives(example):
    run = start_sibrar(example)
    with pytest.raises(ValueError, match="a batch of 5 rows has not 2 negative items for each pair"):
        run.model.calculate_loss(batch_of(run, 1))


def test_the_contrast_is_recorded(example):
    run = start_sibrar(example)
    run.model.calculate_loss(batch_of(run))
    assert run.model.has_recorded("contrast")
