"""PTMRec: two stages, fresh features in the backbone, what is saved, and its ablations."""

from __future__ import annotations

import gc
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from recbole_mm.encoder import load_dual_encoder
from recbole_mm.load import open_checkpoint
from recbole_mm.nn.knowledge_transfer import knowledge_transfer_loss
from recbole_mm.registry import TUNINGS
from recbole_mm.testing.model_runs import SMALL
from recbole_mm.testing.models import ModelConformance
from recbole_mm.testing.toy import start
from recbole_mm.trainer.stage_one import load_stage_one
from recbole_mm.trainer.tuning_trainer import peak_memory, reset_peak_memory
from tests.planted_contents import WIDTH, extract, write_contents
from tests.tiny_clip import write_dual_clip

PTM = {"text_fields": ["title"], "prompt_depth": 2, "lora_rank": 2, "micro_batch_size": 16, "accumulation_steps": 2}
HOSTS = {
    "FREEDOM": {"n_layers": 1, "knn_k": 3, "modality_loss_weight": 0.1},
    "VBPR": {},
    "MGCN": {"n_layers": 1, "knn_k": 3},
    "SMORE": {"n_layers": 1, "knn_k": 3},
    "BM3": {"n_layers": 1},
    "LATTICE": {"n_layers": 1, "knn_k": 3},
    "DRAGON": {"n_layers": 1, "knn_k": 3, "user_graph_width": 3},
}


class PTMRuns:
    model = "PTMRec"

    @pytest.fixture(scope="class")
    @classmethod
    def data_path(cls, tmp_path_factory):
        return write_contents(tmp_path_factory.mktemp("contents"))

    def start(self, data_path, tmp_path=Path(), **settings):
        merged = {**SMALL, "modalities": ["visual", "textual"], "checkpoint_dir": str(tmp_path / "saved"), **PTM}
        merged |= {"encoder": str(data_path / "clip"), "backbone": "FREEDOM"}
        backbone = settings.get("backbone", "FREEDOM")
        return start("PTMRec", data_path, **{**merged, **HOSTS.get(backbone, {}), **settings})

    def finish(self, run):
        trainer = run.trainer()
        best, _ = trainer.fit(run.train_data, run.valid_data)
        return trainer, best, trainer.evaluate(run.test_data)


