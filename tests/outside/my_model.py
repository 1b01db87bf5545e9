"""A model in one file outside the package: items are their ID vector plus the mean of their projected modalities."""

from typing import ClassVar

import torch
import torch.nn.functional as F

from recbole_mm import (
    LayersOrZero,
    ModalityProjections,
    ModelSettings,
    MultimodalRecommender,
    Weight,
    bpr_loss,
    id_table,
    light_gcn,
    register_model,
)


class MeanFusionSettings(ModelSettings):
    """The mean of the modalities, over LightGCN."""

    n_layers: LayersOrZero = 2
    """Layers over the user-item graph."""
    reg_weight: Weight = 0.001
    """Weight of the batch's squared vectors."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048}


@register_model(paper="Mean fusion", year=2026, settings=MeanFusionSettings)
class MeanFusion(MultimodalRecommender):
    """``e_i + mean_m W^m f_i^m``, propagated by LightGCN, with BPR."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.projections = ModalityProjections(self)
        self.full_graph = self.graph.symmetric()

    def encode(self):
        """Users ``[n_users, d]`` and items ``[n_items, d]``."""
        items = self.item_embedding + torch.stack(self.projections.project_all()).mean(dim=0)
        nodes = light_gcn(self.full_graph, torch.cat([self.user_embedding, items]), self.settings.n_layers)
        return nodes.split([self.n_users, self.n_items])

    def calculate_loss(self, interaction):
        """Mean BPR of the batch's triplets and the weighted squares, whose sum is trained on."""
        tables = self.encode()
        users, positives, negatives = self.batch(interaction)
        user, positive, negative = (F.embedding(ids, tables[ids is not users]) for ids in (users, positives, negatives))
        squares = torch.cat([user, positive, negative]).square().sum() / len(users)
        return bpr_loss((user * (positive - negative)).sum(dim=1)), self.settings.reg_weight * squares
