"""MMSSL: multi-modal self-supervised learning for recommendation (WWW 2023)."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator, tell_of_no_edges
from recbole_mm.host.cold_items import negative_items
from recbole_mm.model.mmssl_settings import MMSSLSettings
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.renewed_graphs import RenewedGraphs
from recbole_mm.model.user_batches import UserBatches
from recbole_mm.nn.critic import Critic, CriticDraw, critic_loss, draw_critic, real_rows
from recbole_mm.nn.dropout import dropout
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, half_squared_per_batch, smoothed_two_table_contrast
from recbole_mm.nn.masked_similarities import MaskedSimilarities
from recbole_mm.nn.modality_views import ModalityViews
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model

Pair = tuple[Tensor, Tensor]


@register_model(
    settings=MMSSLSettings,
    paper="Multi-modal self-supervised learning for recommendation",
    year=2023,
    needs="features; a critic that is as wide as there are items",
)
class MMSSL(RenewedGraphs):
    r"""Propagated features and ID views per modality, and a critic of the similarities that features make.

    With :math:`R_u = D_u^{-1/2} A`, :math:`R_i = D_i^{-1/2} A^T` and graphs :math:`G_u^m, G_i^m` of each modality,
    which start as these:

    .. math::
        X_u^m = R_u x^m, \quad X_i^m = R_i X_u^m, \quad h_u^m = G_u^m E_i, \quad h_i^m = G_i^m E_u, \\
        a_0 = E_u + \mu\, \mathrm{L2n}(z_u), \quad b_0 = E_i + \mu\, \mathrm{L2n}(z_i), \quad
        a_l = R_u b_{l-1}, \quad b_l = R_i a_l, \\
        U = \mathrm{mean}_l a_l + \nu \sum_m \mathrm{L2n}(X_u^m), \quad
        I = \mathrm{mean}_l b_l + \nu \sum_m \mathrm{L2n}(X_i^m)

    with a softmax over the features of the last layer's :math:`a_L`, and then :math:`b_L`, and z of
    :class:`~recbole_mm.nn.modality_views.ModalityViews`. Loss of a batch of different users:

    .. math::
        L = -\mathrm{mean} \ln \sigma(y_{ui} - y_{uk}) + \tfrac{\lambda}{2N} (\|U_u\|^2 + \|I_i\|^2 + \|I_k\|^2)
            + \tfrac{\lambda_f}{2 n_i} \sum_m (\|X_u^m\|^2 + \|X_i^m\|^2)
            + \lambda_c \sum_m C(h_u^m, U) - \lambda_a \mathrm{mean}\, D(\mathrm{Sim}(X_u^m, X_i^m))

    Before each step the critic D learns to tell these rows from those of the final vectors
    (:func:`~recbole_mm.nn.critic.critic_loss`), with an Adam of its own.

    As released, which is the default, much of this does nothing: attention returns its input; the critic's LeakyReLU
    has slope 1; and modality graphs are replaced, in an epoch's second batch, by those of the few pairs that its first
    one collected, and from then on by empty ones. ``attention: cross``, ``critic_slope: 0.2`` and
    ``graph_refresh: epoch`` are as described. It needs a trainer that knows the critic, and one process.
    """

    settings: MMSSLSettings
    trainer_class = "recbole_mm.trainer.adversarial.AdversarialTrainer"
    way_of_training = "against a critic"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        if self.n_items < 9:
            raise ValueError(f"MMSSL's critic needs 8 items, and the data set has {self.n_items - 1}")
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        layers = [nn.Linear(width, self.embedding_size) for width in self.features.widths]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
        self.projections = ModalityProjections(self, layers)
        self.view_fusion = ModalityViews(self.embedding_size, settings.n_heads, settings.attention)
        rates = (settings.critic_dropout, settings.critic_second_dropout)
        self.critic = Critic(self.n_items - 1, settings.critic_slope, rates)
        adam = torch.optim.Adam(self.critic.parameters(), lr=settings.critic_learning_rate, betas=(0.5, 0.9))
        self.keep_optimizer("critic", self.critic, adam)
        of_pad_too = self.graph.raw_block().to_scipy()
        self.interactions = SparseOperator.from_scipy(of_pad_too[:, 1:])  # [n_users, n_items - 1]
        self.user_graph, self.item_graph_of_users = self.graph.user_root_block(), self.graph.item_root_block()
        self.modality_edges = {}
        share = f"a graph renewed by refreshed_share: {settings.refreshed_share:g} of {self.n_items - 1} items"
        remedy = f"give at least 1/{self.n_items - 1}, or graph_refresh: epoch"
        tell_of_no_edges(not self.n_similar, share, remedy)
        fields = (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID)
        self.user_batches = UserBatches(self.graph, self.train_batch_size, fields, negative_items(config, dataset))

    # ---------------------------------------------------------------- vectors

    def encode(self) -> Pair:
        """Final vectors U ``[n_users, d]`` and I ``[n_items, d]``."""
        users, items, *_ = self.forward_parts(self.draw_masks())
        return users, items

    def draw_masks(self) -> list[Tensor] | None:
        """The dropout of each modality's projected features, ``[n_items, d]``; None in evaluation."""
        if not self.training:
            return None
        ones = self.item_embedding.new_ones(self.n_items, self.embedding_size)
        return [dropout(ones, self.settings.feature_dropout) for _ in self.modalities]

    def forward_parts(self, masks: list[Tensor] | None) -> tuple[Tensor, Tensor, list[Pair], list[Tensor]]:
        """U, I, the ``(X_u^m, X_i^m)`` and the ``h_u^m``, of all users and items.

        Args:
            masks: what projected features are multiplied by.
        """
        content = []
        for number, projected in enumerate(self.projections.project_all()):
            of_users = self.user_graph @ (projected if masks is None else projected * masks[number])
            content.append((of_users, self.item_graph_of_users @ of_users))
        user_views = [of_users @ self.item_embedding for of_users, _ in self.modality_graphs]
        item_views = [of_items @ self.user_embedding for _, of_items in self.modality_graphs]
        a = self.user_embedding + self.settings.view_weight * l2_normalise(self.view_fusion(user_views))
        b = self.item_embedding + self.settings.view_weight * l2_normalise(self.view_fusion(item_views))
        users, items = self.propagate(a, b)
        users = users + self.settings.content_weight * sum(l2_normalise(of_users) for of_users, _ in content)
        items = items + self.settings.content_weight * sum(l2_normalise(of_items) for _, of_items in content)
        return users, items, content, user_views

    def propagate(self, users: Tensor, items: Tensor) -> Pair:
        """The mean of all layers, of which the last has a softmax over its features."""
        n_layers = self.settings.n_layers
        user_sum, item_sum = users, items
        for layer in range(1, n_layers + 1):
            users = self.user_graph @ items
            users = users.softmax(dim=1) if layer == n_layers else users
            items = self.item_graph_of_users @ users
            items = items.softmax(dim=1) if layer == n_layers else items
            user_sum, item_sum = user_sum + users, item_sum + items
        return user_sum / (n_layers + 1), item_sum / (n_layers + 1)

    # ---------------------------------------------------------------- losses

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The model's own loss, with the critic as it is."""
        n_rows = len(interaction[self.USER_ID]) * len(self.modalities)
        masks = self.critic.draw_masks(n_rows) if self.settings.adversarial_weight else None
        return self.loss_of(*self.batch(interaction), self.draw_masks(), masks)

    def loss_of(
        self,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        masks: list[Tensor] | None,
        critic_masks: list[Tensor] | None,
    ) -> Tensor:
        """The loss of a batch, ``[batch]`` ids each, with these dropouts of features and of the critic."""
        settings = self.settings
        user_table, item_table, content, views = self.forward_parts(masks)
        (user,), (positive, negative) = gather(user_table, users), gather(item_table, positives, negatives)
        terms = {"ranking": bpr_loss((user * (positive - negative)).sum(dim=-1))}
        squares = half_squared_per_batch(self.train_batch_size, user, positive, negative)
        terms["regularisation"] = settings.reg_weight * squares
        feature_squares = total(table.square().sum() for pair in content for table in pair) / (2 * (self.n_items - 1))
        terms["feature_regularisation"] = settings.feature_reg_weight * feature_squares
        if settings.contrast_weight:
            contrasts = (
                smoothed_two_table_contrast(gather(view, users)[0], user, settings.contrast_temperature)
                for view in views
            )
            terms["contrast"] = settings.contrast_weight * total(contrasts)
        fake = self.fake_rows(users, content)
        self.similar_items = [self._most_similar(rows) for rows in fake]
        if settings.adversarial_weight:
            realness = self.critic(self.critic.first(fake), critic_masks).mean()
            terms["adversarial"] = -settings.adversarial_weight * realness
        return self.sum_of_terms(**terms)

    def fake_rows(self, users: Tensor, content: list[Pair]) -> list[MaskedSimilarities]:
        """Similarities of a batch's users to all items by each modality's features, ``[batch, n_items - 1]`` each."""
        known = self.interactions.rows(users.cpu())
        return [MaskedSimilarities(gather(of_users, users)[0], of_items[1:], known) for of_users, of_items in content]

    def _most_similar(self, rows: MaskedSimilarities) -> Tensor:
        """Ids of the items that are looked for, ``[batch, n_similar]``; none as released on small catalogues."""
        if not self.n_similar:
            return rows.users.new_empty(len(rows.users), 0, dtype=torch.long)
        with torch.no_grad():
            return rows.dense().topk(self.n_similar, dim=1).indices + 1

    def critic_step(self, batch: Interaction) -> Tensor | None:
        """One step of the critic on a batch's users; gives its loss, detached, or None where there is no critic."""
        if not self.settings.adversarial_weight:
            return None
        users = batch[self.USER_ID]
        drawn = draw_critic(self.critic, len(users), len(users) * len(self.modalities))
        with self.training_part(self.critic), torch.enable_grad():
            loss = self.critic_loss(users, self.draw_masks(), drawn)
            loss.backward()
            self.own_optimizers["critic"].step()
        self.record(L_critic=loss)
        return loss.detach()

    def critic_loss(self, users: Tensor, masks: list[Tensor] | None, drawn: CriticDraw) -> Tensor:
        """The critic's loss, whose gradient goes to it alone, of users ``[batch]`` with what is drawn."""
        settings = self.settings
        with torch.no_grad():
            user_table, item_table, content, _ = self.forward_parts(masks)
            fake = self.fake_rows(users, content)
            known = fake[0].training_items
            similar = MaskedSimilarities(user_table[users], item_table[1:], known).dense()
            noise = settings.gumbel_weight / settings.gumbel_temperature
            real = real_rows(known.dense_like(similar), similar, drawn.uniform, noise, settings.real_weight)
        of_fake = self.critic.first(fake)
        of_real = self.critic.first(real).repeat(len(self.modalities), 1)
        return critic_loss(self.critic, of_fake, of_real, drawn, settings.gradient_penalty)
