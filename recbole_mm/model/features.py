"""The modality features of a model: constants, or parameters that are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset


class FeatureTables:
    """A model's features by modality, ``[n_items, width]`` each; row 0 ([PAD]) is zero unless they are trained.

    The tensors are buffers or parameters of the model, named ``<modality>_feature``, so that they move and are saved
    with it.

    Args:
        model: the owner.
        dataset: with the modalities in use, in their order.
        trained: have a copy of them that is trained, from the values as loaded; else they are constants.
    """

    def __init__(self, model: nn.Module, dataset: MultimodalDataset, trained: bool):
        self._model = model
        self.names: list[str] = list(dataset.modalities)
        for name in self.names:
            if trained:
                model.register_parameter(_attribute(name), nn.Parameter(dataset.take_modality_feature(name)))
            else:
                model.register_buffer(_attribute(name), dataset.modality_feature(name), persistent=False)

    def __getitem__(self, name: str) -> Tensor:
        return getattr(self._model, _attribute(name))

    @property
    def widths(self) -> list[int]:
        """Columns of each table."""
        return [self[name].shape[1] for name in self.names]

    def trained(self) -> list[nn.Parameter]:
        """The tables that training changes."""
        tables = [self[name] for name in self.names]
        return [table for table in tables if isinstance(table, nn.Parameter) and table.requires_grad]

    def freeze(self) -> None:
        """Leave trained tables as they are from now on."""
        for table in self.trained():
            table.requires_grad_(False)

    def replace(self, name: str, table: Tensor) -> None:
        """Have `table` in place of a modality's: a buffer that checkpoints hold and no optimizer trains."""
        delattr(self._model, _attribute(name))
        self._model.register_buffer(_attribute(name), table)

    @contextmanager
    def substituted(self, tables: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the context the model reads other values of some buffers, such as values with a gradient."""
        original = {name: self[name] for name in tables}
        try:
            for name, table in tables.items():
                setattr(self._model, _attribute(name), table)
            yield
        finally:
            for name, table in original.items():
                setattr(self._model, _attribute(name), table)


def _attribute(name: str) -> str:
    return f"{name}_feature"


def no_features(model: str, config: Config) -> str:
    """The one line for a model that needs features where a run has none."""
    if config["modalities"] == []:
        return f"{model} needs modality features, and modalities: [] leaves out all; name some, or leave the key out"
    name = config["dataset"]
    return (
        f"{model} needs modality features, and data set '{name}' has none: put a file such as {name}.visual beside its "
        ".inter (python -m recbole_mm convert --help)"
    )