class TestConformance(PTMRuns, ModelConformance):
    """In stage two, from scratch and without transfer: what every model must do."""

    settings = {"two_stage": False, "epochs": 3}
    modality_counts = (2, 3)
    planted_epochs = 30
    state_dict_keys = {"tuned.visual_prompts", "tuned.textual_prompts"} | {
        f"backbone.{name}" for name in (
            "visual_feature", "textual_feature", "user_embedding", "item_embedding",
            "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        )
    }  # fmt: skip

    def start(self, data_path, tmp_path=Path(), **settings):
        return super().start(data_path, tmp_path, **{**self.settings, **settings})

    def test_is_built_from_its_defaults(self, data_path, tmp_path):
        run = self.start(data_path, tmp_path)
        assert (run.config["transfer_weight"], run.config["learning_rate"]) == (1.0, 0.001)

    def test_float64_agrees_with_float32(self):
        pytest.skip("transformers builds an encoder in single precision, from pictures in bytes")


class TestFreshFeatures(PTMRuns):
    def test_the_loss_is_the_backbones_on_features_encoded_now_plus_the_transfer(self, data_path):
        run = self.start(data_path, transfer_weight=0.7)
        model = run.model
        model.enter_stage("two")
        model.start_epoch(0)
        with torch.no_grad():
            for prompts in model.tuned.values():
                prompts.add_(0.5 * torch.randn_like(prompts))
        batch = run.batch()
        positives = torch.unique(torch.cat([batch["item_id"], batch["neg_item_id"]]))
        loss = model.train().calculate_loss(batch)
        backbone, vectors = model.backbone, []
        for modality in model.modalities:
            expected = run.dataset.modality_feature(modality).clone()
            missing = run.dataset.token2id("item_id", "i29")
            items = positives[positives != missing]
            expected[items] = model.contents.encode(modality, items).detach()
            torch.testing.assert_close(backbone.feature(modality), expected)  # stored, and no other row changed
            assert not torch.allclose(expected, run.dataset.modality_feature(modality), atol=1e-3)
            vectors.append(backbone.project_features(modality, expected[batch["item_id"]]))
        users, items = backbone.behaviour_tables()
        rows = [users[batch["user_id"]], items[batch["item_id"]], *vectors]
        micro_batches = list(zip(*(table.split(16) for table in rows), strict=True))
        assert len(micro_batches) == 4
        transfer = sum(knowledge_transfer_loss(part[0], part[1], part[2:]) for part in micro_batches) / 4
        torch.testing.assert_close(loss, backbone.calculate_loss(batch) + 0.7 * transfer)

    def test_the_encoders_gradient_is_the_whole_one_where_negatives_are_encoded(self, data_path):
        """VBPR's loss reads the batch's items alone: with all items encoded anew the gradient is the same."""
        gradients = {}
        for name in ("batch", "all", "positives"):
            run = self.start(data_path, backbone="VBPR", transfer_weight=0.0, encode_negatives=name == "batch")
            model = run.model
            model.enter_stage("two")
            model.start_epoch(0)
            batch = run.batch()
            if name == "all":
                with model.fresh.of(torch.arange(1, model.n_items)):
                    model.train().backbone.calculate_loss(batch).backward()
            else:
                model.train().calculate_loss(batch).backward()
            gradients[name] = torch.cat([value.grad.flatten() for value in model.tuned.values()])
        torch.testing.assert_close(gradients["batch"], gradients["all"], rtol=1e-4, atol=1e-7)  # sums in another order
        difference = (gradients["positives"] - gradients["all"]).norm() / gradients["all"].norm()
        assert difference > 0.1  # what the negatives owe, on 30 items; rounding is a thousandth of it

    @pytest.mark.parametrize("backbone", HOSTS)
    @pytest.mark.parametrize("peft", ["prompt", "lora", "adapter"])
    def test_gradients_reach_the_encoder_through_every_backbone(self, data_path, backbone, peft):
        if peft == "lora":
            pytest.importorskip("peft")
        run = self.start(data_path, backbone=backbone, peft=peft)
        for weight in (0.0, 1.0):
            run.model.transfer_weight = weight
            run.model.enter_stage("two")
            run.model.start_epoch(0)
            with torch.no_grad():  # LoRA and adapters start at zero, where half of their gradients are zero too
                for value in run.model.tuned.values():
                    value.add_(0.1 * torch.randn_like(value))
            run.model.zero_grad()
            run.model.train().calculate_loss(run.batch()).backward()
            assert [name for name, p in run.model.tuned.items() if p.grad is None or not p.grad.any()] == []

    @pytest.mark.parametrize("start", [0.0, 3.0])
    def test_a_plugins_way_of_tuning_with_a_key_of_its_own(self, data_path, monkeypatch, start):
        monkeypatch.setattr(TUNINGS, "_entries", dict(TUNINGS._entries))  # another test's process has it not
        runpy.run_path(str(Path(__file__).parents[1] / "outside" / "my_tuning.py"), run_name="my_tuning")
        model = self.start(data_path, peft="bitfit", bitfit_start=start).model
        assert model.tuned and all(name.endswith("self_attn/q_proj/bias") for name in model.tuned)
        frozen = load_dual_encoder(model.settings.encoder).state_dict()
        for name, value in model.tuned.items():
            assert torch.equal(value.detach(), frozen[name.replace("/", ".")] + start)
        with pytest.raises(ValueError, match="bitfit_start: 'x' is not allowed for PTMRec; give a number"):
            self.start(data_path, peft="bitfit", bitfit_start="x")

    def test_evaluation_sees_every_item_encoded_by_the_encoder_as_it_is(self, data_path):
        run = self.start(data_path, epochs=1)
        trainer, *_ = self.finish(run)
        inputs = run.model.contents.inputs("visual")
        with torch.no_grad():
            expected = run.model.contents.encode("visual", inputs.items)
        torch.testing.assert_close(run.model.backbone.feature("visual")[inputs.items], expected)
        missing = run.dataset.token2id("item_id", "i29")
        feature = run.model.backbone.feature("visual")[missing]
        assert torch.equal(feature, run.dataset.modality_feature("visual")[missing])

    def test_vbprs_share_of_a_modality_sums_to_its_content(self, data_path):
        """Each share has the whole bias, so that one of them is too many with two modalities."""
        backbone = self.start(data_path, backbone="VBPR").model.backbone
        torch.nn.init.normal_(backbone.content_projection.bias)
        shares = [backbone.modality_vectors(name, backbone.feature(name)) for name in backbone.modalities]
        torch.testing.assert_close(sum(shares) - backbone.content_projection.bias, backbone.content())


class TestStages(PTMRuns):
    def test_both_stages_train_what_they_should(self, data_path):
        run = self.start(data_path, epochs=2)
        stages = []

        def watch(epoch, score):
            tuned = [value.clone() for value in run.model.tuned.values()]
            stages.append((run.model.stage, tuned, run.model.backbone.item_embedding.detach().clone()))

        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data, callback_fn=watch)
        assert [stage for stage, *_ in stages] == ["one", "one", "two", "two"]
        (_, first, _), (_, before, items_before), (_, after, items_after) = stages[0], stages[1], stages[-1]
        assert all(torch.equal(*pair) for pair in zip(first, before, strict=True))
        assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
        assert not torch.equal(items_before, items_after)

    def test_a_frozen_backbone_stays(self, data_path):
        run = self.start(data_path, tune_backbone=False, stage_one_epochs=1, stage_two_epochs=1)
        self.finish(run)
        first, second = (open_checkpoint(file).model for file in Path("saved").rglob("*.pth"))
        assert {first.stage, second.stage} == {"one", "two"}
        assert torch.equal(first.backbone.item_embedding, second.backbone.item_embedding)

    @pytest.mark.parametrize(
        ("settings", "stages"),
        [({"peft": "none", "encoder": None}, ("one",)), ({"two_stage": False}, ("two",)), ({}, ("one", "two"))],
    )
    def test_ablations(self, data_path, settings, stages):
        run = self.start(data_path, epochs=1, **settings)
        assert run.model.stages == stages
        trainer, best, result = self.finish(run)
        assert np.isfinite(result["recall@5"])
        assert run.model.transfer_weight == (1.0 if settings != {"two_stage": False} else 0.0)

    def test_interrupted_in_either_stage_it_reaches_the_same_numbers(self, data_path):
        _, best, result = self.finish(self.start(data_path, epochs=3))
        for file in sorted(Path("saved").rglob("*.pth")):
            run = self.start(data_path, epochs=3, resume_from=str(file))
            _, best_resumed, result_resumed = self.finish(run)
            assert (best_resumed, result_resumed) == (best, result)

    @pytest.mark.parametrize("stage", ["one", "two"])
    def test_killed_after_an_epoch_that_is_not_the_best_it_reaches_the_same_numbers(self, data_path, stage):
        """With a rate of 0 every later epoch is as good as the first, so the score is made worse by hand."""
        settings = {"epochs": 4, "stopping_step": 9}

        def worse_later(trainer):
            evaluate = trainer._valid_epoch

            def evaluate_less(*arguments, **options):
                score, result = evaluate(*arguments, **options)
                self.evaluated[trainer.stage] = self.evaluated.get(trainer.stage, 0) + 1
                return score / trainer.model.epochs_started**3, result

            trainer._valid_epoch = evaluate_less
            return trainer

        def finish(trainer, run):
            best, result = trainer.fit(run.train_data, run.valid_data)
            return best, result, trainer.evaluate(run.test_data)

        self.evaluated = {}
        run = self.start(data_path, **settings)
        whole = finish(worse_later(run.trainer()), run)
        run = self.start(data_path, **settings, checkpoint_dir="killed")
        trainer, begin = worse_later(run.trainer()), run.model.start_epoch

        def end_in_the_third_epoch(epoch):
            if (trainer.stage, epoch) == (stage, 2):
                raise InterruptedError
            begin(epoch)

        run.model.start_epoch = end_in_the_third_epoch
        with pytest.raises(InterruptedError):
            trainer.fit(run.train_data, run.valid_data)
        (state,) = Path("killed").glob("*-stages/*-last.*" if stage == "one" else "*-last.*")
        self.evaluated = {}
        run = self.start(data_path, **settings, resume_from=str(state))
        assert finish(worse_later(run.trainer()), run) == whole
        assert self.evaluated == ({"one": 2, "two": 4} if stage == "one" else {"two": 2})
        gc.collect()  # the trainer, with which its last state goes
        assert not list(Path("killed").rglob("*-last.*"))

    @pytest.mark.parametrize("backbone", ["VBPR", "MGCN", "BM3"])
    def test_accumulated_gradients_are_those_of_one_batch(self, data_path, backbone):
        """Whatever part of a step's items the encoder sees at once: here all 32 pairs', then 8 at most."""
        gradients = []
        for size, steps in ((32, 1), (4, 8)):
            sizes = {"micro_batch_size": size, "accumulation_steps": steps}
            run = self.start(data_path, backbone=backbone, **sizes, transfer_weight=0.0)
            trainer = run.trainer()
            trainer._begin("two")
            trainer.optimizer.step = lambda: None
            run.model.start_epoch(0)
            batch = run.batch()[:32]
            (step,) = trainer._steps([batch])
            assert torch.equal(step["item_id"], batch["item_id"])
            scaler = torch.amp.GradScaler("cpu", enabled=False)
            trainer._train_batch(step, run.model.calculate_loss, scaler)
            gradients.append([value.grad for value in run.model.tuned.values()])
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-7)  # sums of 32 float32 values in another order

    def test_a_step_passes_through_the_backbone_once_and_copies_no_table(self, data_path):
        """Three passes of LightGCN would be MGCN's batch, its regulariser's and the transfer's."""
        run = self.start(data_path, backbone="MGCN", micro_batch_size=8, accumulation_steps=4)
        trainer = run.trainer()
        trainer._begin("two")
        run.model.start_epoch(0)
        backbone, calls = run.model.backbone, []
        propagate = backbone.content
        backbone.content = lambda: calls.append(len(calls)) or propagate()
        places = {name: backbone.feature(name).data_ptr() for name in backbone.modalities}
        steps = list(trainer._steps([run.batch()[:64]]))
        assert [len(step) for step in steps] == [32, 32]
        for step in steps:
            run.model.train().calculate_loss(step).backward()
        assert len(calls) == 2
        assert {name: backbone.feature(name).data_ptr() for name in backbone.modalities} == places
        assert not any(backbone.feature(name).requires_grad for name in backbone.modalities)

    def test_a_checkpoint_of_the_backbone_serves_as_stage_one(self, data_path):
        for backbone in ("FREEDOM", "VBPR"):
            settings = {**SMALL, **HOSTS[backbone], "modalities": ["visual", "textual"], "epochs": 1}
            alone = start(backbone, data_path, **settings, checkpoint_dir=f"saved-{backbone}")
            trainer = alone.trainer()
            trainer.fit(alone.train_data, alone.valid_data)
            run = self.start(data_path, backbone=backbone, epochs=1, stage_one_checkpoint=trainer.saved_model_file)
            trainer, *_ = self.finish(run)
            assert trainer.stage == "two"
            load_stage_one(run.model, run.config["stage_one_checkpoint"], run.train_data._dataset)
            assert torch.equal(run.model.backbone.item_embedding, alone.model.item_embedding)


