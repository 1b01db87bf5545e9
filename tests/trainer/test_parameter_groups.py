"""Learning rates of their own for parts of a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

SMALL = {**PRE_SPLIT, "embedding_size": 8, "train_batch_size": 64, "epochs": 2, "topk": [5], "metrics": ["NDCG"],
         "valid_metric": "NDCG@5", "knn_k": 4, "learning_rate": 0.001}  # fmt: skip
CASES = {
    "LUDP": ({}, "preference", 0.1),
    "MARGO": ({"backbone": "POWERec", "two_stage": False, "knn_k": 10}, "item_weights", 0.5),
    "VBPR": ({"feature_adapter": "befa", "knn_k": 10}, "adapter", 0.1),
}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6, "textual": 4})


def begin(model: str, data_path: Path, tmp_path: Path, **settings):
    merged = {**SMALL, **CASES[model][0], **settings}
    if model not in ("LUDP",):
        merged.pop("knn_k")
    return start(model, data_path, **merged, checkpoint_dir=str(tmp_path))


@pytest.mark.parametrize("learner", ["adam", "rmsprop"])
@pytest.mark.parametrize("model", CASES)
def test_a_group_has_its_own_rate_and_the_rest_theirs(data_path, tmp_path, model, learner):
    _, name, rate = CASES[model]
    run = begin(model, data_path, tmp_path, learner=learner, **{f"{name}_learning_rate": rate})
    trainer = run.trainer()
    common, own = trainer.optimizer.param_groups
    assert (common["lr"], own["lr"]) == (0.001, rate)
    expected = {id(parameter) for parameter in run.model.parameter_groups()[name]}
    assert {id(parameter) for parameter in own["params"]} == expected and expected
    trained = {id(parameter) for parameter in run.model.parameters() if parameter.requires_grad}
    assert {id(parameter) for parameter in common["params"]} == trained - expected


@pytest.mark.parametrize("model", CASES)
def test_without_the_key_there_is_one_group(data_path, tmp_path, model):
    (group,) = begin(model, data_path, tmp_path).trainer().optimizer.param_groups
    assert group["lr"] == 0.001


def test_items_weights_move_at_a_rate_of_their_own(data_path, tmp_path):
    """Adam moves a logit by about its rate a step: ten times the rate, about ten times the way."""
    spread = []
    for rate in (0.001, 0.01):
        run = begin("MARGO", data_path, tmp_path / str(rate), item_weights_learning_rate=rate, epochs=3)
        before = run.model.item_logits.detach().clone()
        run.trainer().fit(run.train_data, run.valid_data)
        spread.append(float((run.model.item_logits.detach() - before).abs().mean()))
    assert 5 < spread[1] / spread[0] < 20


def test_a_rate_of_zero_leaves_a_group_as_it_was(data_path, tmp_path):
    run = begin("LUDP", data_path, tmp_path, preference_learning_rate=0)
    before = run.model.preference_maps.detach().clone()
    others = run.model.item_embedding.detach().clone()
    run.trainer().fit(run.train_data, run.valid_data)
    assert torch.equal(run.model.preference_maps.detach(), before)
    assert not torch.equal(run.model.item_embedding.detach(), others)


def test_a_schedule_goes_for_all_groups(data_path, tmp_path):
    decay = {"factor": 0.5, "epochs": 1}
    run = begin("LUDP", data_path, tmp_path, preference_learning_rate=0.1, lr_decay=decay)
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.00025, 0.025])


def test_a_resumed_run_has_its_groups(data_path, tmp_path):
    settings = {"preference_learning_rate": 0.05, "eval_step": 0}
    numbers = []
    for epochs, resume in ((4, None), (2, None), (4, "last")):
        folder = tmp_path / ("whole" if epochs == 4 and resume is None else "short")
        if resume:
            settings["resume_from"] = str(next(folder.glob("*.pth")))
        run = begin("LUDP", data_path, folder, epochs=epochs, **settings)
        run.trainer().fit(run.train_data, None)
        numbers.append({name: value.clone() for name, value in run.model.state_dict().items()})
    whole, _, resumed = numbers
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="does not fit this run: .*other settings"):
        run = begin("LUDP", data_path, tmp_path / "short", epochs=6, **{**settings, "preference_learning_rate": None})
        run.trainer().fit(run.train_data, None)


@pytest.mark.parametrize(
    "model, settings, message",
    [
        ("VBPR", {"feature_adapter": "none", "adapter_learning_rate": 0.1}, "adapter_learning_rate: 0.1 has nothing"),
        ("LUDP", {"user_preference": False, "preference_learning_rate": 0.1}, "preference_learning_rate: 0.1 has"),
        ("MARGO", {"item_weights": False, "item_weights_learning_rate": 0.1}, "item_weights_learning_rate: 0.1 has"),
    ],
)
def test_a_rate_without_a_group_is_refused(data_path, tmp_path, model, settings, message):
    with pytest.raises(ValueError, match=message):
        begin(model, data_path, tmp_path, **settings).trainer()


@pytest.mark.parametrize("model", ["LayerGCN", "BUIR", "BPR"])
def test_a_rate_of_adapters_without_one_is_refused_whatever_the_model(data_path, model):
    with pytest.raises(ValueError, match="adapter_learning_rate: 0.1 has nothing to train in this run"):
        start(model, data_path, **PRE_SPLIT, adapter_learning_rate=0.1)


def test_a_rate_of_another_model_is_unknown(data_path, tmp_path):
    with pytest.raises(ValueError, match="unknown key 'item_weights_learning_rate'"):
        start("VBPR", data_path, **PRE_SPLIT, item_weights_learning_rate=0.1)
