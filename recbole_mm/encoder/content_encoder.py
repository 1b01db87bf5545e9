"""The base class of frozen encoders, as extraction uses them: contents in, feature rows out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from recbole_mm.encoder.preparation import Preparation

FACTS = {"encoder", "revision", "preprocessing"}


class ContentEncoder(nn.Module, ABC):
    """What turns a batch of contents (Pillow images in RGB, texts, or float32 samples) into features.

    A class of one's own is registered with :func:`~recbole_mm.registry.register_encoder`. One without files is made
    without arguments. One that reads folders sets `has_files` and defines :meth:`recognises` and :meth:`load`.

    Args:
        facts: `encoder`, `revision` and `preprocessing` (JSON values): all that the features depend on but the content.

    Attributes:
        options: of `extract`, that its :meth:`load` takes by name.
        has_files: whether it is loaded from a folder, or made as it is.
        preparation: what is done to pictures apart from the encoder, so that other processes can do it; then
            :meth:`forward` takes its bytes in a picture's place. None without such.
        truncated: how many of the contents so far were longer than the encoder's context.
    """

    options: ClassVar[frozenset[str]] = frozenset()
    has_files = False
    preparation: Preparation | None = None

    def __init__(self, facts: dict[str, Any]):
        super().__init__()
        if not FACTS <= set(facts):
            raise ValueError(f"{type(self).__name__}: its facts lack {', '.join(sorted(FACTS - set(facts)))}")
        self.facts = facts
        self.truncated = 0

    @abstractmethod
    def forward(self, contents: list[Any]) -> Tensor:
        """Features ``[n, width]``, float32, on the encoder's device."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether this is a folder of its kind; of several the one that was registered last has it."""
        return False

    @classmethod
    def load(cls, name: str, folder: Path, device: str) -> Self:
        """One from a folder that it recognises, whose name, or hub name, is `name`; raises ValueError for bad files."""
        raise NotImplementedError(f"{cls.__name__} has files, and no load()")

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU without any."""
        weights = next(self.parameters(), None)
        return torch.device("cpu") if weights is None else weights.device