class TestTarget(PTMRuns):
    def transfer(self, run, batch):
        """The transfer alone: the loss with it less the loss without."""
        losses = []
        for weight in (1.0, 0.0):
            run.model.transfer_weight = weight
            losses.append(run.model.calculate_loss(batch).item())
        return losses[0] - losses[1]

    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    @pytest.mark.parametrize("target", ["moving", "snapshot", "ids"])
    def test_is_of_the_tables_that_it_names(self, data_path, target, temperature):
        """In numpy, after the tables have moved away from where stage one left them."""
        settings = {"transfer_target": target, "transfer_temperature": temperature, "micro_batch_size": 64}
        run = self.start(data_path, **settings, modality_loss_weight=0.0)
        model, backbone = run.model, run.model.backbone
        for table in (backbone.user_embedding, backbone.item_embedding):
            torch.nn.init.normal_(table)
        backbone.start_epoch(0)
        snapshot = [table.detach().clone() for table in backbone.eval().behaviour_tables()]
        model.enter_stage("two")
        model.start_epoch(0)
        with torch.no_grad():
            for table in (backbone.user_embedding, backbone.item_embedding):
                table.add_(torch.randn_like(table))
        model.train()
        batch = run.batch()
        loss = self.transfer(run, batch)
        moving = backbone.behaviour_tables()
        raw = backbone.user_embedding, backbone.item_embedding
        of_target = {"moving": moving, "snapshot": snapshot, "ids": raw}[target]
        of_query = raw if target == "ids" else moving
        users, items = batch["user_id"], batch["item_id"]
        ratings = (of_target[0][users] @ of_target[1][items].T).detach().double().numpy() / temperature
        expected = 0.0
        for name in model.modalities:
            vectors = backbone.project_features(name, backbone.feature(name)[items])
            queries = (of_query[0][users] @ vectors.T).detach().double().numpy() / temperature
            t, q = (np.exp(x - x.max(1, keepdims=True)) for x in (ratings, queries))
            t, q = t / t.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
            expected += (t * np.log(t / q)).sum(1).mean()
        assert loss == pytest.approx(expected, rel=1e-4)  # a difference of two float32 losses

    def test_a_run_with_a_snapshot_goes_on_to_the_same_numbers(self, data_path):
        _, best, result = self.finish(self.start(data_path, epochs=3, transfer_target="snapshot"))
        for file in sorted(Path("saved").rglob("*.pth")):
            run = self.start(data_path, epochs=3, transfer_target="snapshot", resume_from=str(file))
            _, best_resumed, result_resumed = self.finish(run)
            assert (best_resumed, result_resumed) == (best, result)


