"""The epochs of a run: optimisation, early stopping, and what they write beside checkpoints."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from recbole.trainer import Trainer
from torch import optim

from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from recbole_mm.trainer.precision import check_matmul_precision
from recbole_mm.trainer.trainer import MultimodalTrainer

SMALL = {
    **PRE_SPLIT,
    "embedding_size": 8, "n_layers": 2, "train_batch_size": 64, "learning_rate": 0.01, "epochs": 3,
    "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5", "stopping_step": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6})


@pytest.fixture
def begin(data_path, tmp_path):
    """Starts a run of POWERec on the planted data, with its own checkpoints."""

    def begin(**settings):
        return start("POWERec", data_path, **{**SMALL, "checkpoint_dir": str(tmp_path / "saved"), **settings})

    return begin


def parameters(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# ---------------------------------------------------------------- optimisation


@pytest.mark.parametrize(
    "learner, kind",
    [("adam", optim.Adam), ("AdamW", optim.AdamW), ("sgd", optim.SGD), ("adagrad", optim.Adagrad)],
)
def test_optimizers_are_fused(begin, learner, kind):
    run = begin(learner=learner, weight_decay=0.5)
    optimizer = run.trainer().optimizer
    assert type(optimizer).__bases__ == (kind,)  # past torch.compile's wrappers
    assert optimizer.defaults["fused"] is True
    assert optimizer.defaults["lr"] == 0.01
    assert optimizer.defaults["weight_decay"] == 0.5
    assert optimizer.param_groups[0]["params"] == list(run.model.parameters())


def test_other_optimizers_are_recboles(begin):
    assert isinstance(begin(learner="rmsprop").trainer().optimizer, optim.RMSprop)


def test_frozen_parameters_are_left_out(begin):
    run = begin()
    run.model.item_embedding.requires_grad_(False)
    assert all(p is not run.model.item_embedding for p in run.trainer().optimizer.param_groups[0]["params"])


def test_an_epoch_is_recboles(begin):
    """The loss and the parameters of the plain Trainer's epoch; the fused kernel rounds differently."""
    losses, ends = [], []
    for trainer in (MultimodalTrainer, Trainer):
        run = begin(edge_dropout=0.0)
        losses.append(trainer(run.config, run.model)._train_epoch(run.train_data, 0))
        ends.append(parameters(run.model))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5)


def test_learning_rate_decays_by_epoch(begin):
    run = begin(learning_rate=0.1, lr_decay={"factor": 0.5, "epochs": 2})
    trainer, rates = run.trainer(), []
    rates.append(trainer.optimizer.param_groups[0]["lr"])
    trainer.fit(
        run.train_data, run.valid_data, saved=False,
        callback_fn=lambda *_: rates.append(trainer.optimizer.param_groups[0]["lr"]),
    )  # fmt: skip
    assert rates == pytest.approx([0.1, 0.1 / math.sqrt(2), 0.05, 0.05 / math.sqrt(2)], rel=1e-12)


@pytest.mark.parametrize("decay", [0.96, {"factor": 0.96}, {"factor": 0.9, "epochs": 2, "step": 1}])
def test_bad_lr_decay(begin, decay):
    with pytest.raises(
        ValueError, match=r"lr_decay.*is not allowed for POWERec|lr_decay: unknown key"
    ):
        begin(lr_decay=decay).trainer()


def test_gradients_are_clipped(begin):
    """Plain gradient descent of rate 2: the step is twice the clipped gradient."""
    run = begin(learner="sgd", learning_rate=2.0, clip_grad_norm={"max_norm": 0.25}, train_batch_size=10_000)
    before = parameters(run.model)
    run.trainer()._train_epoch(run.train_data, 0)
    # float32 parameters of size 0.5 carry an error of 3e-8 into each of 1,000 differences
    assert (parameters(run.model) - before).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_a_loss_in_parts(begin):
    """Its sum is minimised, each part is summed over the batches."""
    ends = []
    for split in (True, False):
        run = begin(train_batch_size=64)

        def loss(batch, model=run.model, split=split):
            whole = model.calculate_loss(batch)
            return (0.25 * whole, 0.75 * whole) if split else whole

        ends.append((run.trainer()._train_epoch(run.train_data, 0, loss_func=loss), parameters(run.model)))
    (parts, after_parts), (whole, after_whole) = ends
    assert isinstance(parts, tuple) and isinstance(whole, float)
    assert parts == pytest.approx((0.25 * whole, 0.75 * whole), rel=1e-5)
    # a quarter and three quarters are exact in binary; their sum may round once
    torch.testing.assert_close(after_parts, after_whole, rtol=1e-4, atol=1e-5)


