"""What PTMRec's encoder computes in a step: each item once or twice, in parts, with the gradient of one whole pass."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

pytest.importorskip("transformers")

from tests.model.test_ptmrec import PTMRuns
from tests.planted_contents import write_contents

EXACT = {"rtol": 1e-9, "atol": 1e-13}


class Whole:
    """Fresh features of all items, each tower's texts and pictures in one pass, with all their padding."""

    is_stale = False

    def __init__(self, model):
        self._model = model

    @contextmanager
    def of(self, items):
        contents, tables, fresh = self._model.contents, self._model.backbone.features, {}
        for modality, tower in (("visual", "image_features"), ("textual", "text_features")):
            inputs = contents.inputs(modality)
            rows = (tensor[torch.arange(len(inputs.items))] for tensor in inputs.inputs)
            features = contents._scalings[modality](getattr(contents.encoder, tower)(*rows))
            fresh[modality] = tables[modality].detach().index_copy(0, inputs.items, features)
        with tables.substituted(fresh):
            yield


class EncodingRuns(PTMRuns):
    def in_stage_two(self, data_path, **settings):
        """A model of double precision, tuned parameters away from where they start."""
        run = self.start(data_path, **settings)
        run.model.enter_stage("two")
        run.model.double().start_epoch(0)
        run.model.contents.encoder.double()
        torch.manual_seed(1)
        with torch.no_grad():
            for value in run.model.tuned.values():
                value.add_(0.3 * torch.randn_like(value))
        return run

    def gradients(self, run, seed=0):
        """Of a step of 64 pairs, four micro-batches."""
        torch.manual_seed(seed)
        run.model.zero_grad()
        run.model.train().calculate_loss(run.batch()).backward()
        return {name: value.grad.clone() for name, value in run.model.named_parameters() if value.grad is not None}

    def calls(self, run, monkeypatch):
        """Sizes of what the encoder's towers are given, in order: `[items, tokens]` of texts."""
        seen = {"image_features": [], "text_features": []}
        for tower, sizes in seen.items():
            encode = getattr(run.model.contents.encoder, tower)

            def noting(*inputs, encode=encode, sizes=sizes):
                sizes.append(tuple(inputs[0].shape[:2]))
                return encode(*inputs)

            monkeypatch.setattr(run.model.contents.encoder, tower, noting)
        return seen


class TestGradients(EncodingRuns):
    @pytest.mark.parametrize("kept", [0, 20, 1000])
    @pytest.mark.parametrize("peft", ["prompt", "adapter"])
    @pytest.mark.parametrize("backbone", ["VBPR", "MGCN"])
    def test_are_those_of_one_whole_pass(self, data_path, backbone, peft, kept):
        run = self.in_stage_two(data_path, backbone=backbone, peft=peft, kept_items=kept)
        gradients = self.gradients(run)
        run.model.fresh = Whole(run.model)
        expected = self.gradients(run)
        assert any(name.startswith("tuned") for name in gradients)
        torch.testing.assert_close(gradients, expected, **EXACT)

    def test_what_is_encoded_twice_is_so_with_the_same_random_numbers(self, data_path):
        pytest.importorskip("peft")
        settings = {"backbone": "VBPR", "peft": "lora", "lora_dropout": 0.5, "micro_batch_size": 4}
        twice = self.in_stage_two(data_path, **settings)
        once = self.in_stage_two(data_path, **settings, kept_items=1000)
        torch.testing.assert_close(self.gradients(twice), self.gradients(once), **EXACT)
        first, other = self.gradients(once), self.gradients(once, seed=1)
        assert all(not torch.allclose(first[name], other[name]) for name in first if name.startswith("tuned"))


class TestPasses(EncodingRuns):
    @pytest.mark.parametrize(("kept", "again"), [(0, 6), (1000, 0), (12, 4), (15, 3)])
    def test_kept_items_are_encoded_once_and_the_others_twice(self, data_path, monkeypatch, kept, again):
        run = self.in_stage_two(data_path, backbone="VBPR", micro_batch_size=5, kept_items=kept)
        seen = self.calls(run, monkeypatch)
        torch.manual_seed(0)
        loss = run.model.train().calculate_loss(run.batch())
        forward = {tower: list(sizes) for tower, sizes in seen.items()}
        loss.backward()
        for tower, sizes in seen.items():
            assert sum(n for n, _ in forward[tower]) == 29  # all that have contents are in the step, each once
            assert len(forward[tower]) == 6 and max(n for n, _ in forward[tower]) == 5
            assert len(sizes) - 6 == again

    def test_texts_are_read_without_the_padding_that_none_of_a_part_needs(self, data_path, monkeypatch):
        run = self.in_stage_two(data_path, backbone="VBPR", micro_batch_size=5, kept_items=1000)
        inputs, seen = run.model.contents.inputs("textual"), self.calls(run, monkeypatch)
        lengths = inputs.inputs[1].sum(dim=1)
        assert torch.equal(inputs.lengths, lengths) and lengths.unique().numel() > 2
        self.gradients(run)
        longest = [int(part.max()) for part in lengths.sort().values.split(5)]
        assert [tokens for _, tokens in seen["text_features"]] == longest
        assert min(longest) < max(longest) == inputs.inputs[0].shape[1]

    @pytest.mark.parametrize("family", ["siglip", "blip"])
    def test_padding_changes_no_encoders_feature(self, tmp_path, family):
        from tests.encoder.test_families import write_dual
        from tests.planted_contents import extract

        data = write_contents(tmp_path / "data")
        titles = [f"i{item}\t" + " ".join(["western"] * (1 + item % 4)) for item in range(29)]
        (data / "toy" / "toy.item").write_text("item_id:token\ttitle:token_seq\n" + "\n".join(titles) + "\n")
        extract(data, encoder := write_dual(tmp_path / family, family))
        model = self.in_stage_two(data, encoder=str(encoder), backbone="VBPR").model
        inputs = model.contents.inputs("textual")
        shortest = inputs.among(inputs.items)[:5].sort().values
        places = torch.searchsorted(inputs.items, shortest)
        padded = model.contents.encoder.text_features(*(tensor[places] for tensor in inputs.inputs))
        torch.testing.assert_close(model.contents.encode("textual", shortest), padded, **EXACT)
        assert (inputs.lengths[places] < inputs.inputs[0].shape[1]).all() == (family == "blip")  # SigLIP attends to it
