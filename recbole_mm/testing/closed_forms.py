"""What every model that is solved in closed form must do. Its test inherits :class:`ClosedFormConformance`."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.quick_start import load_data_and_model

from recbole_mm.load import open_checkpoint
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.testing.scoring import ScoringConformance
from recbole_mm.testing.toy import PRE_SPLIT, Run, popularity_recall, start
from recbole_mm.trainer.closed_form import ClosedFormTrainer


class ClosedFormConformance(ScoringConformance):
    """Inherit and set `model`; pytest runs the tests, every one in its own folder."""

    score_tolerance = (1e-6, 1e-7)

    def test_is_built_from_its_defaults(self, data_path: Path, tmp_path: Path) -> None:
        run = start(self.model, data_path, **PRE_SPLIT, checkpoint_dir=str(tmp_path))
        assert type(run.model).__name__ == self.model
        assert isinstance(run.model, ClosedFormRecommender)
        assert list(run.model.state_dict()) == []

    def test_is_solved_once_and_not_trained(self, data_path: Path, tmp_path: Path) -> None:
        run = self.start(data_path, tmp_path, epochs=50, eval_step=5)
        trainer = run.trainer()
        assert type(trainer) is ClosedFormTrainer
        solutions = []
        trainer.fit(run.train_data, run.valid_data, callback_fn=lambda *_: solutions.append(run.model.solution()))
        trainer.evaluate(run.test_data)
        assert len(solutions) == 1
        assert run.model.solution() is solutions[0]
        with pytest.raises(ValueError, match=f"{self.model} has no loss: it is solved in closed form"):
            run.model.calculate_loss(run.batch())

    def test_dot_products_of_the_exported_vectors_are_the_scores(self, run: Run) -> None:
        try:
            users, items = run.model.score_tables()
        except ValueError as error:
            assert "no dot product" in str(error)
            return
        torch.testing.assert_close((users @ items.T)[1:, 1:], self.scores(run)[:, 1:], rtol=1e-4, atol=1e-5)

    def test_no_seed_changes_it(self, data_path: Path, tmp_path: Path) -> None:
        first, second = (self.scores(self.start(data_path, tmp_path, seed=seed)) for seed in (1, 2))
        assert torch.equal(first, second)

    def test_checkpoint_round_trip(self, run: Run, tmp_path: Path, data_path: Path) -> None:
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        result = trainer.evaluate(run.test_data, load_best_model=True)
        solved = self.scores(run)
        _, recbole_loaded, *_ = load_data_and_model(trainer.saved_model_file)
        opened = open_checkpoint(trainer.saved_model_file)
        assert not opened.path.with_suffix(".pth").samefile(opened.path.with_suffix(".safetensors"))
        for loaded in (recbole_loaded, opened.model):
            run.model = loaded
            assert torch.equal(solved, self.scores(run))
        again = self.start(data_path, tmp_path, resume_from=trainer.saved_model_file)
        trainer = again.trainer()
        trainer.fit(again.train_data, again.valid_data)
        assert trainer.evaluate(again.test_data) == result

    def test_any_number_of_modalities(self, data_path: Path, tmp_path: Path) -> None:
        for count in self.modality_counts:
            run = self.start(data_path, tmp_path, modalities=["acoustic", "visual", "textual"][:count])
            assert torch.isfinite(self.scores(run)[:, 1:]).all()

    def test_item_without_features_and_user_without_training_rows(self, run: Run) -> None:
        """Item i29 has no row in any modality; user u39, without training interaction, scores all items alike."""
        scores = self.scores(run)
        item, user = run.dataset.token2id("item_id", "i29"), run.dataset.token2id("user_id", "u39")
        assert torch.isfinite(scores[:, item]).all()
        assert scores[user - 1, 1:].unique().tolist() == [0.0]

    def test_learns_a_planted_preference(self, data_path: Path, tmp_path: Path) -> None:
        run = self.start(data_path, tmp_path)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        assert trainer.evaluate(run.test_data)["recall@5"] > 1.5 * popularity_recall(run, 5)

    def test_copies_share_everything(self, run: Run) -> None:
        solution = run.model.solution()
        copied = copy.deepcopy(run.model)
        assert copied.graph is run.model.graph
        assert copied.solution() is solution

    def test_what_it_has_no_place_for(self, data_path: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"feature_adapter: {self.model} has no place"):
            self.start(data_path, tmp_path, feature_adapter="befa")
        with pytest.raises(ValueError, match=f"trainable_features: {self.model} is solved in closed form"):
            self.start(data_path, tmp_path, trainable_features=True)

    def test_a_run_without_validation_data(self, run: Run) -> None:
        trainer = run.trainer()
        trainer.fit(run.train_data)
        assert np.isfinite(trainer.evaluate(run.test_data)["recall@5"])