def test_loss_is_summed_over_the_batches(begin):
    run = begin(train_batch_size=64)
    n_batches = len(run.train_data)
    assert n_batches > 2
    zero = run.model.item_embedding.sum
    assert (
        run.trainer()._train_epoch(run.train_data, 0, loss_func=lambda _: 0 * zero() + 1.5) == 1.5 * n_batches
    )
    parts = run.trainer()._train_epoch(
        run.train_data, 0, loss_func=lambda _: (0 * zero() + 1.0, 0 * zero() + 2.0)
    )
    assert parts == (n_batches, 2.0 * n_batches)


@pytest.mark.parametrize(
    "loss, message",
    [
        (lambda model: None, "gave None; give a scalar tensor, or a tuple of them"),
        (lambda model: 0.5, "gave 0.5; give a scalar"),
        (lambda model: (), r"gave \(\); give a scalar"),
        (lambda model: model.item_embedding.sum(dim=1), r"gave \[\d+\]; give a scalar"),
        (lambda model: (model.item_embedding.sum(), 0.1), "gave 0.1; give a scalar"),
        (lambda model: torch.tensor(1.0), "gave a loss that depends on no parameter"),
    ],
)
def test_what_is_no_loss_is_refused(begin, loss, message):
    run = begin()
    with pytest.raises(ValueError, match=f"calculate_loss of POWERec {message}"):
        run.trainer()._train_epoch(run.train_data, 0, loss_func=lambda _: loss(run.model))


def test_vectors_of_fewer_items_are_refused(begin):
    run = begin()
    users, items = run.model.encode()
    run.model.encode = lambda: (users, items[:-1])
    with pytest.raises(ValueError, match=f"POWERec: encode gave vectors of {len(users)} users and {len(items) - 1} it"):
        run.trainer().evaluate(run.valid_data, load_best_model=False)


@pytest.mark.parametrize("parts", [False, True])
def test_a_loss_that_is_not_a_number_ends_the_run(begin, parts):
    run = begin()

    def loss(_):
        broken = run.model.item_embedding.sum() * torch.nan
        return (run.model.item_embedding.sum(), broken) if parts else broken

    message = "diverged in epoch 0: part 2 of 2 of its loss is nan" if parts else "diverged in epoch 0: its loss is nan"
    with pytest.raises(ValueError, match=message):
        run.trainer()._train_epoch(run.train_data, 0, loss_func=loss)


def test_no_batch_waits_for_the_device(begin, monkeypatch):
    """Whatever reads a tensor's value waits for the device: nothing may within a batch.

    `numpy` is no such call: a tensor on another device than the CPU refuses it.
    """
    counts = []
    for batch_size in (16, 160):
        run = begin(train_batch_size=batch_size, clip_grad_norm={"max_norm": 1.0})
        trainer, calls = run.trainer(), Counter()
        with monkeypatch.context() as patched:
            for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu"):
                patched.setattr(
                    torch.Tensor, name, counted(getattr(torch.Tensor, name), name, calls, trainer)
                )
            watch_batches(patched, trainer, calls)
            trainer._train_epoch(run.train_data, 0)
        counts.append(calls)
    assert counts[0]["batches"] > 5 * counts[1]["batches"] > 5
    assert counts[0]["in a batch"] == counts[1]["in a batch"] == 0
    assert (
        1 <= counts[0]["item"] == counts[1]["item"] <= 2
    )  # the loader's seed before the loop, the loss after it


def counted(function, name, calls, trainer):
    def call(tensor, *arguments):
        calls[name] += 1
        calls["in a batch"] += calls["open batches"]
        return function(tensor, *arguments)

    return call


def watch_batches(patched, trainer, calls):
    train_batch = trainer._train_batch

    def watched(*arguments):
        calls["batches"] += 1
        calls["open batches"] = 1
        try:
            return train_batch(*arguments)
        finally:
            calls["open batches"] = 0

    patched.setattr(trainer, "_train_batch", watched)