class TestControls(PTMRuns):
    @pytest.mark.parametrize("weight", [0.0, 1.0])
    def test_a_second_stage_with_the_encoder_frozen(self, data_path, weight):
        """The features stay as extracted, no picture is read, and the transfer still changes the backbone."""
        settings = {"tune_encoder": False, "encoder": None, "transfer_weight": weight, "epochs": 1}
        run = self.start(data_path, **settings)
        assert run.model.stages == ("one", "two") and not run.model.tuned and run.model.encoded == run.model.modalities
        trainer, _, result = self.finish(run)
        assert trainer.stage == "two" and np.isfinite(result["recall@5"])
        for name in run.model.modalities:
            assert torch.equal(run.model.backbone.feature(name), run.dataset.modality_feature(name))
        run.model.train()
        run.model.zero_grad()
        run.model.calculate_loss(run.batch()).backward()
        assert ("transfer" in run.model.records()) == bool(weight)
        assert run.model.backbone.projections[0].weight.grad.any()


class TestItemGraphs(PTMRuns):
    def graph(self, model):
        graphs = getattr(model.backbone, model.backbone.item_graphs_name)
        return torch.stack([item_graph.to_dense() for item_graph in (graphs if isinstance(graphs, list) else [graphs])])

    def far(self, run):
        """An encoder far from where it started, whose items have other neighbours."""
        with torch.no_grad():
            for value in run.model.tuned.values():
                value.add_(3 * torch.randn_like(value))

    @pytest.mark.parametrize("backbone", ["FREEDOM", "MGCN", "SMORE", "LATTICE", "DRAGON"])
    @pytest.mark.parametrize("when", ["never", "evaluation", "refresh"])
    def test_are_of_the_features_of_their_time(self, data_path, backbone, when):
        run = self.start(data_path, backbone=backbone, rebuild_item_graph=when)
        model = run.model
        extracted = self.graph(model)
        model.enter_stage("two")
        model.start_epoch(0)
        self.far(run)
        model.train().calculate_loss(run.batch())
        assert torch.equal(self.graph(model), extracted)
        model.eval()
        with torch.no_grad():
            model.score_tables()
        fresh = self.graph(model)
        with torch.no_grad():  # the same model on features that are those from the start
            other = self.start(data_path, backbone=backbone).model.backbone
            for name in model.modalities:
                other.feature(name).copy_(model.backbone.feature(name))
            other.graph_cache.folder = Path("elsewhere")
            setattr(other, other.item_graphs_name, other.build_item_graphs())
        expected = self.graph(type("Owner", (), {"backbone": other}))
        assert not torch.equal(expected, extracted)
        assert torch.equal(fresh, extracted if when == "never" else expected)
        model.train()
        model.start_epoch(1)
        assert torch.equal(self.graph(model), expected if when == "refresh" else extracted)

    @pytest.mark.parametrize("when", ["evaluation", "refresh"])
    def test_opened_it_scores_alike_and_interrupted_it_reaches_the_same_numbers(self, data_path, when):
        settings = {"rebuild_item_graph": when, "epochs": 3, "encoder_learning_rate": 0.5, "graph_dir": "graphs"}
        trainer, best, result = self.finish(self.start(data_path, **settings))
        opened = open_checkpoint(trainer.saved_model_file).model.eval()
        for trained, reopened in zip(trainer.model.eval().score_tables(), opened.score_tables(), strict=True):
            torch.testing.assert_close(trained, reopened)
        assert torch.equal(self.graph(trainer.model), self.graph(opened))
        assert len(list(Path("graphs").glob("item-graph-*"))) == 2  # of the features as loaded, one for each modality
        for file in sorted(Path("saved").rglob("*.pth")):
            _, *resumed = self.finish(self.start(data_path, **settings, resume_from=str(file)))
            assert resumed == [best, result]


