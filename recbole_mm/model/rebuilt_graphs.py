"""Constant item graphs that follow features which change (PTMRec)."""

from __future__ import annotations

from typing import Literal

import torch

from recbole_mm.graph.cache import writing_nothing
from recbole_mm.model.base import MultimodalRecommender

When = Literal["never", "evaluation", "refresh"]


class RebuiltGraphs:
    """Which constant item graphs a backbone has while it trains, and which while it is evaluated.

    Args:
        backbone: whose graphs these are; those that it has now are the training's, and the evaluation's until the
            first :meth:`build`.
        when: ``never``: these alone; ``evaluation``: it is evaluated on graphs of the features of that time, and
            trains on its own; ``refresh``: each epoch trains on graphs of the features that it began with too.

    Raises:
        ValueError: the backbone has no such graphs to rebuild.
    """

    def __init__(self, backbone: MultimodalRecommender, when: When):
        self._backbone, self._when, self._name = backbone, when, backbone.item_graphs_name
        if when == "never":
            return
        if self._name is None:
            raise ValueError(
                f"rebuild_item_graph: {type(backbone).__name__} has no item graph to rebuild; leave it at never"
            )
        self._training = self._evaluation = getattr(backbone, self._name)

    @torch.no_grad()
    def build(self) -> None:
        """Have the graphs of the features as they are, for evaluations from now on; they are not kept on disk."""
        if self._when != "never":
            with writing_nothing():
                self._evaluation = self._backbone.build_item_graphs()

    def begin_epoch(self) -> None:
        """Have the next epoch train on the last graphs built, where it is to."""
        if self._when == "refresh":
            self._training = self._evaluation

    def install(self, training: bool) -> None:
        """Give the backbone the graphs of training, or of evaluation."""
        if self._name is not None and self._when != "never":
            setattr(self._backbone, self._name, self._training if training else self._evaluation)
