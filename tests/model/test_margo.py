"""MARGO: two stages, modality weights and their calibration."""

from __future__ import annotations

import gc
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recbole_mm.io.run_files import RunFiles
from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import run as run_mm
from recbole_mm.testing.model_runs import SMALL
from recbole_mm.testing.models import ModelConformance
from recbole_mm.testing.toy import start, write_planted
from recbole_mm.trainer.stage_one import load_stage_one

BACKBONE = {"backbone": "POWERec", "n_layers": 2}


class TestMARGO(ModelConformance):
    model = "MARGO"
    settings = {**BACKBONE, "two_stage": False}
    state_dict_keys = {"item_logits"} | {
        f"backbone.{name}" for name in (
            "item_embedding", "user_embedding.tables.0", "user_embedding.prompts",
            "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
            "projections.2.weight", "projections.2.bias",
        )
    }  # fmt: skip

    def test_loss_equals_formulae(self, data_path, tmp_path):
        """L_II of Eqs. 1 to 10 written out in numpy."""
        run = self.start(data_path, tmp_path, calibration_weight=0.7, temperature=2.0, reg_weight=0.3)
        model = run.model.double().train()
        batch = run.batch()
        user, i, k = (ids.numpy() for ids in model.batch(batch))
        users, items = (table.detach().numpy() for table in model.encode())
        w = model.item_logits.softmax(-1).detach().numpy()
        y_i, y_k = (np.einsum("bmd,bmd->bm", users[user], items[item]) for item in (i, k))
        margin = (w[i] * y_i).sum(1) - (w[k] * y_k).sum(1)
        d = y_i - y_k
        g = np.where(d >= 0, d, -1e6)
        z = np.exp(g - g.max(1, keepdims=True))
        z /= z.sum(1, keepdims=True)
        gamma = np.where((margin > 0) & (d >= 0).any(1), np.tanh(margin / 2.0), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            divergence = np.where(z > 0, z * np.log(z / (w[i] + w[k])), 0).sum(1)
        tables = model.backbone.user_embedding.tables[0], model.backbone.item_embedding
        table, ids = (tensor.detach().numpy() for tensor in tables)
        squares = sum((rows**2).sum() for rows in (table[user], ids[i], ids[k]))
        expected = np.log1p(np.exp(-margin)).mean() + 0.7 * (gamma * divergence).mean()
        expected += 0.3 * 0.5 * squares / len(user)
        np.testing.assert_allclose(model.calculate_loss(batch).item(), expected, rtol=1e-9)

    def test_what_an_epoch_records(self, data_path, tmp_path):
        """Gradients and means by hand for one batch, the spread of weights that are set."""
        run = self.start(data_path, tmp_path, calibration_weight=0.7)
        model, batch = run.model.train(), run.batch()
        with torch.no_grad():
            model.item_logits[:, 0] += torch.arange(len(model.item_logits)) / 10
        model.start_epoch(0)
        both = model.calculate_loss(batch)
        gradient = torch.autograd.grad(both, model.item_logits, retain_graph=True)[0].flatten()
        model.calibration_weight = 0.0
        ranking = torch.autograd.grad(model.calculate_loss(batch), model.item_logits)[0].flatten()
        records = model.records()
        assert records["L_rec"] + 0.7 * records["L_cal"] == pytest.approx(
            both.item() - model.backbone.regularisation(*model.batch(batch)).item() / len(batch), rel=1e-5
        )
        expected = torch.cosine_similarity(ranking, gradient - ranking, dim=0).item()
        assert records["gradient_cosine"] == pytest.approx(expected, abs=1e-4)
        weights = model.item_logits.detach().numpy().astype(float)[1:]
        weights = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
        assert records["weights_sd"] == pytest.approx(weights.std(axis=0, ddof=1).mean(), rel=1e-4)
        assert 0 < records["gamma"] < 1
        model.start_epoch(1)
        assert set(model.records()) == {"weights_sd"}
        assert "user_cosine" in model.diagnostics()  # of its backbone

    def test_stage_one_sums_and_does_not_train_weights(self, data_path, tmp_path):
        run = self.start(data_path, tmp_path, item_weights=False)
        assert run.model.stages == ("one",)
        backbone_scores = run.model.backbone.score_tables()
        assert all(torch.equal(a, b) for a, b in zip(run.model.score_tables(), backbone_scores, strict=True))
        run.model.calculate_loss(run.batch()).backward()
        assert run.model.item_logits.grad is None

    @pytest.mark.parametrize(
        "backbone, settings",
        [("PGL", {"log_base": math.e}), ("MENTOR", {"log_base": 2}),
         ("COHESION", {"log_base": 2, "adaptive_weights": False, "user_graph_width": 4})],
    )  # fmt: skip
    def test_stage_one_trains_a_backbone_on_all_of_its_own_loss(self, data_path, tmp_path, backbone, settings):
        """Its contrasts and alignments too, whatever of them is drawn being drawn alike."""
        run = self.start(data_path, tmp_path, backbone=backbone, n_layers=2, knn_k=3, **settings, item_weights=False)
        losses = []
        for model in (run.model, run.model.backbone):
            torch.manual_seed(5)
            losses.append(model.calculate_loss(run.batch()).item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    def test_frozen_weights_stay_and_all_else_goes_on(self, data_path, tmp_path):
        """The ablation's row: a learning rate of 0 for the weights alone, about one half each from start to end."""
        run = self.start(data_path, tmp_path, item_weights_learning_rate=0.0, two_stage=False, epochs=3)
        logits, items = run.model.item_logits.detach().clone(), run.model.backbone.state_dict()
        items = {name: value.clone() for name, value in items.items()}
        run.trainer().fit(run.train_data, run.valid_data, saved=False)
        assert torch.equal(run.model.item_logits, logits)
        assert (run.model.item_weights() - 1 / len(run.model.rated_modalities)).abs().max() < 0.02
        assert not all(torch.equal(value, items[name]) for name, value in run.model.backbone.state_dict().items())

    def test_calibration_reaches_only_the_weights(self, data_path, tmp_path):
        """With the stop-gradient the calibration term moves the logits alone; without it, the backbone too."""
        gradients = {}
        for stop in (True, False):
            for weight in (0.0, 100.0):
                run = self.start(data_path, tmp_path, stop_gradient=stop, calibration_weight=weight)
                run.model.train()
                run.model.start_epoch(0)
                run.model.calculate_loss(run.batch()).backward()
                gradients[stop, weight] = run.model.backbone.item_embedding.grad.clone()
        assert torch.equal(gradients[True, 0.0], gradients[True, 100.0])
        assert not torch.allclose(gradients[False, 0.0], gradients[False, 100.0])

    @pytest.mark.parametrize(
        "settings, message",
        [
            ({"backbone": "LayerGCN"}, "'LayerGCN' has no rating per modality"),
            ({"backbone": "LightGCN"}, "'LightGCN' is no model of recbole_mm; choose a late-fusion model"),
            ({"backbone": "dragon"}, r"'dragon' is no model of recbole_mm \(did you mean DRAGON\?\)"),
            ({"backbone": "PODualGNN"}, "use backbone: DualGNN with user_embedding: prompted"),
            ({"backbone": "POWERec", "weak_weight": 0.01}, "weak_weight: 0.01"),
            ({"temperature": 0}, "temperature: 0"),
            ({"temperature": 0, "item_weights": False}, "temperature: 0"),
            ({"log_base": 1}, "log_base: 1"),
            ({"calibration_weight": -1}, "calibration_weight: -1"),
            ({"backbone": "DRAGON", "knn_k": 0}, "knn_k: 0"),
            ({"backbone": "DRAGON", "knn_k": 3, "user_graph_width": 0}, "user_graph_width: 0"),
        ],
    )
    def test_bad_settings(self, data_path, tmp_path, settings, message):
        with pytest.raises(ValueError, match=message):
            self.start(data_path, tmp_path, **settings)


class TestStages:
    """Both stages in one run."""

    @pytest.fixture(scope="class")
    @classmethod
    def data_path(cls, tmp_path_factory):
        return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 12, "textual": 7})

    def start(self, data_path, **settings):
        merged = {**SMALL, **BACKBONE, "checkpoint_dir": "saved", "learning_rate": 0.01, "epochs": 4}
        return start("MARGO", data_path, **{**merged, **settings})

    def finish(self, run):
        trainer = run.trainer()
        best, _ = trainer.fit(run.train_data, run.valid_data)
        return trainer, best, trainer.evaluate(run.test_data)

    def test_stage_two_starts_from_the_best_of_stage_one(self, data_path):
        run = self.start(data_path, stage_two_epochs=1, stage_two_learning_rate=0.0, stage_one_epochs=5)
        trainer, *_ = self.finish(run)
        (final,), (stage_one,) = Path("saved").glob("*.pth"), Path("saved").glob("*/*.pth")
        assert trainer.saved_model_file == str(final)
        assert stage_one == final.with_suffix("").with_name(f"{final.stem}-stages") / "stage-one.pth"
        first, second = open_checkpoint(stage_one), open_checkpoint(trainer.saved_model_file)
        assert (first.model.stage, second.model.stage) == ("one", "two")
        for name, value in first.model.backbone.state_dict().items():
            assert torch.equal(value, second.model.backbone.state_dict()[name])

    def test_opens_with_the_user_graph_of_its_epoch(self, data_path):
        """DRAGON draws its user-user graph per epoch: the scores of a checkpoint need that of its own epoch."""
        run = self.start(data_path, backbone="DRAGON", knn_k=3, user_graph_width=4)
        trainer, *_ = self.finish(run)
        opened = open_checkpoint(trainer.saved_model_file).model
        for trained, reopened in zip(run.model.score_tables(), opened.score_tables(), strict=True):
            assert torch.equal(trained, reopened)

    def test_interrupted_in_either_stage_it_reaches_the_same_numbers(self, data_path):
        _, best, result = self.finish(self.start(data_path))
        for file in sorted(Path("saved").rglob("*.pth")):
            resumed = self.start(data_path, resume_from=str(file))
            _, best_resumed, result_resumed = self.finish(resumed)
            assert (best_resumed, result_resumed) == (best, result)

    @pytest.mark.parametrize("name", ["mine.pth", "mine-stage-one.pth"])
    def test_resuming_a_renamed_stage_one_leaves_it_and_names_the_final_checkpoint(self, data_path, name, capsys):
        self.finish(self.start(data_path))
        files, renamed = RunFiles(next(Path("saved").glob("*-stages/stage-one.pth"))), RunFiles(Path("saved") / name)
        files.resume.rename(renamed.resume)
        stage_one = files.pickle.rename(renamed.pickle)
        settings = {**SMALL, **BACKBONE, "learning_rate": 0.01, "epochs": 4, "resume_from": str(stage_one)}
        run_mm("MARGO", "toy", config_dict={"data_path": str(data_path), "checkpoint_dir": "other", **settings})
        assert torch.load(stage_one, weights_only=False)["stage"] == "one"
        final = Path("saved") / {"mine.pth": "mine-stage-two.pth"}.get(name, "mine.pth")
        assert open_checkpoint(final).model.stage == "two"
        assert f"checkpoint: {final}" in capsys.readouterr().out.splitlines()

    @pytest.mark.parametrize("killed_in", ["one", "two"])
    def test_a_killed_run_of_an_earlier_version_goes_on(self, data_path, killed_in, monkeypatch):
        """Its stage one lay beside the run's own files."""
        _, *expected = self.finish(self.start(data_path))
        files = RunFiles(next(Path("saved").glob("*.pth")))
        earlier = RunFiles(files.pickle.with_stem(f"{files.pickle.stem}-stage-one"))
        for now, then in zip(files.stage("one").all, earlier.all, strict=True):
            if now.exists():
                now.rename(then)
        shutil.copy(earlier.resume, earlier.last)
        for file in files.all if killed_in == "one" else ():
            file.unlink(missing_ok=True)
        files.stages_folder.rmdir()
        trainer, *reached = self.finish(self.start(data_path, resume_from=str(earlier.pickle)))
        assert reached == expected and trainer.saved_model_file == str(files.pickle)
        del trainer
        gc.collect()
        assert [file.name for file in Path("saved").iterdir() if "stage" in file.name and "-last" in file.name] == []

    def test_resuming_a_checkpoint_of_another_model_names_both(self, data_path):
        powerec = start("POWERec", data_path, **{**SMALL, "n_layers": 2, "epochs": 1, "checkpoint_dir": "saved"})
        trainer = powerec.trainer()
        trainer.fit(powerec.train_data, powerec.valid_data)
        run = self.start(data_path, resume_from=trainer.saved_model_file)
        with pytest.raises(ValueError, match="is of model POWERec, this run is of MARGO"):
            run.trainer().fit(run.train_data, run.valid_data)

    def test_stage_one_checkpoint_skips_stage_one(self, data_path):
        trainer, best, result = self.finish(self.start(data_path))
        stage_one = next(Path("saved").glob("*-stages/stage-one.pth"))
        run = self.start(data_path, stage_one_checkpoint=str(stage_one), checkpoint_dir="again")
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        assert [file.suffix for file in Path("again").glob("*.pth")] == [".pth"]
        assert trainer.stage == "two"

    def test_a_checkpoint_of_the_backbone_serves_as_stage_one(self, data_path):
        powerec = start("POWERec", data_path, **{**SMALL, "n_layers": 2, "epochs": 1, "checkpoint_dir": "saved"})
        trainer = powerec.trainer()
        trainer.fit(powerec.train_data, powerec.valid_data)
        run = self.start(data_path, stage_one_checkpoint=trainer.saved_model_file)
        load_stage_one(run.model, trainer.saved_model_file, run.train_data._dataset)
        assert torch.equal(run.model.backbone.item_embedding, powerec.model.item_embedding)

    def test_wrong_stage_one_checkpoints(self, data_path, tmp_path):
        other = write_planted(tmp_path / "other", {"visual": 12, "textual": 7}, seed=1)
        for path, settings, message in (
            (other, {"backbone": "POWERec"}, "interactions are not those of this run"),
            (data_path, {"backbone": "DualGNN"}, "has backbone POWERec, this run has DualGNN"),
        ):
            trainer, *_ = self.finish(self.start(path, epochs=1, checkpoint_dir=str(tmp_path / "first")))
            stage_one = str(RunFiles.of(trainer.saved_model_file).stages()[0].pickle)
            run = self.start(data_path, stage_one_checkpoint=stage_one, **settings)
            with pytest.raises(ValueError, match=message):
                run.trainer().fit(run.train_data, run.valid_data)

    @pytest.fixture(scope="class")
    @classmethod
    def same_widths(cls, tmp_path_factory):
        """Interactions and widths alike, and only the textual features differ."""
        own, other = (write_planted(tmp_path_factory.mktemp("same"), {"visual": 6, "textual": 6}) for _ in range(2))
        file = other / "toy" / "toy.textual"
        header, first, *rest = file.read_text().splitlines()
        item, row = first.split("\t")
        file.write_text("\n".join([header, f"{item}\t9{row[1:]}", *rest]) + "\n")
        return own, other

    @pytest.mark.parametrize("key", ["stage_one_checkpoint", "resume_from"])
    def test_other_features_or_another_order_of_them_are_refused(self, same_widths, key):
        own, other = same_widths
        self.finish(self.start(own, epochs=1))
        stage_one = str(next(Path("saved").glob("*-stages/stage-one.pth")))
        for path, settings, message in (
            (other, {}, "trained on other textual features than this run"),
            (own, {"modalities": ["textual", "visual"]}, "visual, textual in this order, this run has textual, visual"),
        ):
            run = self.start(path, **{key: stage_one}, **settings)
            with pytest.raises(ValueError, match=message):
                run.trainer().fit(run.train_data, run.valid_data)

    def test_features_are_not_compared_where_a_checkpoint_has_no_fingerprint_of_them(self, same_widths):
        own, other = same_widths
        self.finish(self.start(own, epochs=1))
        stage_one = next(Path("saved").glob("*-stages/stage-one.pth"))
        described, weighed = stage_one.with_suffix(".json"), stage_one.with_suffix(".safetensors")
        older = json.loads(described.read_text()) | {"format": 1}
        for field in ("features", "write_id", "replaces", "sha256"):
            del older[field]
        described.write_text(json.dumps(older))
        save_file(load_file(weighed), weighed)
        run = self.start(other, epochs=1, stage_one_checkpoint=str(stage_one))
        assert self.finish(run)[0].stage == "two"

    def test_another_stage_and_other_settings_are_refused(self, data_path):
        trainer, *_ = self.finish(self.start(data_path, epochs=1))
        stage_one = next(Path("saved").glob("*-stages/stage-one.pth"))
        dragon = {**SMALL, "knn_k": 3, "user_graph_width": 4, "epochs": 1, "checkpoint_dir": "dragon"}
        alone = start("DRAGON", data_path, **dragon)
        of_dragon = alone.trainer()
        of_dragon.fit(alone.train_data, alone.valid_data)
        bare = Path("bare.pth")
        bare.write_bytes(stage_one.read_bytes())
        for file, settings, error, message in (
            (trainer.saved_model_file, {}, ValueError, "is of stage two"),
            (stage_one, {"n_layers": 1}, ValueError, r"\(n_layers: 2 there, 1 here\)"),
            (of_dragon.saved_model_file, {**dragon, "backbone": "DRAGON"}, ValueError, "user_weights: True there"),
            (bare, {}, FileNotFoundError, "has no .safetensors and .json .* trust_pickle: True if you trust"),
        ):
            run = self.start(data_path, stage_one_checkpoint=str(file), **settings)
            with pytest.raises(error, match=message):
                run.trainer().fit(run.train_data, run.valid_data)

    def test_a_trusted_pickle_serves_as_stage_one(self, data_path):
        self.finish(self.start(data_path, epochs=1))
        bare = next(Path("saved").glob("*-stages/stage-one.pth")).rename("bare.pth")
        run = self.start(data_path, epochs=1, stage_one_checkpoint=str(bare), trust_pickle=True)
        assert self.finish(run)[0].stage == "two"

    @pytest.mark.parametrize("key", ["item_weights", "two_stage"])
    def test_a_run_of_one_stage_takes_no_stage_one_checkpoint(self, data_path, key):
        run = self.start(data_path, stage_one_checkpoint="saved/one.pth", **{key: False})
        with pytest.raises(ValueError, match=f"stage_one_checkpoint: saved/one.pth .* {key}: False"):
            run.trainer()

    @pytest.mark.parametrize("key", ["stage_one_epochs", "stage_two_stopping_step", "stage_two_learning_rate"])
    def test_negative_settings_of_a_stage_are_refused_before_training(self, data_path, key):
        with pytest.raises(ValueError, match=f"{key}: -1 is not allowed for MARGO; give a"):
            self.start(data_path, **{key: -1}).trainer()

    def test_one_modality_cannot_be_weighted(self, data_path):
        with pytest.raises(ValueError, match="item_weights: False for stage one alone"):
            self.start(data_path, backbone="DualGNN", modalities=["visual"])

    def test_log_and_tensorboard_name_the_stage(self, data_path, capsys, caplog):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        run = self.start(data_path, epochs=1)
        with caplog.at_level("INFO"):
            _, result = run.trainer().fit(run.train_data, run.valid_data, show_progress=True)
        said = [re.sub(r"\x1b\[[0-9;]*m", "", message) for message in caplog.messages]
        for stage in ("one", "two"):
            assert sum(message.startswith(f"Stage {stage}: epoch 0 training") for message in said) == 1
            (best,) = (message for message in said if message.startswith(f"Stage {stage}: best validation result: "))
        assert all(f"{metric} : {value}" in best for metric, value in result.items())
        shown = capsys.readouterr().err
        assert "Stage one" in shown and "Stage two" in shown
        folder = max(Path("log_tensorboard").iterdir(), key=lambda f: f.stat().st_mtime)
        events = EventAccumulator(str(folder)).Reload()
        tags = set(events.Tags()["scalars"])
        assert {"stage_one/Loss/Train", "stage_two/Loss/Train", "stage_two/Vaild_score"} <= tags
