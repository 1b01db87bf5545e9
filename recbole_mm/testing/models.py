"""What every model must do. A model's test inherits :class:`ModelConformance` and names the model.

::

    from recbole_mm.testing import ModelConformance
    import my_module

    class TestMine(ModelConformance):
        model = "Mine"
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.quick_start import load_data_and_model
from recbole.trainer import Trainer
from recbole.utils import get_model
from torch import Tensor

from recbole_mm.host.datasets import data_set
from recbole_mm.load import open_checkpoint
from recbole_mm.nn.feature_adapter import FeatureAdapter
from recbole_mm.registry import register_adapter
from recbole_mm.testing.scoring import ScoringConformance
from recbole_mm.testing.toy import PRE_SPLIT, Run, popularity_recall, start


@register_adapter("unchanged")
class Unchanged(FeatureAdapter):
    """An adapter that a model must not notice."""

    def forward(self, features: Tensor, behaviour: Tensor | None) -> Tensor:
        return features


class ModelConformance(ScoringConformance):
    """Inherit, set `model`, and list what is special about it (:class:`~recbole_mm.testing.model_runs.ModelRuns`).

    pytest runs the tests, every one in its own folder.
    """

    def test_is_built_from_its_defaults(self, data_path: Path, tmp_path: Path) -> None:
        run = start(self.model, data_path, **PRE_SPLIT, checkpoint_dir=str(tmp_path))
        assert type(run.model).__name__ == self.model
        assert run.config["learning_rate"] > 0
        assert torch.isfinite(run.loss(run.batch()))

    def test_all_parameters_receive_gradients(self, run: Run) -> None:
        run.model.train()
        loss = run.loss(run.batch())
        assert loss.dim() == 0
        loss.backward()
        without = {name for name, p in run.model.named_parameters() if p.grad is None or not p.grad.any()}
        assert without == self.parameters_without_gradient

    def test_loss_falls(self, run: Run) -> None:
        run.model.train()
        batch = run.batch()
        optimizer = torch.optim.Adam(run.model.parameters(), lr=0.01)
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = run.loss(batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert np.mean(losses[-5:]) < np.mean(losses[:5])

    def test_scores_follow_the_parameters(self, run: Run) -> None:
        before = self.scores(run)
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        assert not torch.allclose(before[:, 1:], self.scores(run)[:, 1:])

    def test_same_seed_same_result(self, data_path: Path, tmp_path: Path) -> None:
        results = []
        for _ in range(2):
            run = self.start(data_path, tmp_path, epochs=2)
            run.trainer().fit(run.train_data, run.valid_data, saved=False)
            results.append(self.scores(run))
        assert torch.equal(*results)

    def test_checkpoint_round_trip(self, run: Run, data_path: Path) -> None:
        trainer = run.trainer()
        trainer.epochs = 2
        trainer.fit(run.train_data, run.valid_data)
        trainer.evaluate(run.test_data, load_best_model=True)
        trained = self.scores(run)
        _, recbole_loaded, *_ = load_data_and_model(trainer.saved_model_file)
        opened = open_checkpoint(trainer.saved_model_file)
        for loaded in (recbole_loaded, opened.model):
            run.model = loaded
            assert torch.equal(trained, self.scores(run))

    def test_recboles_plain_trainer_trains_it(self, run: Run) -> None:
        trainer = Trainer(run.config, run.model)
        trainer.epochs = 2
        if run.model.trainer_class:
            with pytest.raises(ValueError, match=f"derive that trainer from {run.model.trainer_class}"):
                trainer.fit(run.train_data, run.valid_data, saved=False)
            return
        score, _ = trainer.fit(run.train_data, run.valid_data, saved=False)
        assert np.isfinite(score)
        assert run.model.epochs_started == 2

    def test_float64_agrees_with_float32(self, run: Run) -> None:
        run.model.train()
        run.model.start_epoch(0)
        batch = run.batch()
        torch.manual_seed(1)
        single = run.loss(batch)
        torch.manual_seed(1)
        run.model.double()
        double = run.loss(batch)
        assert double.dtype == torch.float64
        # float32 has 7 digits; a loss of a few hundred terms keeps at least 4 of them
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)

    def test_any_number_of_modalities(self, data_path: Path, tmp_path: Path) -> None:
        for count in self.modality_counts:
            names = ["acoustic", "visual", "textual"][:count]
            run = self.start(data_path, tmp_path, modalities=names)
            assert torch.isfinite(run.loss(run.batch()))
            assert torch.isfinite(self.scores(run)[:, 1:]).all()

    def test_item_without_features_and_user_without_training_rows(self, run: Run) -> None:
        """Item i29 has no row in any modality, user u39 no training interaction: both are scored."""
        scores = self.scores(run)
        item, user = run.dataset.token2id("item_id", "i29"), run.dataset.token2id("user_id", "u39")
        assert not run.dataset.modality_mask("visual")[item]
        assert torch.isfinite(scores[:, item]).all()
        assert torch.isfinite(scores[user - 1, 1:]).all()

    def test_batch_of_one(self, run: Run) -> None:
        run.model.train()
        run.loss(run.batch()[:1]).backward()
        assert all(torch.isfinite(p.grad).all() for p in run.model.parameters() if p.grad is not None)

    def test_learns_a_planted_preference(self, data_path: Path, tmp_path: Path) -> None:
        planted = {"learning_rate": self.planted_learning_rate, "epochs": self.planted_epochs, "eval_step": 5}
        run = self.start(data_path, tmp_path, **planted)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        recall = trainer.evaluate(run.test_data)["recall@5"]
        assert recall > 1.5 * popularity_recall(run, 5)

    def test_copies_share_constants(self, run: Run) -> None:
        copied = copy.deepcopy(run.model)
        graphs = [(own.graph, other.graph) for own, other in zip(run.model.modules(), copied.modules(), strict=True)
                  if hasattr(own, "graph")]  # fmt: skip
        assert graphs
        assert all(own is other for own, other in graphs)
        state = run.model.state_dict()
        for (name, buffer), other in zip(copied.named_buffers(), run.model.buffers(), strict=True):
            assert (buffer.data_ptr() == other.data_ptr()) == (name not in state)
        for buffer, other in zip(copied.parameters(), run.model.parameters(), strict=True):
            assert buffer.data_ptr() != other.data_ptr()

    @pytest.mark.parametrize("trained", [(True, True), (False, True), (True, False)])
    def test_two_models_on_one_data_set_share_nothing_that_is_trained(
        self, data_path: Path, tmp_path: Path, trained: tuple[bool, bool]
    ) -> None:
        runs = [self.start(data_path, tmp_path, trainable_features=trains) for trains in trained]
        train_set = data_set(runs[0].train_data)
        models = [get_model(self.model)(run.config, train_set) for run in runs]
        first, second = ({**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models)
        features = {name for name in first if name.endswith("_feature")}
        assert features == {name for name in second if name.endswith("_feature")}
        for name in features:
            assert torch.equal(first[name], second[name])
        before = {name: first[name].detach().clone() for name in features}
        with torch.no_grad():
            for parameter in models[1].parameters():
                parameter.add_(1.0)
        assert all(torch.equal(first[name], value) for name, value in before.items())

    def test_mixed_precision(self, data_path: Path, tmp_path: Path) -> None:
        run = self.start(data_path, tmp_path)
        run.model.train()
        run.model.start_epoch(0)
        batch = run.batch()
        torch.manual_seed(1)
        full = run.loss(batch)
        run.model.start_epoch(0)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = run.loss(batch)
        mixed.backward()
        assert all(torch.isfinite(p.grad).all() for p in run.model.parameters() if p.grad is not None)
        # bfloat16 has 3 digits, of which a product of d terms and its propagation lose one
        torch.testing.assert_close(mixed.float(), full, rtol=0.05, atol=0.02)
        trainer = self.start(data_path, tmp_path, enable_amp=True, epochs=1).trainer()
        score, _ = trainer.fit(run.train_data, run.valid_data, saved=False)
        assert np.isfinite(score)

    def test_state_dict_keys_are_stable(self, run: Run) -> None:
        if self.state_dict_keys is None:
            pytest.skip("state_dict_keys are not given")
        assert set(run.model.state_dict()) == self.state_dict_keys

    @pytest.mark.parametrize("adapter", ["befa", "lora", "soft_prompt"])
    def test_feature_adapter_learns(self, run: Run, data_path: Path, tmp_path: Path, adapter: str) -> None:
        if not run.model.adapts_features:
            with pytest.raises(ValueError, match=f"feature_adapter: {self.model} has no place"):
                self.start(data_path, tmp_path, feature_adapter=adapter)
            return
        run = self.start(data_path, tmp_path, feature_adapter=adapter, **self.adapter_settings)
        adapters = {name: p for name, p in run.model.named_parameters() if "feature_adapters" in name}
        assert adapters
        with torch.no_grad():  # LoRA starts at zero, where half of its gradient is zero too
            for parameter in adapters.values():
                parameter.add_(0.1 * torch.randn_like(parameter))
        run.model.train()
        run.loss(run.batch()).backward()
        assert [name for name, p in adapters.items() if p.grad is None or not p.grad.any()] == []
        assert torch.isfinite(self.scores(run)[:, 1:]).all()

    def test_an_adapter_that_changes_nothing_changes_nothing(self, run: Run, data_path: Path, tmp_path: Path) -> None:
        if not run.model.adapts_features or self.adapter_narrows_features:
            pytest.skip("there is no model without the adapter to compare with")
        losses = []
        for adapter in ("none", "unchanged"):
            run = self.start(data_path, tmp_path, feature_adapter=adapter, **self.adapter_settings)
            run.model.train()
            torch.manual_seed(1)
            losses.append(run.loss(run.batch()))
        assert torch.equal(*losses)
