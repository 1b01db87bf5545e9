"""LayerGCN against its formulae (ICDE 2023)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted


class TestLayerGCN(ModelConformance):
    model = "LayerGCN"
    settings = {"n_layers": 2}
    state_dict_keys = {"user_embedding", "item_embedding"}
    modality_counts = (0, 1, 3)

    @pytest.mark.parametrize("n_layers", [1, 4])
    @pytest.mark.parametrize("include_layer_0", [False, True])
    def test_forward_equals_dense_reference(self, data_path, tmp_path, n_layers, include_layer_0):
        run = self.start(data_path, tmp_path, n_layers=n_layers, include_layer_0=include_layer_0)
        model = run.model.double().eval()
        expected = dense_layer_gcn(model, run, n_layers, include_layer_0)
        np.testing.assert_allclose(
            torch.cat(model.encode()).detach().numpy(), expected, rtol=1e-9, atol=1e-12
        )

    def test_loss_equals_formulae(self, data_path, tmp_path):
        run = self.start(data_path, tmp_path, reg_weight=0.25)
        model, batch = run.model.double().eval(), run.batch()
        user, positive, negative = (ids.numpy() for ids in model.batch(batch))
        users, items = np.split(dense_layer_gcn(model, run, 2, False), [model.n_users])
        margin = (users[user] * (items[positive] - items[negative])).sum(1)
        egos = model.user_embedding.detach().numpy(), model.item_embedding.detach().numpy()
        squares = sum((rows**2).sum() for rows in (egos[0][user], egos[1][positive], egos[1][negative]))
        expected = np.log1p(np.exp(-margin)).sum() + 0.25 * 0.5 * squares
        np.testing.assert_allclose(model.calculate_loss(batch).item(), expected, rtol=1e-9)

    def test_powerecs_readout_has_layer_0_in_addition(self, data_path, tmp_path):
        """From the same ego vectors, POWERec's H^id minus LayerGCN's vectors are the ego vectors."""
        powerec = (
            start("POWERec", data_path, **PRE_SPLIT, **self.settings, embedding_size=8).model.double().eval()
        )
        layer_gcn = self.start(data_path, tmp_path).model.double().eval()
        egos = powerec.user_embedding()[:, 0], powerec.item_inputs()[:, 0]
        for table, ego in zip((layer_gcn.user_embedding, layer_gcn.item_embedding), egos, strict=True):
            table.data = ego.detach()
        for with_ego, without, ego in zip(powerec.encode(), layer_gcn.encode(), egos, strict=True):
            # float64 sums of three layers of size 1 round by a few 1e-16
            torch.testing.assert_close(with_ego[:, 0] - without, ego, rtol=0, atol=1e-14)

    def test_without_dropped_edges_training_is_evaluation(self, data_path, tmp_path):
        full, dropped = (self.start(data_path, tmp_path, edge_dropout=rate).model for rate in (0.0, 0.4))
        for model in (full, dropped):
            model.start_epoch(0)
        trained, evaluated = full.train().encode(), full.eval().encode()
        assert all(map(torch.equal, trained, evaluated))
        assert not torch.equal(dropped.train().encode()[0], trained[0])
        assert all(map(torch.equal, dropped.eval().encode(), evaluated))

    def test_runs_on_data_without_any_modality(self, tmp_path):
        data_path = write_planted(tmp_path / "plain", {})
        run = start("LayerGCN", data_path, **PRE_SPLIT, epochs=2, checkpoint_dir=str(tmp_path))
        trainer = run.trainer()
        assert trainer.fit(run.train_data, run.valid_data)[0] > 0
        assert trainer.evaluate(run.test_data)["recall@10"] > 0
        assert run.model.modalities == run.dataset.modalities == []
        assert dict(run.model.named_buffers()) == {}

    def test_bad_settings(self, data_path, tmp_path):
        with pytest.raises(ValueError, match="n_layers: 0 is not allowed for LayerGCN; give a whole"):
            self.start(data_path, tmp_path, n_layers=0)


def dense_layer_gcn(model, run, n_layers: int, include_layer_0: bool) -> np.ndarray:
    """Vectors of all nodes, ``[N, d]``, by dense numpy from the formulae."""
    ego = np.concatenate([model.user_embedding.detach().numpy(), model.item_embedding.detach().numpy()])
    train, size = run.train_data._dataset.inter_feat, len(ego)
    adjacency = np.zeros((size, size))
    users, items = train["user_id"].numpy(), train["item_id"].numpy() + model.n_users
    adjacency[users, items] = adjacency[items, users] = 1
    roots = 1 / np.sqrt(adjacency.sum(1) + 1e-7)
    graph = adjacency * roots[:, None] * roots
    layer, total = ego, ego * include_layer_0
    for _ in range(n_layers):
        product = graph @ layer
        norms = [np.maximum(np.linalg.norm(rows, axis=1), 1e-8) for rows in (product, ego)]
        layer = product * ((product * ego).sum(1) / (norms[0] * norms[1]))[:, None]
        total = total + layer
    return total