def test_epoch_hook_is_called_once_an_epoch(begin):
    run, epochs = begin(), []
    run.model.before_epoch = epochs.append
    run.trainer().fit(run.train_data, run.valid_data, saved=False)
    assert epochs == [0, 1, 2]
    assert run.model.epochs_started == 3


def test_mixed_precision_trains(begin):
    losses = []
    for mixed in (True, False):
        run = begin(enable_amp=mixed)
        losses.append(run.trainer()._train_epoch(run.train_data, 0))
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=2**-7)  # bfloat16 keeps 8 bits


def has_bf16_units() -> bool:
    try:
        check_matmul_precision("bf16", torch.device("cpu"))
    except ValueError:
        return False
    return True


@pytest.mark.skipif(not has_bf16_units(), reason="this processor has no units for bfloat16")
def test_products_through_bfloat16_units(begin):
    """Rounded to 8 bits in the steps alone: torch's own setting stays as it was, after an error too.

    Products of fewer than 4,096 multiplications stay float32, so the embedding is as wide as usual here.
    """
    losses = []
    for precision in ("float32", "bf16"):
        run = begin(matmul_precision=precision, embedding_size=64)
        losses.append(run.trainer()._train_epoch(run.train_data, 0))
        assert torch.get_float32_matmul_precision() == "highest"
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=2**-7)  # bfloat16 keeps 8 bits
    with pytest.raises(ZeroDivisionError):
        run.trainer()._train_epoch(run.train_data, 0, loss_func=lambda _: 1 / 0)
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_processor_without_units_for_bfloat16(begin, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(ValueError, match="^matmul_precision: bf16 is nothing that this processor has units for; leave"):
        begin(matmul_precision="bf16").trainer()
    begin(matmul_precision="float32").trainer()


# ---------------------------------------------------------------- a whole run


def test_early_stopping_callback_and_best_checkpoint(begin):
    """With `stopping_step: 1` the second evaluation in a row without a gain ends the run."""
    run, heard = begin(stopping_step=1, epochs=50), []
    trainer, scores = run.trainer(), iter([0.3, 0.5, 0.4, 0.2])
    trainer.evaluate = lambda *_, **__: {"ndcg@5": next(scores)}
    best = trainer.fit(run.train_data, run.valid_data, callback_fn=lambda *heard_now: heard.append(heard_now))
    assert best == (0.5, {"ndcg@5": 0.5})
    assert heard == [(0, 0.3), (1, 0.5), (2, 0.4), (3, 0.2)]
    saved = torch.load(trainer.saved_model_file, weights_only=False)
    assert (saved["epoch"], saved["best_valid_score"], saved["best_valid_result"]) == (
        1,
        0.5,
        {"ndcg@5": 0.5},
    )


def test_tensorboard_events(begin):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = begin()
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, saved=False)
    trainer.tensorboard.flush()
    (folder,) = Path("log_tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    losses = [scalar.value for scalar in events.Scalars("Loss/Train")]
    assert losses == pytest.approx(list(trainer.train_loss_dict.values()), rel=1e-6)  # events are float32
    assert len(events.Scalars("Vaild_score")) == 3  # RecBole's own spelling


def test_tensorboard_events_of_a_process_that_changes_its_folder(begin, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = begin()
    trainer, home = run.trainer(), Path.cwd()
    Path("elsewhere").mkdir()
    for epoch in range(4):  # by hand: the file is open until it is closed, and is another then
        monkeypatch.chdir(home / "elsewhere" if epoch % 2 else home)
        trainer._add_train_loss_to_tensorboard(epoch, float(epoch))
        if epoch:
            trainer.tensorboard.close()
    (folder,) = (home / "log_tensorboard").iterdir()
    losses = [scalar.value for scalar in EventAccumulator(str(folder)).Reload().Scalars("Loss/Train")]
    assert losses == [0, 1, 2, 3]
    assert not any((home / "elsewhere").iterdir())


def test_cached_loaders_change_no_number(begin):
    """RecBole's `save_dataloaders` takes the generator away from the loaders that it has just saved."""
    ends = []
    for settings in ({}, {"save_dataloaders": True}, {"save_dataloaders": True}):
        run = begin(**settings)
        run.trainer().fit(run.train_data, run.valid_data)
        ends.append(parameters(run.model))
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[1], ends[2])
