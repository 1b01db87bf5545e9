"""Where models put feature adapters, and what they are given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from recbole_mm.nn.feature_adapter import FeatureAdapter
from recbole_mm.registry import register_adapter
from recbole_mm.testing.model_runs import SMALL, few_neighbours
from recbole_mm.testing.toy import own_process, start, write_planted
from tests.shape_only import TMALL, build, count_parameters


@register_adapter("behaviour_itself")
class BehaviourItself(FeatureAdapter):
    """Shows what an adapter is given."""

    needs_behaviour = True

    def forward(self, features, behaviour):
        return behaviour


@register_adapter("halved_width")
class HalvedWidth(FeatureAdapter):
    """Gives vectors of another width than it was given."""

    def forward(self, features, behaviour):
        return features[:, ::2]


@register_adapter("gives_nothing")
class GivesNothing(FeatureAdapter):
    """Forgets its return."""

    def forward(self, features, behaviour):
        pass


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 12, "textual": 7})


def model_of(name: str, data_path, adapter: str, **settings):
    return start(name, data_path, **{**SMALL, "feature_adapter": adapter, **settings}).model


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("halved_width", r"'halved_width' \(.*HalvedWidth\) made \[31, 4\] of features \[31, 8\]"),
        ("gives_nothing", r"'gives_nothing' \(.*GivesNothing\) made NoneType of features \[31, 8\]"),
    ],
)
def test_an_adapter_that_gives_another_shape_is_named(data_path, adapter, message):
    model = model_of("VBPR", data_path, adapter)
    with pytest.raises(ValueError, match=message):
        model.content()


class TestBehaviour:
    """An adapter reads the ID vectors of the items whose features it is given."""

    def test_of_some_items(self, data_path):
        model = model_of("FREEDOM", data_path, "behaviour_itself", knn_k=4)
        items = torch.tensor([5, 2, 9])
        assert torch.equal(model.projections.project("visual", items), model.item_embedding[items])

    def test_of_all_items(self, data_path):
        model = model_of("VBPR", data_path, "behaviour_itself")
        assert torch.equal(model.content(), model.item_embedding)

    @pytest.mark.parametrize("name", ["DRAGON", "DualGNN", "PGL"])
    def test_a_model_without_item_ids_gets_a_table(self, data_path, name):
        model = model_of(name, data_path, "behaviour_itself", **few_neighbours(name))
        assert torch.equal(model.projections.project("textual"), model.behaviour_embedding)

    @pytest.mark.parametrize("name", ["COHESION", "MENTOR"])
    def test_a_relative_with_item_ids_gives_its_own(self, data_path, name):
        model = model_of(name, data_path, "behaviour_itself", knn_k=4)
        assert torch.equal(model.projections.project("textual"), model.item_embedding)
        assert not hasattr(model, "behaviour_embedding")
        assert not hasattr(model_of(name, data_path, "lora", **few_neighbours(name)), "behaviour_embedding")


class TestPlaces:
    def test_marginal_parameters_of_bm3(self, tmp_path):
        """0.20 M for two modalities (BeFA, Table 4), at TMALL's published shape."""
        counts = [
            count_parameters(build("BM3", TMALL, tmp_path, feature_adapter=adapter))
            for adapter in ("none", "befa", "lora", "soft_prompt")
        ]
        assert [count - counts[0] for count in counts[1:]] == [197_760, 4_096, 128]

    def test_befa_stands_in_for_the_purifiers_of_mgcn(self, data_path):
        assert len(model_of("MGCN", data_path, "befa", knn_k=4).purifiers) == 0
        assert len(model_of("MGCN", data_path, "lora", knn_k=4).purifiers) == 2
        assert len(model_of("SMORE", data_path, "befa", knn_k=4).purifiers) == 3

    def test_margo_leaves_it_to_its_backbone(self, data_path):
        model = model_of("MARGO", data_path, "befa", backbone="VBPR")
        assert list(model.backbone.feature_adapters) == ["content"]
        assert not hasattr(model, "feature_adapters")

    def test_mmgcn_projects_all_modalities_for_it(self, data_path):
        model = model_of("MMGCN", data_path, "soft_prompt")
        assert [layer.out_features for layer in model.content_projections] == [8, 8]

    def test_item_graphs_stay_on_raw_features(self, data_path):
        plain, adapted = (model_of("FREEDOM", data_path, adapter, knn_k=4) for adapter in ("none", "befa"))
        assert torch.equal(plain.fused_item_graph.to_dense(), adapted.fused_item_graph.to_dense())


