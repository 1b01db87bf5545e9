"""PTMRec on other encoders than CLIP and by any method of peft, its pictures on the disk, and its encoder's warm-up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from recbole_mm.data.feature_file import read_features
from recbole_mm.extraction import prepared_pictures
from recbole_mm.extraction.item_inputs import ItemInputs
from tests.encoder.test_families import write_dual
from tests.model.test_ptmrec import PTMRuns
from tests.planted_contents import extract, write_contents


class TestEncoders(PTMRuns):
    @pytest.mark.parametrize("family", ["siglip", "blip"])
    @pytest.mark.parametrize("settings", [{"peft": "prompt"}, {"peft": "lora", "lora_dropout": 0.2}, {"peft": "peft"}])
    def test_both_stages(self, tmp_path, family, settings):
        data = write_contents(tmp_path / "data")
        encoder = write_dual(tmp_path / family, family)
        extract(data, encoder)
        run = self.start(data, epochs=1, encoder=str(encoder), backbone="VBPR", **settings)
        before = [value.detach().clone() for value in run.model.tuned.values()]
        trainer, best, result = self.finish(run)
        assert np.isfinite(result["recall@5"]) and trainer.stage == "two"
        assert any(not torch.equal(*pair) for pair in zip(before, run.model.tuned.values(), strict=True))

    def test_untuned_features_are_the_extracted_ones(self, tmp_path):
        data = write_contents(tmp_path / "data")
        encoder = write_dual(tmp_path / "siglip", "siglip")
        extract(data, encoder)
        model = self.start(data, encoder=str(encoder), backbone="VBPR", peft="lora").model
        for modality in model.modalities:
            items = model.contents.inputs(modality).items
            encoded = model.contents.encode(modality, items).detach()
            torch.testing.assert_close(encoded, model.extracted[modality][items], rtol=1e-3, atol=1e-4)


class TestPictures(PTMRuns):
    def test_stage_two_finds_what_extraction_prepared(self, data_path, monkeypatch):
        """In the default folder: extraction ran in another working folder, from which it is copied."""
        model = self.start(data_path, peft="lora", picture_cache="kept").model
        first = model.contents.inputs("visual").inputs[0][torch.arange(29)]
        assert list(Path("kept").rglob("*.arrow"))
        monkeypatch.setattr(prepared_pictures, "prepare_pictures", lambda *_: pytest.fail("prepared again"))
        again = self.start(data_path, peft="lora", picture_cache="kept").model
        assert torch.equal(again.contents.inputs("visual").inputs[0][torch.arange(29)], first)

    def test_several_of_an_item_are_averaged_as_by_extraction(self, tmp_path):
        data = write_contents(tmp_path / "data")
        images = data / "toy" / "images"
        for number in (1, 2):
            (images / f"i4_{number}.png").write_bytes((images / f"i{number}.png").read_bytes())
        extract(data, data / "clip")
        model = self.start(data, backbone="VBPR", peft="lora").model
        inputs = model.contents.inputs("visual")
        assert sorted(inputs.counts.tolist()) == [1] * 28 + [3]
        shuffled = inputs.items[torch.randperm(29, generator=torch.Generator().manual_seed(0))][:11].sort().values
        for items in (inputs.items, shuffled):
            encoded = model.contents.encode("visual", items).detach()
            torch.testing.assert_close(encoded, model.extracted["visual"][items], rtol=1e-3, atol=1e-4)
        assert len(read_features(data / "toy", "toy", "visual").ids) == 29

    def test_means_of_parts(self):
        rows = torch.arange(6.0).view(6, 1)
        inputs = ItemInputs(torch.tensor([3, 5, 9]), (rows,), {}, torch.tensor([2, 1, 3]))
        means = inputs.features(lambda vectors: vectors, torch.tensor([9, 3]), torch.device("cpu"))
        assert means.tolist() == [[4.0], [0.5]]


class TestWarmup(PTMRuns):
    def rates(self, run) -> list[tuple[float, float]]:
        """Of the backbone's and of the encoder's parameters, at each step."""
        trainer, seen = run.trainer(), []
        trainer._begin("two")
        step = trainer.optimizer.step

        def noting(*arguments, **options):
            tuned = set(map(id, run.model.tuned.values()))
            groups = trainer.optimizer.param_groups
            rates = {id(parameter) in tuned: group["lr"] for group in groups for parameter in group["params"]}
            seen.append((rates[False], rates[True]))
            return step(*arguments, **options)

        trainer.optimizer.step = noting
        for epoch in range(2):
            trainer._train_epoch(run.train_data, epoch)
        return seen

    @pytest.mark.parametrize("rate", [None, 0.01])
    def test_the_encoders_rate_rises_and_the_backbones_is_constant(self, data_path, rate):
        settings = {"encoder_warmup_steps": 5, "encoder_learning_rate": rate, "learning_rate": 0.002}
        seen = self.rates(self.start(data_path, two_stage=False, **settings))
        assert len(seen) > 6
        expected = [(rate or 0.002) * min(1, (step + 1) / 5) for step in range(len(seen))]
        assert [encoder_rate for _, encoder_rate in seen] == pytest.approx(expected)
        assert {backbone_rate for backbone_rate, _ in seen} == {0.002}

    def test_sgd_counts_no_steps(self, data_path):
        run = self.start(data_path, encoder_warmup_steps=5, learner="sgd")
        with pytest.raises(ValueError, match="encoder_warmup_steps: learner sgd counts no steps"):
            run.trainer()