class TestSaving(PTMRuns):
    def test_backbone_tuned_parameters_and_features_and_nothing_else(self, data_path):
        run = self.start(data_path, epochs=1)
        trainer, *_ = self.finish(run)
        saved = set(open_checkpoint(trainer.saved_model_file).model.state_dict())
        assert saved == TestConformance.state_dict_keys
        report = json.loads(Path(trainer.saved_model_file).with_suffix(".report.json").read_text())
        first, second = (report["stages"][stage] for stage in ("one", "two"))
        prompts = 2 * 2 * (16 + 12)
        features = 2 * run.dataset.item_num * WIDTH  # FREEDOM trains copies of them in stage one
        assert second["trainable_parameters"] - first["trainable_parameters"] == prompts - features
        encoder = run.model.contents.encoder
        assert second["total_parameters"] - second["trainable_parameters"] == encoder.n_parameters - prompts
        assert len(second["seconds_per_epoch"]) == 1 and second["peak_memory_mb"] > 0

    def test_the_peak_of_memory_is_a_stages_own(self):
        device, size = torch.device("cpu"), 200
        assert reset_peak_memory(device)  # on Linux
        before = peak_memory(device)[1]
        block = bytearray(size * 10**6)
        block[::4096] = b"x" * len(block[::4096])  # a page is there once it is written
        assert peak_memory(device)[1] - before > 0.9 * size
        del block
        assert reset_peak_memory(device)
        assert peak_memory(device)[1] - before < 0.5 * size

    def test_an_opened_checkpoint_scores_without_the_contents(self, data_path, monkeypatch):
        run = self.start(data_path, epochs=1)
        trainer, *_ = self.finish(run)
        opened = open_checkpoint(trainer.saved_model_file).model
        monkeypatch.setattr(type(opened.contents), "_read", lambda self: pytest.fail("the pictures were read"))
        for trained, reopened in zip(run.model.score_tables(), opened.score_tables(), strict=True):
            torch.testing.assert_close(trained, reopened)