def test_the_documents_adapter_works(data_path):
    page = (Path(__file__).resolve().parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (example,) = (block for block in blocks if "register_adapter" in block)
    exec(example, {"__name__": __name__})
    model = model_of("VBPR", data_path, "scale")
    with torch.no_grad():
        model.feature_adapters["content"].scale.fill_(2.0)
    plain = model_of("VBPR", data_path, "none")
    plain.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model.content(), 2 * plain.content())


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "settings", "message"),
        [
            ("VBPR", {"feature_adapter": "beffa"}, r"none \(did you mean befa\?\), or one that the key plu"),
            ("BUIR", {"feature_adapter": "befa"}, "feature_adapter: BUIR has no place for 'befa'"),
            ("LUDP", {"feature_adapter": "befa", "user_preference": False}, "for its user preferences only"),
            ("LUDP", {"feature_adapter": "befa", "preference_size": 5}, "preference_size: 5 must equal"),
        ],
    )
    def test_clear_errors(self, data_path, name, settings, message):
        with pytest.raises(ValueError, match=message):
            start(name, data_path, **{**SMALL, **few_neighbours(name), **settings})


class TestProjectFeatures:
    """An analysis projects features of its own as the model projects those of its table."""

    ALONE = ("ACF", "BM3", "BeFAHost", "COHESION", "DGMRec", "DRAGON", "DiffMM", "DualGNN", "FREEDOM", "GRCN", "GUME",
             "LATTICE", "LGMRec", "LUDP", "MENTOR", "MGCN", "MICRO", "MMGCN", "MMSSL", "PGL", "POWERec",
             "SLMRec", "SMORE")  # fmt: skip

    @pytest.mark.parametrize("name", ALONE)
    def test_is_what_the_adapter_gets(self, data_path, monkeypatch, name):
        """In the same order of operations up to the products of row blocks: to seven digits."""
        settings = {**few_neighbours(name), **({"preference_size": 8} if name == "LUDP" else {})}
        run = start(name, data_path, **{**SMALL, "feature_adapter": "soft_prompt", **settings})
        model, calls = run.model.eval(), []
        adapt = model.adapters.adapt
        monkeypatch.setattr(model.adapters, "adapt", lambda *given: calls.append(given) or adapt(*given))
        with torch.no_grad():
            model.calculate_loss(run.batch())
            for modality, projected, *items in calls:
                feature = model.feature(modality)
                features = feature if items in ([], [None]) else feature[items[0]]
                torch.testing.assert_close(model.project_features(modality, features), projected)
        assert {call[0] for call in calls} == {"visual", "textual"}

    def test_of_modalities_projected_together(self, data_path):
        model = model_of("VBPR", data_path, "lora")
        with pytest.raises(ValueError, match="VBPR does not project 'visual' features by themselves"):
            model.project_features("visual", model.feature("visual"))


class TestFrozenProjections:
    @pytest.mark.parametrize("name", ["VBPR", "FREEDOM", "BM3", "MGCN", "LATTICE", "DRAGON", "LGMRec", "LUDP"])
    def test_adapters_alone_learn_from_the_features(self, data_path, name, tmp_path, monkeypatch):
        own_process(tmp_path, monkeypatch)
        settings = {"trainable_features": False, "epochs": 1, "learning_rate": 0.01, **few_neighbours(name)}
        settings |= {"preference_size": 8} if name == "LUDP" else {}
        values = {}
        for projections in ("trained", "frozen"):
            merged = {**SMALL, **settings, "adapter_projections": projections}
            run = start(name, data_path, **merged, feature_adapter="lora")
            parts = {"adapter": run.model.feature_adapters, "projection": run.model.projecting}
            before = {key: [value.detach().clone() for value in part.parameters()] for key, part in parts.items()}
            run.trainer().fit(run.train_data, run.valid_data, saved=False)
            values[projections] = {
                key: any(not torch.equal(*pair) for pair in zip(before[key], part.parameters(), strict=True))
                for key, part in parts.items()
            }
        assert values["trained"] == {"adapter": True, "projection": True}
        assert values["frozen"] == {"adapter": True, "projection": False}

    def test_without_an_adapter_is_refused(self, data_path):
        with pytest.raises(ValueError, match="adapter_projections: frozen leaves the features to a feature_adapter"):
            start("VBPR", data_path, **SMALL, adapter_projections="frozen")


def test_behind_a_linear_map_the_rivals_are_only_another_linear_map(data_path):
    """LoRA changes its matrix and bias, a soft prompt its bias, in all values that training can reach."""
    for adapter in ("lora", "soft_prompt"):
        model = model_of("FREEDOM", data_path, adapter, knn_k=4).double()
        for values in model.feature_adapters.parameters():
            torch.nn.init.normal_(values)
        layer, own = model.projections[0], dict(model.feature_adapters["visual"].named_parameters())
        matrix, bias = layer.weight, layer.bias
        if adapter == "lora":
            change = torch.eye(len(bias), dtype=torch.float64) + own["up.weight"] @ own["down.weight"]
            matrix, bias = change @ matrix, change @ bias
        else:
            bias = bias + own["prompt"]
        torch.testing.assert_close(model.projections.project("visual"), model.feature("visual") @ matrix.T + bias)
