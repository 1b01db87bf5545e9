"""DGMRec against its formulae (SIGIR 2025)."""

from __future__ import annotations

import copy

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.dgmrec_reference import dense_loss, dense_parts, item_graph, perturbed
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example
from tests.shape_only import build, count_parameters

NETWORKS = ("mean", "log_variance")
OF_CLUBS = {
    f"clubs.{name}.{network}.{layer}.{kind}"
    for name in ("visual", "textual") for network in NETWORKS for layer in (0, 2) for kind in ("weight", "bias")
}  # fmt: skip
LINEAR = ("weight", "bias")


class TestDGMRec(ModelConformance):
    model = "DGMRec"
    settings = {"knn_k": 4, "club_items": 16}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature", *OF_CLUBS,
        *(f"{part}.{number}.{kind}" for part in ("projections", "specific_encoders", "decoders") for number in (0, 1)
          for kind in LINEAR),
        *(f"shared_encoder.{kind}" for kind in LINEAR), "filters.0.weight", "filters.1.weight",
        *(f"generators.{number}.{layer}.{kind}" for number in (0, 1) for layer in (0, 2) for kind in LINEAR),
        *(f"translators.{number}.0.{layer}.{kind}" for number in (0, 1) for layer in (0, 2) for kind in LINEAR),
    }  # fmt: skip
    parameters_without_gradient = OF_CLUBS
    planted_epochs = 25


@pytest.mark.parametrize(
    "n_users, n_items, expected",
    [(19_445, 7_050, 34_476_928), (35_598, 18_357, 86_889_728), (39_387, 23_033, 108_379_968)],
    ids=["Baby", "Sports", "Clothing"],
)
def test_parameter_counts(tmp_path, n_users, n_items, expected):
    """At widths of 8, plus what the published ones have more."""
    widths = {"visual": 8, "textual": 8}
    model = build("DGMRec", {"n_users": n_users, "n_items": n_items, "widths": widths}, tmp_path)
    of_clubs = sum(p.numel() for p in model.clubs.parameters())
    per_column = n_items + 2 * 64 + 128 + 1  # feature, two encoders, decoder and its bias
    assert count_parameters(model) - of_clubs + (4096 - 8 + 384 - 8) * per_column == expected


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """i0 lacks the visual features, i1 the textual, i2 both, i3 the acoustic, i4 all but the textual."""
    folder = write_example(tmp_path_factory.mktemp("example"))
    for name, lacking in (("visual", "024"), ("textual", "12"), ("acoustic", "34")):
        file = folder / "toy" / f"toy.{name}"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(line for line in lines if line[:2] not in {f"i{n}" for n in lacking}) + "\n")
        assert len(file.read_text().splitlines()) == len(lines) - len(lacking)
    return folder


WEIGHTS = {
    name: 0.5
    for name in ("id_reg_weight", "reg_weight", "reconstruction_weight", "club_weight", "between_weight",
                 "within_weight", "align_weight", "generation_weight")
}  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 1, "n_item_layers": 1, "general_temperature": 0.7, "specific_temperature": 0.5},
        {"modalities": ["textual"]},
        {"modalities": ["visual", "textual", "acoustic"]},
        {"modalities": ["visual", "textual", "acoustic"], "third_within": "specific"},
        {"missing_modality": "zero", "align_temperature": 0.9},
        {"trainable_features": False},
        {"generation_weight": 0.0, "club_weight": 0.0, "reconstruction_weight": 0.0},
        {"between_weight": 0.0, "within_weight": 0.0, "align_weight": 0.0},
    ],
)
def test_loss_and_gradients(example, settings):
    """Weights as large as the ranking loss, so that no term hides; what is drawn is handed in."""
    run = start_example("DGMRec", example, **{"knn_k": 3, **WEIGHTS, **settings})
    model, batch = run.model, training_batch(run)
    ids = (batch["user_id"], batch["item_id"], batch["neg_item_id"])
    drawn = model.draw(torch.cat(ids[1:]).unique())
    model.calculate_loss = lambda _: model.loss_of(*ids, drawn)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, ids, drawn))


