"""Which kernels a training step of each model cannot avoid: a file per model here, found by the model's name.

The file ``<model in small letters>.py`` has ``step(model, batch)``, which gives the kernels of every step, and where
a model learns a graph in the first step of an epoch ``epoch(model, batch)``, which gives what that needs besides.

Counted are sparse products, dense products, gathers and the optimizer's step, at their widths, for the rows
that the model's mathematics needs. Element-wise work is left out: at best it is done in passing. So are
small products of a batch's rows, the drawing of an epoch's graphs, and all costs of the framework, of memory
and of the loader. A floor never counts work that the model itself avoids.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from kernels import Kernel, optimizer_step

from model_kernels.common import Batch, stale_parameters


def kernels_of(model: torch.nn.Module, batch_size: int) -> list[Kernel]:
    """All kernels of a training step, not the first of its epoch; ValueError where the model is not
    described.

    To be called after an epoch's first step: what the model draws anew each epoch is there then.
    """
    description = description_of(type(model).__name__)
    stale = {id(stale_parameter) for stale_parameter in stale_parameters(model)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in stale]
    return [*description.step(model, Batch(model, batch_size)), *optimizer_step(trained)]


def kernels_of_epoch(model: torch.nn.Module, batch_size: int) -> list[Kernel]:
    """The kernels that the first step of an epoch needs besides those of every step; none for most models."""
    description = description_of(type(model).__name__)
    return list(description.epoch(model, Batch(model, batch_size))) if hasattr(description, "epoch") else []


def description_of(model: str) -> ModuleType:
    """The file of a model of this class name; ValueError where there is none."""
    name = f"{__name__}.{model.lower()}"
    if not model.isidentifier() or model == "common" or find_spec(name) is None:
        raise ValueError(
            f"{model} is not described; add the kernels of its step as benchmarks/model_kernels/{model.lower()}.py"
        )
    return import_module(name)
