"""The kernels of each model's step: every registered model has its file, whose kernels are those of the model."""

from __future__ import annotations

import pytest
import torch
from model_kernels import description_of, kernels_of, kernels_of_epoch

from recbole_mm import MODELS, ClosedFormRecommender
from recbole_mm.testing import SMALL
from recbole_mm.testing.model_runs import few_neighbours
from recbole_mm.testing.toy import start, write_planted

OF_OURS = [
    name for name in MODELS if MODELS.get(name).__module__.startswith("recbole_mm.model.")
    and not issubclass(MODELS.get(name), ClosedFormRecommender)  # which have no step
]  # fmt: skip
SETTINGS = {"MARGO": {"backbone": "VBPR"}, "PTMRec": {"backbone": "VBPR", "peft": "none"}}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 12, "textual": 7})


@pytest.fixture(scope="module")
def trained(data_path, tmp_path_factory):
    """Trains a model for an epoch, after which its graphs are there."""

    def model(name: str) -> torch.nn.Module:
        merged = {**SMALL, "epochs": 1, "checkpoint_dir": str(tmp_path_factory.mktemp("saved"))}
        run = start(name, data_path, **{**merged, **few_neighbours(name), **SETTINGS.get(name, {})})
        trainer = run.trainer()
        trainer._train_epoch(run.train_data, 0)
        trainer.tensorboard.close()  # as what trains more than an epoch does
        return run.model

    return model


@pytest.mark.parametrize("name", OF_OURS)
def test_every_model_has_kernels_that_run(trained, name):
    model = trained(name)
    kernels = kernels_of(model, 16) + kernels_of_epoch(model, 16)
    assert {"gathers", "optimizer"} < {kernel.part for kernel in kernels}
    for kernel in kernels:
        assert kernel.times >= 1
        for way in kernel.ways:
            way()


def test_the_graph_learned_once_an_epoch_is_counted_once(trained):
    for name in ("LATTICE", "MICRO"):
        assert kernels_of_epoch(trained(name), 16)
    assert kernels_of_epoch(trained("FREEDOM"), 16) == []


def test_a_gate_of_three_layers_counts_as_three(trained):
    """BeFAHost's adapter stands where MGCN has one layer per modality."""
    counts = [sum(kernel.part == "dense products" for kernel in kernels_of(trained(name), 16)) for name in
              ("BeFAHost", "MGCN")]  # fmt: skip
    layers = 2 * (3 - 1) * 3  # two modalities, forward and two gradients
    assert counts[0] + 3 * 4 == counts[1] + layers  # MGCN's two layers of attention and two contrasts besides


@pytest.mark.parametrize("name", ["Missing", "common", "../epoch"])
def test_a_model_without_them_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is not described; add .*benchmarks/model_kernels/"):
        description_of(name)
