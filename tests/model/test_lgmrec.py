"""LGMRec against its formulae (AAAI 2024)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.model import lgmrec
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


class TestLGMRec(ModelConformance):
    model = "LGMRec"
    settings = {"n_hyperedges": 3}
    state_dict_keys = {
        "user_embedding", "item_embedding", "projections.0", "projections.1", "hyperedges.0", "hyperedges.1",
    }  # fmt: skip

    @pytest.mark.parametrize("n_layers, n_mm_layers, n_hyper_layers", [(2, 2, 1), (1, 3, 2), (3, 1, 3)])
    def test_equals_dense_reference(self, tmp_path, n_layers, n_mm_layers, n_hyper_layers):
        layers = {"n_layers": n_layers, "n_mm_layers": n_mm_layers, "n_hyper_layers": n_hyper_layers}
        run = self.example(tmp_path, **layers)
        run.model.eval()
        assert_equals_dense_lgmrec(run)

    @pytest.mark.parametrize("modalities", [["textual"], ["acoustic", "visual", "textual"]])
    def test_other_numbers_of_modalities_equal_dense_reference(self, tmp_path, modalities):
        run = self.example(tmp_path, modalities=modalities)
        run.model.eval()
        assert_equals_dense_lgmrec(run)

    def test_training_equals_dense_reference_of_the_same_noise(self, tmp_path, monkeypatch):
        """Without dropout; the noise depends on the rows alone, so that both sides see the same."""
        monkeypatch.setattr(lgmrec, "_gumbel_noise", fixed_noise)
        run = self.example(tmp_path, keep_rate=1)
        assert_equals_dense_lgmrec(run, noise=fixed_noise)

    def example(self, tmp_path, **settings):
        weights = {"contrast_weight": 0.2, "reg_weight": 0.05, "gumbel_temperature": 0.7, "contrast_temperature": 0.4}
        return start_example(self.model, write_example(tmp_path), n_hyperedges=3, **{**weights, **settings})

    def test_memberships_are_drawn_as_the_logits_say(self, run):
        """Gumbel noise makes the largest membership a draw from softmax(logits), whatever the temperature."""
        model = run.model.train()
        model.keep_rate = 1
        logits = torch.tensor([1.0, 0.0, -1.0])
        rows = 20_000
        members = model.memberships(logits.repeat(rows, 2))
        torch.testing.assert_close(members.sum(dim=-1), torch.ones(rows, 2))
        frequencies = F.one_hot(members.argmax(dim=-1)).double().mean(dim=0)
        # four standard deviations of a frequency of 20,000 draws
        torch.testing.assert_close(frequencies, logits.softmax(0).double().expand(2, 3), rtol=0, atol=0.014)

    def test_evaluation_has_no_noise_and_no_dropout(self, run):
        logits = torch.randn(50, 6)
        members = run.model.eval().memberships(logits)
        assert torch.equal(members, (logits.view(50, 2, 3) / 0.2).softmax(dim=-1))
        assert torch.equal(self.scores(run), self.scores(run))

    def test_dropout_keeps_its_share_and_the_mean(self, data_path, tmp_path):
        model = self.start(data_path, tmp_path, keep_rate=0.4, gumbel_temperature=1e6).model.train()
        members = model.memberships(torch.zeros(20_000, 6))  # before dropout all are 1/3
        kept = members[members != 0]
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / 3 / 0.4), rtol=1e-4, atol=0)
        # six standard deviations of the share kept of 120,000
        assert len(kept) / members.numel() == pytest.approx(0.4, abs=0.009)

    def test_contrast_leaves_pad_out(self, tmp_path):
        run = self.example(tmp_path)
        losses = []
        for weight in (0.0, 5.0):
            rows = torch.rand(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            rows[0] = weight
            edges = torch.ones(2, 3, 6, dtype=torch.float64).tril()
            losses.append(run.model.contrast(rows[1:3], rows, edges, torch.tensor([1, 2])))
        assert torch.equal(*losses)

    def test_contrast_and_regulariser_can_be_left_out(self, tmp_path):
        run = self.example(tmp_path, contrast_weight=0, reg_weight=0)
        run.model.eval()
        batch = training_batch(run)
        users, items = run.model.encode()
        difference = items[batch["item_id"]] - items[batch["neg_item_id"]]
        margin = (users[batch["user_id"]] * difference).sum(dim=1)
        expected = torch.log1p(torch.exp(-margin)).mean()
        torch.testing.assert_close(run.model.calculate_loss(batch), expected, rtol=1e-10, atol=0)

    def test_parameter_count(self, tmp_path):
        """IDs, one map and one hyperedge matrix per modality."""
        expected = (19_445 + 7_050) * 64 + (4096 + 384) * (64 + 4)
        assert count_parameters(build(self.model, BABY, tmp_path)) == expected

    @pytest.mark.parametrize("key", ["n_layers", "n_mm_layers", "n_hyper_layers", "n_hyperedges"])
    def test_counts_below_one(self, data_path, tmp_path, key):
        with pytest.raises(ValueError, match=f"{key}: 0 is not allowed for LGMRec; give a whole number of at least 1"):
            self.start(data_path, tmp_path, **{key: 0})

    @pytest.mark.parametrize("settings", [{"keep_rate": 0}, {"keep_rate": 1.5}, {"contrast_temperature": 0}])
    def test_bad_settings(self, data_path, tmp_path, settings):
        with pytest.raises(ValueError, match=next(iter(settings))):
            self.start(data_path, tmp_path, **settings)


def fixed_noise(like):
    return torch.linspace(-1, 2, like.numel(), dtype=like.dtype).view(like.shape).cos()


def assert_equals_dense_lgmrec(run, noise=torch.zeros_like) -> None:
    """Users, items, loss and gradients against :func:`dense_lgmrec`."""
    batch = training_batch(run)
    for table, expected in zip(run.model.encode(), dense_lgmrec(run, batch, noise)[:2], strict=True):
        # both are float64 sums of some hundred terms
        torch.testing.assert_close(table[1:], expected[1:], rtol=1e-10, atol=1e-12)
    assert_same_loss_and_gradients(run, batch, lambda: dense_lgmrec(run, batch, noise)[2])


def dense_lgmrec(run, batch, noise):
    """Users, items and loss from the formulae, modality by modality."""
    model, block = run.model, interactions(run)
    graph, n_users = symmetric_graph(block), model.n_users
    ids = torch.cat([model.user_embedding, model.item_embedding])
    collaborative = mean_of_layers(graph, ids, model.n_layers)
    features = [model.feature(name) for name in model.modalities]
    projected = [feature @ weight for feature, weight in zip(features, model.projections, strict=True)]
    logits = [feature @ weight for feature, weight in zip(features, model.hyperedges, strict=True)]

    local = collaborative
    for vectors in projected:
        nodes = torch.cat([block @ vectors / block.sum(dim=1, keepdim=True).clamp(min=1), vectors])
        for _ in range(model.n_mm_layers):
            nodes = graph @ nodes
        local = local + F.normalize(nodes)

    def memberships(side):
        stacked = torch.stack(side, dim=1)
        return ((stacked + noise(stacked)) / model.gumbel_temperature).softmax(dim=-1).unbind(dim=1)

    of_users, of_items = memberships([block @ scores for scores in logits]), memberships(logits)
    users, items = [], []
    for user_members, item_members in zip(of_users, of_items, strict=True):
        item = collaborative[n_users:]
        for _ in range(model.n_hyper_layers):
            hyperedges = item_members[1:].T @ item[1:]
            user, item = user_members @ hyperedges, item_members @ hyperedges
        users.append(user)
        items.append(item)
    final = local + model.hyper_weight * F.normalize(torch.cat([sum(users), sum(items)]))

    user = final[batch["user_id"]]
    positive, negative = (final[n_users + batch[key]] for key in ("item_id", "neg_item_id"))
    loss = -F.logsigmoid((user * (positive - negative)).sum(dim=1)).mean()
    loss = loss + model.reg_weight * (user.norm() + positive.norm() + negative.norm()) / len(user)
    contrast = dense_contrast(users, batch["user_id"], model.contrast_temperature)
    contrast = contrast + dense_contrast(items, batch["item_id"], model.contrast_temperature)
    return final[:n_users], final[n_users:], loss + model.contrast_weight * contrast


def dense_contrast(tables, ids, temperature):
    """Every earlier modality as the anchor of every later one, against all rows but [PAD]."""
    total = torch.zeros((), dtype=torch.float64)
    for later in range(len(tables)):
        for earlier in range(later):
            for row in ids:
                cosines = F.cosine_similarity(tables[earlier][row], tables[later], eps=1e-12)
                terms = torch.exp(cosines / temperature)
                total = total - torch.log(terms[row] / terms[1:].sum())
    return total
