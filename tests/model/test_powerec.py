"""POWERec against its formulae (Information Fusion 101, 2024)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm import setting_effects
from recbole_mm.testing.models import ModelConformance
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from tests.shape_only import BABY, build, count_parameters


class TestPOWERec(ModelConformance):
    model = "POWERec"
    settings = {"n_layers": 2}
    state_dict_keys = {
        "item_embedding", "user_embedding.tables.0", "user_embedding.prompts",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "projections.2.weight", "projections.2.bias",
    }  # fmt: skip

    @pytest.mark.parametrize("propagation", ["LayerGCN", "LightGCN", "BPR"])
    @pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
    def test_forward_equals_dense_reference(self, data_path, tmp_path, propagation, pooling):
        run = self.start(data_path, tmp_path, propagation=propagation, prompt_pooling=pooling, n_layers=3)
        model = run.model.double().eval()
        users, items = model.encode()
        expected = dense_powerec(model, run, propagation, pooling, n_layers=3)
        np.testing.assert_allclose(torch.cat([users, items]).detach().numpy(), expected, rtol=1e-9, atol=1e-12)

    def test_loss_equals_formulae(self, run):
        model = run.model.double().eval()
        batch = run.batch()
        user, positive, negative = (ids.numpy() for ids in model.batch(batch))
        users, items = (table.detach().numpy() for table in model.encode())
        rating = {name: np.einsum("bmd,bmd->bm", users[user], items[item]) for name, item in
                  (("i", positive), ("k", negative))}  # fmt: skip
        hard = items[negative].copy()
        weakest = (rating["i"] - rating["k"]).argmin(axis=1)
        keep = np.arange(items.shape[1]) != weakest[:, None]
        hard[keep] = items[positive][keep]
        y_hard = np.einsum("bmd,bmd->b", users[user], hard)
        y_positive, y_negative = rating["i"].sum(1), rating["k"].sum(1)
        np.testing.assert_allclose(y_positive - y_hard, (rating["i"] - rating["k"]).min(axis=1), atol=1e-12)
        table, ids = (tensor.detach().numpy() for tensor in (model.user_embedding.tables[0], model.item_embedding))
        squares = sum((rows**2).sum() for rows in (table[user], ids[positive], ids[negative]))
        expected = np.log1p(np.exp(y_negative - y_positive)).sum()
        expected += 0.01 * np.log1p(np.exp(y_hard - y_positive)).sum() + 1.0 * 0.5 * squares
        np.testing.assert_allclose(model.calculate_loss(batch).item(), expected, rtol=1e-9)

    @pytest.mark.parametrize("layers", [2, 3])
    def test_mlp_of_several_layers_equals_equation_1(self, data_path, tmp_path, layers):
        model = self.start(data_path, tmp_path, mlp_layers=layers).model.double().eval()
        inputs = [model.item_embedding, *(model.features[name].double() for name in model.modalities)]
        for position, (mlp, rows) in enumerate(zip(model.projections, inputs, strict=True)):
            rows = rows.detach().numpy()
            weights = [parameter.detach().numpy() for parameter in mlp.parameters()]
            assert len(weights) == 2 * layers
            for weight, bias in zip(weights[::2], weights[1::2], strict=True):
                rows = np.tanh(rows @ weight.T + bias)
            np.testing.assert_allclose(model.item_inputs()[:, position].detach().numpy(), rows, rtol=1e-9, atol=1e-12)

    def test_regulariser_of_all_parameters(self, data_path, tmp_path):
        """beta ||Theta||^2 / 2 by hand, and a gradient for every parameter, beta times itself."""
        run = self.start(data_path, tmp_path, regularised="all", reg_weight=0.3)
        model, ids = run.model.double(), run.model.batch(run.batch())
        squares = sum((parameter.detach().numpy() ** 2).sum() for parameter in model.parameters())
        loss = model.regularisation(*ids)
        np.testing.assert_allclose(loss.item(), 0.3 * 0.5 * squares, rtol=1e-12)
        loss.backward()
        for parameter in model.parameters():
            torch.testing.assert_close(parameter.grad, 0.3 * parameter.detach())

    def test_prompts_start_smaller_and_users_apart(self, data_path, tmp_path):
        full, small = (self.start(data_path, tmp_path, prompt_scale=scale).model for scale in (1.0, 0.01))
        torch.testing.assert_close(small.user_embedding.prompts, 0.01 * full.user_embedding.prompts)
        cosines = []
        for model in (full, small):
            users = torch.nn.functional.normalize(model.user_embedding()[1:, 0], dim=1)
            cosines.append((users @ users.T).mean().item())
        assert cosines[1] < cosines[0]

    def test_porec_and_baserec_are_configurations(self, data_path, tmp_path):
        porec = self.start(data_path, tmp_path, weak_weight=0).model
        baserec = self.start(data_path, tmp_path, weak_weight=0, user_embedding="shared").model
        separate = self.start(data_path, tmp_path, user_embedding="separate").model
        n_prompts = 3 * 3 * 8
        assert count_parameters(porec) - count_parameters(baserec) == n_prompts
        assert count_parameters(separate) - count_parameters(baserec) == 2 * 40 * 8
        users, _ = baserec.encode()
        assert users.shape == (41, 3, 8)

    def test_layer_0_switch(self, data_path, tmp_path):
        """POWERec's readout and LayerGCN's differ by exactly layer 0."""
        with_ego = self.start(data_path, tmp_path, include_layer_0=True).model.eval()
        without = self.start(data_path, tmp_path, include_layer_0=False).model.eval()
        difference = torch.cat(with_ego.encode()) - torch.cat(without.encode())
        ego = torch.cat([with_ego.user_embedding(), with_ego.item_inputs()])
        # float32: the sum of three layers loses at most a few units in the last place
        torch.testing.assert_close(difference, ego, rtol=1e-5, atol=1e-6)

    def test_evaluation_uses_the_full_graph(self, data_path, tmp_path):
        dropped = self.start(data_path, tmp_path, edge_dropout=0.5).model
        full = self.start(data_path, tmp_path, edge_dropout=0.0).model
        dropped.start_epoch(0)
        assert not torch.allclose(dropped.encode()[0], full.encode()[0])
        assert torch.equal(dropped.eval().encode()[0], full.eval().encode()[0])

    @pytest.mark.parametrize("prompt_num", [1, 3])
    def test_parameter_count_of_the_published_table(self, tmp_path, prompt_num):
        model = build("POWERec", BABY, tmp_path, prompt_num=prompt_num)
        assert count_parameters(model) == 1_986_688 + 192 * prompt_num

    @pytest.mark.parametrize(
        "settings, message",
        [
            ({"propagation": "GAT"}, "propagation: 'GAT'"),
            ({"n_layers": 0}, "n_layers: 0"),
            ({"prompt_num": 0}, "prompt_num: 0"),
            ({"user_embedding": "hashed"}, "user_embedding: 'hashed'"),
            ({"prompt_pooling": "min"}, "prompt_pooling: 'min'"),
        ],
    )
    def test_bad_settings(self, data_path, tmp_path, settings, message):
        with pytest.raises(ValueError, match=message):
            self.start(data_path, tmp_path, **settings)


def dense_powerec(model, run, backbone, pooling, n_layers) -> np.ndarray:
    """H^m of all nodes, ``[N, M, d]``, by dense numpy from the formulae."""
    pool = {"sum": np.sum, "mean": np.mean, "max": np.max}[pooling]
    table = model.user_embedding.tables[0].detach().numpy()
    prompts = pool(model.user_embedding.prompts.detach().numpy(), axis=1)
    inputs = [model.item_embedding.detach().numpy(), *(model.feature(m).numpy() for m in model.modalities)]
    items = [np.tanh(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
             for x, layer in zip(inputs, model.projections, strict=True)]  # fmt: skip
    ego = np.concatenate([table[:, None] + prompts, np.stack(items, axis=1)])
    train = run.train_data._dataset.inter_feat
    n_users, size = model.n_users, len(ego)
    adjacency = np.zeros((size, size))
    users, positives = train["user_id"].numpy(), train["item_id"].numpy()
    adjacency[users, positives + n_users] = adjacency[positives + n_users, users] = 1
    roots = 1 / np.sqrt(adjacency.sum(1) + 1e-7)
    graph = adjacency * roots[:, None] * roots
    layers = [ego]
    for _ in range(n_layers):
        product = np.einsum("nk,kmd->nmd", graph, layers[-1])
        if backbone == "LayerGCN":
            norms = np.maximum(np.linalg.norm(product, axis=-1), 1e-8) * np.maximum(np.linalg.norm(ego, axis=-1), 1e-8)
            product = product * ((product * ego).sum(-1) / norms)[..., None]
        layers.append(product)
    return {"LayerGCN": sum(layers), "LightGCN": sum(layers) / len(layers), "BPR": ego}[backbone]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6, "textual": 4})


class TestEarlierNames:
    @pytest.mark.parametrize("key", ["backbone", "backbone_of_backbone"])
    def test_of_the_propagation(self, planted, tmp_path, caplog, key):
        setting_effects.warn_once.cache_clear()
        run = start("POWERec", planted, **PRE_SPLIT, checkpoint_dir=str(tmp_path), **{key: "LightGCN"})
        assert run.model.propagation == "LightGCN" and run.config["propagation"] == "LightGCN"
        assert f"{key} is called propagation now" in caplog.text

    def test_within_margo_its_own_backbone_stays(self, planted, tmp_path):
        names = {"backbone": "POWERec", "backbone_of_backbone": "BPR"}
        run = start("MARGO", planted, **PRE_SPLIT, checkpoint_dir=str(tmp_path), **names)
        assert type(run.model.backbone).__name__ == "POWERec" and run.model.backbone.propagation == "BPR"

    def test_both_names_are_refused(self, planted):
        with pytest.raises(ValueError, match="backbone is the earlier name of propagation, and both are set"):
            start("POWERec", planted, **PRE_SPLIT, backbone="BPR", propagation="LightGCN")
