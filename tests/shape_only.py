"""A data set that has the size of a published one and nothing else, to count parameters."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import get_model

from recbole_mm.testing.toy import QUIET

BABY = {"n_users": 19_445, "n_items": 7_050, "widths": {"visual": 4096, "textual": 384}}
TMALL = {"n_users": 13_104, "n_items": 7_848, "widths": {"visual": 512, "textual": 512}}


class ShapeOnly:
    """What a model asks of its data set while it is built: sizes, simple features, a few interactions."""

    def __init__(self, n_users: int, n_items: int, widths: dict[str, int]):
        self.sizes = {"user_id": n_users + 1, "item_id": n_items + 1}
        self.modalities = list(widths)
        self.widths = widths
        ids = torch.arange(1, 101)
        self.inter_feat = Interaction({"user_id": ids, "item_id": ids})

    def num(self, field: str) -> int:
        return self.sizes[field]

    def modality_feature(self, name: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        feature = torch.zeros(self.sizes["item_id"], self.widths[name])
        feature[1:, :4] = torch.randn(self.sizes["item_id"] - 1, 4, generator=generator)
        return feature

    take_modality_feature = modality_feature

    def modality_mask(self, name: str) -> torch.Tensor:
        return torch.arange(self.sizes["item_id"]) > 0


def build(model: str, shape: dict, tmp_path, **settings):
    """The model at a published data set's size."""
    config = Config(model, "shape-only", config_dict={**QUIET, "checkpoint_dir": str(tmp_path), **settings})
    return get_model(model)(config, ShapeOnly(**shape))


def count_parameters(model) -> int:
    """Parameters without the [PAD] row of every table, as published tables count them."""
    return sum(_without_pad(parameter, model) for parameter in model.parameters())


def _without_pad(parameter: torch.Tensor, model) -> int:
    tables = {model.n_users, model.n_items, model.n_users + model.n_items}
    if parameter.shape[0] not in tables:
        return parameter.numel()
    pads = 2 if parameter.shape[0] == model.n_users + model.n_items else 1
    return parameter.numel() - pads * parameter[0].numel()

