"""What every feature adapter must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_mm.load import open_checkpoint
from recbole_mm.registry import ADAPTERS
from recbole_mm.testing.model_runs import SMALL, few_neighbours
from recbole_mm.testing.toy import Run, own_process, start, write_planted


class AdapterConformance:
    """Inherit, and set `adapter`; it is tried in a model of each kind that takes adapters.

    Attributes:
        adapter: its name.
        settings: keys that its tests run with.
        models: names of the models.
        parameters_without_gradient: ends of names of parameters that a first batch leaves without.
    """

    adapter: str
    settings: dict[str, Any] = {}
    models: tuple[str, ...] = ("VBPR", "FREEDOM", "MGCN")
    parameters_without_gradient: tuple[str, ...] = ()

    @pytest.fixture(autouse=True)
    def own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """RecBole writes logs and checkpoints into the working folder and reads the command line."""
        own_process(tmp_path, monkeypatch)

    @pytest.fixture(params=["VBPR", "FREEDOM", "MGCN"])
    def run(self, request: pytest.FixtureRequest, tmp_path: Path) -> Run:
        """A model with the adapter."""
        if request.param not in self.models:
            pytest.skip(f"not tried in {request.param}")
        folder = write_planted(tmp_path / "data", {"visual": 12, "textual": 7})
        own: dict[str, Any] = {"modalities": ["visual", "textual"], "checkpoint_dir": "saved", **self.settings}
        own |= {**few_neighbours(request.param), "feature_adapter": self.adapter, "epochs": 2}
        return start(request.param, folder, **{**SMALL, **own})

    def parameters(self, run: Run) -> dict[str, torch.nn.Parameter]:
        """The adapter's own, by name."""
        return {name: value for name, value in run.model.named_parameters() if "feature_adapters" in name}

    def test_gives_features_of_the_same_shape(self, run: Run) -> None:
        adapter = ADAPTERS.get(self.adapter)(8, run.config)
        features, behaviour = torch.randn(5, 8), torch.randn(5, 8)
        adapted = adapter(features, behaviour if adapter.needs_behaviour else None)
        assert adapted.shape == features.shape and adapted.dtype == features.dtype
        assert torch.isfinite(adapted).all()

    def test_an_items_feature_depends_on_no_other_item(self, run: Run) -> None:
        adapter = ADAPTERS.get(self.adapter)(8, run.config).eval()
        features, behaviour = torch.randn(5, 8), torch.randn(5, 8)
        read = behaviour if adapter.needs_behaviour else None
        alone = [adapter(features[i : i + 1], None if read is None else read[i : i + 1]) for i in range(5)]
        torch.testing.assert_close(adapter(features, read), torch.cat(alone))

    def test_all_its_parameters_learn(self, run: Run) -> None:
        own = self.parameters(run)
        with torch.no_grad():  # some start at zero, where the gradient of others is zero too
            for parameter in own.values():
                parameter.add_(0.1 * torch.randn_like(parameter))
        run.model.train()
        run.loss(run.batch()).backward()
        idle = [name for name, value in own.items() if value.grad is None or not value.grad.any()]
        assert [name for name in idle if not name.endswith(self.parameters_without_gradient or ("\0",))] == []

    def test_a_checkpoint_has_it(self, run: Run) -> None:
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        trainer.evaluate(run.test_data, load_best_model=True)
        opened = open_checkpoint(Path(trainer.saved_model_file))
        saved = dict(opened.model.named_parameters())
        assert all(torch.equal(saved[name], value) for name, value in self.parameters(run).items())
