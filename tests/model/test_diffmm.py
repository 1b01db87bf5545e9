"""DiffMM against its formulae (ACM MM 2024)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.diffusion import Draw, draw
from recbole_mm.testing.models import ModelConformance
from tests.diffmm_reference import dense_loss
from tests.reference import assert_same_loss_and_gradients, interactions, start_example, training_batch, write_example
from tests.shape_only import BABY, build, count_parameters

LAYERS = ("time_layer", "hidden_layer", "output_layer")
OF_DENOISERS = {
    f"denoisers.{number}.{layer}.{kind}" for number in (0, 1) for layer in LAYERS for kind in ("weight", "bias")
}
SMALL = {"denoiser_width": 6, "denoiser_batch_size": 5}


class TestDiffMM(ModelConformance):
    model = "DiffMM"
    settings = {"denoiser_width": 20, "denoiser_batch_size": 16}
    state_dict_keys = {
        "user_embedding", "item_embedding", "modality_logits", "rebuilt_items", "projections.0.0.weight",
        "projections.1.0.weight", *OF_DENOISERS,
    }  # fmt: skip
    parameters_without_gradient = OF_DENOISERS
    modality_counts = (2, 3)
    planted_epochs = 25


@pytest.mark.parametrize(
    "projection, widths, n_users, n_items, expected",
    [
        ("matrix", {"visual": 4096, "textual": 384}, 19_445, 7_050, 1_982_402),
        ("linear", {"visual": 4096, "textual": 384}, 35_598, 18_357, 3_739_970),
        ("linear", {"visual": 128, "acoustic": 128, "textual": 768}, 9_308, 6_710, 1_090_883),
        ("linear", {"visual": 128, "acoustic": 128}, 9_308, 6_710, 1_041_666),
        ("mixed", {"visual": 4096, "textual": 384}, 19_445, 7_050, 1_982_402 + 64),
    ],
    ids=["Baby", "Sports", "TikTok", "TikTok without texts", "mixed"],
)
def test_parameter_counts(tmp_path, projection, widths, n_users, n_items, expected):
    shape = {"n_users": n_users, "n_items": n_items, "widths": widths}
    model = build("DiffMM", shape, tmp_path, projection=projection, denoiser_width=1)
    of_denoisers = sum(p.numel() for p in model.denoisers.parameters())
    assert count_parameters(model) - of_denoisers == expected
    assert (model.modality_weights() == 1 / len(widths)).all()


def test_parameter_count_of_denoisers(tmp_path):
    model = build("DiffMM", {**BABY, "widths": {"visual": 8, "textual": 8}}, tmp_path)
    assert sum(p.numel() for p in model.denoisers[0].parameters()) == 14_118_160


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 2, "projection": "linear", "contrast": "final", "contrast_temperature": 0.2},
        {"modalities": ["textual"], "contrast": "final"},
        {"modalities": ["acoustic", "textual", "visual"], "projection": "mixed"},
        {"keep_rate": 0.5, "rebuilt_k": 3},
        {"rebuilt_weight": 0.0, "residual_weight": 0.0, "contrast_weight": 0.0},
        {"reg_scope": "batch", "train_batch_size": 16},
    ],
)
def test_loss_and_gradients(example, settings):
    """Weights as large as the ranking loss, so that no term hides behind another."""
    run = start_example("DiffMM", example, **{**SMALL, "reg_weight": 0.1, **settings})
    with torch.no_grad():
        run.model.modality_logits += torch.arange(len(run.model.modalities))
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize("settings", [{}, {"modalities": ["acoustic", "textual"], "content_weight": 3.0},
                                      {"denoiser_normalise": True, "content_weight": 0.0}])  # fmt: skip
def test_denoising_loss(example, settings):
    """One step of a modality's denoiser, by rows, with what is drawn handed in."""
    run = start_example("DiffMM", example, **SMALL, **settings)
    model, name = run.model, run.model.modalities[1]
    rows = interactions(run)[2:7, 1:]
    assert torch.equal(model.interaction_rows(torch.arange(2, 7)), rows)
    drawn = draw(rows.shape, 5, torch.Generator().manual_seed(1), rows)
    denoiser = model.denoisers[1]
    content = torch.nn.functional.leaky_relu(model.feature(name) @ model.projections[1][0].weight.T, 0.2)[1:]
    s = np.linspace(1e-5, 2e-3, 5)
    betas = 1 - (1 - s) / np.concatenate(([1.0], 1 - s[:-1]))
    betas[0] = 1e-4
    bars = np.cumprod(1 - betas)
    losses = []
    for row, step, noise, mask in zip(rows, drawn.steps.tolist(), drawn.noise, drawn.mask, strict=True):
        x = bars[step] ** 0.5 * row + (1 - bars[step]) ** 0.5 * noise
        y = denoiser(x.unsqueeze(0), torch.tensor([step]), mask.unsqueeze(0))[0]
        weight = 1 if step == 0 else bars[step - 1] / (1 - bars[step - 1]) - bars[step] / (1 - bars[step])
        gap = y @ content - row @ model.item_embedding[1:]
        losses.append(weight * (row - y).square().mean() + run.config["content_weight"] * gap.square().mean())
    loss = model.denoising_loss(name, rows, drawn)
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-10, atol=1e-12)
    with model.training_part(denoiser):
        model.denoising_loss(name, rows, drawn).backward()
        assert all(p.grad.any() for p in denoiser.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_denoisers_learn(example):
    """From rows without noise, those of step 0, a modality's denoiser learns to keep the items that users have."""
    settings = {"denoiser_width": 64, "denoiser_learning_rate": 0.01, "rebuilt_k": 2, "content_weight": 0.0}
    model = start_example("DiffMM", example, **settings).model
    rows = model.interaction_rows(torch.arange(1, 12))
    drawn = Draw(torch.zeros(11, dtype=torch.long), torch.zeros_like(rows), torch.ones_like(rows))
    model.own_optimizers["visual"].state.clear()  # the weights of other steps are thousands, which Adam remembers
    other = [p.clone() for p in model.denoisers[1].parameters()]
    losses = [model.train_denoiser("visual", rows, drawn).item() for _ in range(200)]
    assert losses[-1] < 0.1 * losses[0]
    model.rebuild()
    assert rows.gather(1, model.rebuilt_items[0, 1:12] - 1).mean() > 0.75 > 1.9 * rows.mean()  # passed from step 4 on
    assert all(torch.equal(p, q) for p, q in zip(model.denoisers[1].parameters(), other, strict=True))


@pytest.mark.parametrize("rebuilt_k", [1, 3])
def test_every_user_has_its_items_and_itself(example, rebuilt_k):
    run = start_example("DiffMM", example, **SMALL, rebuilt_k=rebuilt_k)
    model = run.model
    for graph in model.whole_graphs:
        counts = graph.to_dense().ne(0).sum(1)[1 : model.n_users]
        assert (counts == rebuilt_k + 1).all()
    assert model.training_graphs[0] is model.whole_graphs[0]  # keep_rate 1
    rows = model.interaction_rows(torch.arange(1, model.n_users))
    values = model.denoisers[0](rows, torch.tensor([0]))
    assert values.shape == rows.shape


def test_entries_are_dropped_apart_and_scaled(example):
    model = start_example("DiffMM", example, **SMALL, rebuilt_k=4, keep_rate=0.6).model
    whole, kept = model.whole_graphs[0].to_dense(), model.training_graphs[0].to_dense()
    there = kept.ne(0)
    torch.testing.assert_close(kept[there], whole[there] / 0.6)
    assert 0.4 < there.sum() / whole.ne(0).sum() < 0.8
    assert not torch.equal(there, there.T)
    assert not torch.equal(*(model.training_graphs[m].to_dense().diagonal().ne(0) for m in (0, 1)))


def test_graphs_from_elsewhere(example):
    """A user's edge and its own loop, dropped or doubled; a rebuilding has other graphs again."""
    model = start_example("DiffMM", example, **SMALL, keep_rate=0.5).model
    items = torch.zeros_like(model.rebuilt_items)
    items[:, 1:] = 3
    kept = [SparseOperator.from_scipy(2 * graph.to_scipy()) for graph in model.whole_graphs]
    model.install(items, kept)
    assert model.training_graphs is kept
    edges = model.whole_graphs[1].to_dense()[1 : model.n_users, model.n_users :]
    assert edges[:, 3].all() and not edges[:, [1, 2, 4]].any()
    drawn = start_example("DiffMM", example, **SMALL, keep_rate=0.5).model
    drawn.install(items)
    assert not torch.equal(torch.cat(drawn.encode()), torch.cat(model.encode()))
    model.rebuild()
    assert model.training_graphs is not kept
    for wrong in (items[:1], items + model.n_items):
        with pytest.raises(ValueError, match="must be ids below"):
            model.install(wrong)


def test_evaluation_on_whole_graphs_or_as_trained(example):
    tables = {}
    for graph in ("full", "as_trained"):
        model = start_example("DiffMM", example, **SMALL, keep_rate=0.5, eval_graph=graph).model
        trained = torch.cat(model.encode())
        tables[graph] = torch.cat(model.eval().encode())
        assert torch.equal(tables[graph], trained) == (graph == "as_trained")
        assert torch.equal(tables[graph], torch.cat(model.encode())), "scores do not change by being asked for"
    assert not torch.equal(*tables.values())


def test_scores_do_not_depend_on_the_contrast(example):
    tables = [torch.cat(start_example("DiffMM", example, **SMALL, contrast=kind).model.encode())
              for kind in ("modalities", "final")]  # fmt: skip
    assert torch.equal(*tables)


def test_weights_of_modalities_learn_by_the_ranking_alone(example):
    run = start_example("DiffMM", example, **SMALL)
    views = run.model.views(run.model.content())
    sum(view.sum() for view in views).backward()
    assert run.model.modality_logits.grad is None


def test_an_epoch_is_a_function_of_seed_and_epoch(example):
    models = [start_example("DiffMM", example, **SMALL).model for _ in range(2)]
    torch.rand(5)
    for model in models:
        model.start_epoch(3)
    for parameter, other in zip(models[0].denoisers.parameters(), models[1].denoisers.parameters(), strict=True):
        assert torch.equal(parameter, other)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"diffusion_steps": 0}, "diffusion_steps: 0 is not allowed"),
        ({"modalities": ["visual"]}, "contrast: 'modalities' compares two"),
        ({"rebuilt_k": 10}, "rebuilt_k: 10 must be at most 9"),
        ({"time_width": 3}, "time_width: 3 must be even"),
        ({"noise_min": 0.5}, "noise_max: 0.02 must be at least"),
        ({"noise_scale": 60.0}, "noise_max: 0.02 must be at least"),
        ({"keep_rate": 0}, "keep_rate: 0 is not allowed"),
        ({"projection": "both"}, "projection: 'both' is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("DiffMM", example, **{**SMALL, **settings})