def test_encoding(example):
    run = start_example("DGMRec", example, knn_k=3)
    tables = dense_parts(run.model.eval(), run.config)[:2]
    for got, expected in zip(run.model.encode(), tables, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_an_item_without_a_modality_is_alone_in_its_graph(example):
    run = start_example("DGMRec", example, knn_k=3)
    for name, graph in zip(run.model.modalities, run.model.item_graphs, strict=True):
        expected = item_graph(run.dataset.modality_feature(name).double(), 3, run.model.missing[name])
        torch.testing.assert_close(graph.to_dense(), expected, rtol=1e-5, atol=1e-6)
        assert sorted(run.dataset.id2token("item_id", run.model.missing[name].nonzero().flatten())) == {
            "visual": ["i0", "i2", "i4"], "textual": ["i1", "i2"]}[name]  # fmt: skip


def test_generated_features(example):
    """Of items that lack one modality alone; from the features before any was written."""
    run = start_example("DGMRec", example, knn_k=3)
    model = run.model
    before = {name: model.feature(name).detach().clone() for name in model.modalities}
    noise = [torch.rand(model.n_items, 12).double() for _ in model.modalities]
    expected = {}
    with torch.no_grad():
        parts = dense_parts(model, run.config)[2]
        for number, name in enumerate(model.modalities):
            graph = torch.linalg.matrix_power(model.item_graphs[number].to_dense(), 2)
            translated = model.translators[number][0](parts["g"][1 - number])
            content = torch.cat([graph @ translated, graph @ model.generators[number](parts["c"][number])], dim=1)
            expected[name] = model.decoders[number](perturbed(content, noise[number]))
    model.generate(noise)
    tokens = {"visual": ["i0", "i4"], "textual": ["i1"]}
    for name in model.modalities:
        alone = [run.dataset.token2id("item_id", token) for token in tokens[name]]
        rest = [item for item in range(model.n_items) if item not in alone]
        torch.testing.assert_close(model.feature(name)[alone], expected[name][alone], rtol=1e-10, atol=1e-12)
        assert torch.equal(model.feature(name)[rest], before[name][rest])


@pytest.mark.parametrize("trainable", [True, False])
def test_generation_leaves_the_data_set_alone(example, trainable):
    run = start_example("DGMRec", example, knn_k=3, trainable_features=trainable)
    item = run.dataset.token2id("item_id", "i0")
    assert not torch.equal(run.model.visual_feature[item].float(), run.dataset.modality_feature("visual")[item])
    feature = run.dataset.modality_feature("visual")
    torch.testing.assert_close(feature[item], feature[1:][run.dataset.modality_mask("visual")[1:]].mean(0))


def test_graphs_are_renewed_in_the_rows_of_items_without_a_modality(example):
    run = start_example("DGMRec", example, knn_k=3, rebuild_epochs=3, rebuilt_share=0.25)
    model = run.model
    first = [graph.to_dense() for graph in model.item_graphs]
    model.start_epoch(1)
    assert all(torch.equal(graph.to_dense(), before) for graph, before in zip(model.item_graphs, first, strict=True))
    model.start_epoch(2)
    for name, graph, before in zip(model.modalities, model.item_graphs, first, strict=True):
        none = torch.zeros(model.n_items, dtype=torch.bool)
        new = item_graph(model.feature(name).detach(), 3, none)
        missing = model.missing[name]
        assert torch.equal(graph.to_dense()[~missing], before[~missing])
        expected = (0.25 * new + 0.75 * before)[missing]
        torch.testing.assert_close(graph.to_dense()[missing], expected, rtol=1e-10, atol=1e-12)


def test_renewed_graphs_go_with_checkpoints_and_back(example):
    run = start_example("DGMRec", example, knn_k=3, rebuild_epochs=1)
    model, other = run.model, start_example("DGMRec", example, knn_k=3, rebuild_epochs=1000).model
    other.rebuilt_graphs = copy.deepcopy(model.rebuilt_graphs)
    for graph, copied in zip(model.item_graphs, other.item_graphs, strict=True):
        assert torch.equal(graph.to_dense(), copied.to_dense())
    model.rebuilt_graphs = {}
    assert all(current is first for current, first in zip(model.item_graphs, model._first_graphs, strict=True))


def test_with_all_features_nothing_is_generated(whole):
    run = start_example("DGMRec", whole, knn_k=3)
    model, batch = run.model, training_batch(run)
    drawn = model.draw(torch.arange(1, 5))
    assert drawn.filters == drawn.translated == [] and drawn.decoded and len(drawn.permutations) == 2
    before = model.visual_feature.clone()
    model.start_epoch(4)
    assert torch.equal(before, model.visual_feature)
    model.calculate_loss(batch).backward()
    assert model.visual_feature.grad.any()
    assert all(p.grad is None for part in (model.generators, model.translators) for p in part.parameters())


def test_without_bounds_no_permutation_is_drawn(example):
    model = start_example("DGMRec", example, knn_k=3, club_weight=0.0).model
    assert model.draw(torch.arange(1, 5)).permutations == []


def test_the_bounds_learn_before_epochs_alone(example):
    run = start_example("DGMRec", example, knn_k=3, club_learning_rate=0.01)
    model = run.model
    general, specific, _ = model.raw_content()

    def losses():
        return [club.likelihood_loss(s[1:], g[1:]).item() for club, s, g in
                zip(model.clubs.values(), specific, general, strict=True)]  # fmt: skip

    before = losses()
    model.train_clubs([torch.arange(1, model.n_items)] * 5)
    assert all(after < previous for after, previous in zip(losses(), before, strict=True))
    model.calculate_loss(training_batch(run)).backward()
    assert all(p.grad is None for p in model.clubs.parameters())


def test_an_epoch_is_a_function_of_seed_and_epoch(example):
    models = [start_example("DGMRec", example, knn_k=3).model for _ in range(2)]
    torch.rand(3)
    for model in models:
        model.start_epoch(7)
    for (name, parameter), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(parameter, other), name


def test_scores_have_no_noise(example):
    model = start_example("DGMRec", example, knn_k=3).model
    assert torch.equal(torch.cat(model.encode()), torch.cat(model.eval().encode()))


def test_an_item_without_users_has_content_by_its_neighbours_alone(example):
    run = start_example("DGMRec", example, knn_k=3)
    item = run.dataset.token2id("item_id", "i8")
    assert run.model.graph.item_degrees[item] == 0
    assert not any(filters[item].any() for filters in run.model.parts().filters)
    assert run.model.encode()[1][item].any()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_translators(example, count):
    """Up to three modalities share one of the others side by side, in cyclic order; more have one for each."""
    shape = {"n_users": 100, "n_items": 100, "widths": {f"m{number}": 4 for number in range(count)}}
    model = build("DGMRec", shape, example, knn_k=3, embedding_size=2)
    contents = [torch.full((1, 2), float(number)) for number in range(count)]
    assert model.others(0) == list(range(1, count))
    assert len(model.translators[0]) == (0, 1, 1, 3, 4)[count - 1]
    if count > 1:
        others = [contents[other] for other in model.others(count - 1)]
        layers = model.translators[count - 1]
        expected = layers[0](torch.cat(others, dim=1)) if count <= 3 else torch.stack(
            [layer(content) for layer, content in zip(layers, others, strict=True)]).mean(0)  # fmt: skip
        torch.testing.assert_close(model.translate(count - 1, others), expected)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"rebuild_epochs": 0}, "rebuild_epochs: 0 is not allowed"),
        ({"rebuilt_share": 1.5}, "rebuilt_share: 1.5 is not allowed"),
        ({"align_temperature": 0}, "align_temperature: 0 is not allowed"),
        ({"third_within": "both"}, "third_within: 'both' is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("DGMRec", example, **{"knn_k": 3, **settings})