class TestBadInput(PTMRuns):
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"backbone": "LGMRec"}, "backbone: 'LGMRec' cannot be tuned with PTMRec.* choose .*: BM3, BeFAHost"),
            ({"tune_backbone": False, "tune_encoder": False}, "tune_encoder: False leave nothing to train"),
            ({"transfer_target": "snapshot", "two_stage": False}, "transfer_target: snapshot is of stage one before"),
            ({"transfer_target": "ids", "backbone": "DRAGON"}, "transfer_target: DRAGON has no ID vectors"),
            ({"transfer_temperature": 0}, "transfer_temperature: 0 is not allowed for PTMRec; give a number above 0"),
            ({"rebuild_item_graph": "refresh", "backbone": "VBPR"}, "rebuild_item_graph: VBPR has no item graph"),
            ({"rebuild_item_graph": "refresh", "backbone": "GUME", "knn_k": 3}, "GUME has no item graph to rebuild"),
            ({"rebuild_item_graph": "evaluation", "tune_encoder": False}, "rebuild_item_graph: evaluation follows"),
            ({"encoder": None}, "encoder: PTMRec needs the folder or hub name"),
            ({"peft": "prefix"}, "peft: 'prefix' is not allowed for PTMRec; give one of adapter, lora, peft, prompt"),
            ({"prompt_depth": 9}, "prompt_depth: 9 must be from 1 to 3"),
            ({"modalities": ["acoustic"]}, "there is nothing to tune the encoder for"),
            ({"image_modality": "acoustic", "modalities": ["acoustic"]}, "'acoustic' features are 5 wide"),
            ({"transfer_direction": "both"}, "transfer_direction: 'both'"),
        ],
    )
    def test_settings(self, data_path, settings, message):
        with pytest.raises(ValueError, match=message):
            self.start(data_path, **settings)

    @pytest.mark.parametrize("key", ["micro_batch_size", "accumulation_steps"])
    def test_sizes(self, data_path, key):
        with pytest.raises(ValueError, match=f"{key}: 0 is not allowed for PTMRec; give a whole number of at least 1"):
            self.start(data_path, **{key: 0}).trainer()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"images": "nowhere"}, "--images: there is no folder nowhere"),
            ({"text_fields": ["title", "plot"]}, "no text field 'plot'; it has title"),
        ],
    )
    def test_missing_contents_are_noticed_before_stage_one(self, data_path, settings, message):
        run = self.start(data_path, **settings)
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            run.trainer().fit(run.train_data, run.valid_data)
        assert not list(Path("saved").rglob("*.pth"))

    def test_features_of_another_encoder(self, data_path, tmp_path):
        torch.manual_seed(1)
        other = write_dual_clip(tmp_path / "other", width=WIDTH, blocks=2)
        with pytest.raises(ValueError, match="was made by another encoder.*extract 'visual' with encoder"):
            self.start(data_path, encoder=str(other))

    def test_features_that_changed_since_stage_one(self, tmp_path):
        data = write_contents(tmp_path / "data")
        trainer, *_ = self.finish(self.start(data, epochs=1))
        stage_one = next(Path("saved").glob("*-stages/stage-one.pth"))
        extract(data, write_dual_clip(tmp_path / "wider", width=WIDTH + 2))
        run = self.start(data, encoder=str(tmp_path / "wider"), stage_one_checkpoint=str(stage_one))
        with pytest.raises(ValueError, match="trained on other visual and textual features than this run"):
            run.trainer().fit(run.train_data, run.valid_data)

    def test_out_of_memory_names_the_keys(self, data_path, monkeypatch):
        run = self.start(data_path, stage_one_epochs=1)

        def exhausted(*contents):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(run.model.contents.encoder, "image_features", exhausted)
        with pytest.raises(ValueError, match="micro_batch_size .*gradient_checkpointing: True"):
            run.trainer().fit(run.train_data, run.valid_data)
        assert list(Path("saved").glob("*-stages/stage-one.pth"))  # nothing is lost
