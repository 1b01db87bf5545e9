"""DualGNN against its formulae (IEEE TMM 2021), and its forms in the POWERec paper."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_mm.load import open_checkpoint
from recbole_mm.testing.model_runs import SMALL
from recbole_mm.testing.models import ModelConformance
from recbole_mm.testing.toy import start
from tests.dual_reference import log2_loss, representations, user_graph
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example
from tests.shape_only import BABY, build, count_parameters


class TestDualGNN(ModelConformance):
    model = "DualGNN"
    settings = {"user_graph_width": 5}
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "user_fusion", "item_fusion",
        "projections.0.0.weight", "projections.0.0.bias", "projections.0.2.weight", "projections.0.2.bias",
        "projections.1.0.weight", "projections.1.0.bias", "projections.1.2.weight", "projections.1.2.bias",
        "unused.0.weight", "unused.1.weight", "unused.2.weight", "unused.2.bias",
    }  # fmt: skip
    parameters_without_gradient = {"unused.0.weight", "unused.1.weight", "unused.2.weight", "unused.2.bias"}
    planted_epochs = 30

    def test_parameter_count_of_the_published_table(self, tmp_path):
        assert count_parameters(build("DualGNN", BABY, tmp_path)) == 3_742_782

    @pytest.mark.parametrize("name", ["PODualGNN", "POWEDualGNN"])
    @pytest.mark.parametrize("prompt_num", [1, 3])
    def test_parameter_count_of_the_variants(self, tmp_path, name, prompt_num):
        assert (
            count_parameters(build(name, BABY, tmp_path, prompt_num=prompt_num))
            == 2_498_302 + 128 * prompt_num
        )

    def test_initial_values(self, tmp_path):
        model = build("DualGNN", BABY, tmp_path)
        for table in model.user_embedding.tables:
            # 1.2 million normal draws: the standard deviation is known to 0.1 %
            assert table[1:].std().item() == pytest.approx(math.sqrt(2 / (19_445 + 64)), rel=0.005)
        for fusion, rows in ((model.user_fusion, 19_445), (model.item_fusion, 7_050)):
            assert not fusion[0].any()
            torch.testing.assert_close(fusion[1:].sum(1), torch.ones(rows))
            # the softmax of two draws of deviation s is 1/2 +- s sqrt(2) / 4; 7,050 draws show it to 1 %
            expected = math.sqrt(2 / (rows + 2)) * math.sqrt(2) / 4
            assert fusion[1:, 0].std().item() == pytest.approx(expected, rel=0.03)

    def test_variants_run_by_name(self, data_path, tmp_path):
        for name, weak_weight in (("PODualGNN", 0.0), ("POWEDualGNN", 0.01)):
            run = start(name, data_path, **SMALL, checkpoint_dir=str(tmp_path / name), epochs=2)
            assert (run.model.user_embedding.kind, run.model.weak_weight) == ("prompted", weak_weight)
            assert run.config["n_layers"] == 2
            trainer = run.trainer()
            trainer.fit(run.train_data, run.valid_data)
            trainer.evaluate(run.test_data)  # leaves the best model in place
            opened = open_checkpoint(trainer.saved_model_file)
            assert torch.equal(opened.model.score_tables()[0], run.model.eval().score_tables()[0])


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"user_graph_width": 2, "n_layers": 3},
        {"user_graph_width": 200},
        {"aliased_fusion": True},
        {"aliased_fusion": True, "modalities": ["acoustic", "visual", "textual"]},
        {"modalities": ["textual"]},
        {"user_embedding": "shared"},
        {"user_embedding": "prompted", "prompt_num": 3, "weak_weight": 0.7},
        {"user_embedding": "prompted", "modalities": ["acoustic", "visual", "textual"], "weak_weight": 0.7},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_example("DualGNN", example, **{"user_graph_width": 4, "reg_weight": 0.3, **settings})
    batch = training_batch(run)
    for epoch in range(2):
        run.model.start_epoch(epoch)
        assert_same_loss_and_gradients(run, batch, lambda epoch=epoch: dense_loss(run, batch, epoch))


def test_the_items_of_a_rating_add_up(example):
    """``<r'_u, sum_m R_i^m> = sum_m <r'_u, R_i^m>``, and the score is both."""
    model = start_example("DualGNN", example).model.eval()
    users, items = model.encode()
    assert torch.equal(users[:, 0], users[:, 1])
    left, right = model.score_tables()
    torch.testing.assert_close(left @ right.T, users[:, 0] @ items.sum(1).T)
    pairs = torch.tensor([1, 5, 12]), torch.tensor([9, 2, 2])
    torch.testing.assert_close(model.modality_ratings(*pairs).sum(1), (left @ right.T)[pairs])


def test_vectors_of_a_batch_are_rows_of_all_vectors(example):
    run = start_example("DualGNN", example)
    ids = run.model.batch(training_batch(run))
    users, items = run.model.encode()
    for rows, expected in zip(
        run.model.batch_vectors(*ids), (users[ids[0]], items[ids[1]], items[ids[2]]), strict=True
    ):
        torch.testing.assert_close(rows, expected)


def test_user_graph_is_that_of_the_epoch_also_after_loading(example):
    model = start_example("DualGNN", example, user_graph_width=30).model
    graphs = []
    for epoch in range(2):
        model.start_epoch(epoch)
        graphs.append(model.user_graph.to_dense())
    assert not torch.equal(*graphs)
    model.load_other_parameter({"epochs_started": 1})
    assert torch.equal(model.eval().user_graph.to_dense(), graphs[0])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"user_graph_width": 0}, "user_graph_width: 0"),
        ({"user_embedding": "hashed"}, "user_embedding: 'hashed'"),
        ({"user_embedding": "prompted", "prompt_num": 0}, "prompt_num: 0"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("DualGNN", example, **settings)


def dense_loss(run, batch, epoch):
    model, config = run.model, run.config
    users, items = representations(run)
    parts = [users[:, m] for m in range(len(model.modalities))]
    if config["aliased_fusion"]:
        parts[0] = sum(parts)
    fused = sum(model.user_fusion[:, m, None] * part for m, part in enumerate(parts))
    fused = fused + user_graph(run, epoch) @ fused
    user, positive, negative = fused[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    margins = torch.stack([(user * (positive - negative)[:, m]).sum(1) for m in range(len(parts))], dim=1)
    squares = sum((table[batch["user_id"]] ** 2).mean() for table in model.user_embedding.tables)
    squares = squares + (model.user_fusion[1:] ** 2).mean() + (model.item_fusion[1:] ** 2).mean()
    return log2_loss(margins, config["weak_weight"]) + config["reg_weight"] * squares
