"""ACF: attentive collaborative filtering with item- and component-level attention (SIGIR 2017)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, half_squared_sum
from recbole_mm.nn.segments import segment_entries, segment_softmax
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Weight, Width

BLOCK_ENTRIES = 1 << 17


class Histories(NamedTuple):
    """The training items of some users, one user's after the other's.

    Attributes:
        starts, lengths: where each user's items begin and how many they are, ``[n_users]``.
        items: item ids, ``[n_entries]``.
        logits: item attention before the softmax, ``[n_entries]``.
    """

    starts: Tensor
    lengths: Tensor
    items: Tensor
    logits: Tensor


class ACFSettings(ModelSettings):
    """ACF (SIGIR 2017) with the modalities as components, as LUDP compares with it. Neither publishes settings for
    this form: the widths are the field's, reg_weight is our choice.
    """

    hidden_size: Width = 64
    """Hidden units of both attention networks."""
    reg_weight: Weight = 0.001
    """Weight of half the squared norms of the batch's ID rows, history included."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=ACFSettings,
    paper="Attentive collaborative filtering: item- and component-level attention",
    year=2017,
    modalities="any number, each a component of the item",
)
class ACF(MultimodalRecommender):
    r"""A user is an own vector plus the items of the history, weighted by two levels of attention.

    .. math::
        y_{ij} = \langle u_i + \sum_{l \in I_i} a(i,l)\, p_l, v_j \rangle

    Component level, over an item's modalities m, with features projected to a common width, :math:`x_{lm}`:

    .. math::
        b(i,l,m) = \mathrm{softmax}_m\, w_2^T relu(W_u u_i + W_x x_{lm} + c_2), \quad
        \bar{x}_l = \sum_m b(i,l,m)\, x_{lm}

    Item level:

    .. math::
        a(i,l) = \mathrm{softmax}_l\, w_1^T relu(V_u u_i + V_v v_l + V_p p_l + V_x \bar{x}_l + c_1)

    A constant beside :math:`w_1` or :math:`w_2` would cancel in the softmax and is left out.

    Loss: mean BPR, and ``reg_weight`` times half the squared norms of the batch's u, of both its v and of its
    histories' p, summed and divided by the batch's size. In training the positive item is left out of its own
    user's history; a user whose history is empty is u alone.
    """

    settings: ACFSettings
    id_only_model = "BPR"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.reg_weight: float = self.settings.reg_weight
        self.hidden_size: int = self.settings.hidden_size
        size, hidden = self.embedding_size, self.hidden_size
        self.user_embedding = id_table(self.n_users, size)
        self.item_embedding = id_table(self.n_items, size)
        self.history_embedding = id_table(self.n_items, size)
        self.projections = ModalityProjections(self)
        self.component_user = nn.Linear(size, hidden)
        self.component_content = nn.Linear(size, hidden, bias=False)
        self.component_attention = nn.Linear(hidden, 1, bias=False)
        self.item_user = nn.Linear(size, hidden)
        self.item_own = nn.Linear(size, hidden, bias=False)
        self.item_history = nn.Linear(size, hidden, bias=False)
        self.item_content = nn.Linear(size, hidden, bias=False)
        self.item_attention = nn.Linear(hidden, 1, bias=False)
        lengths = torch.from_numpy(self.graph.user_degrees)
        self.register_buffer("history_lengths", lengths, persistent=False)
        self.register_buffer("history_starts", lengths.cumsum(0) - lengths, persistent=False)
        self.register_buffer("history_items", torch.from_numpy(self.graph.items), persistent=False)

    # ---------------------------------------------------------------- attention

    def histories(self, users: Tensor) -> Histories:
        """Items and item attention of distinct users ``[n_users]``."""
        lengths = self.history_lengths[users]
        owners, positions = segment_entries(self.history_starts[users], lengths)
        items = self.history_items[positions]
        distinct, places = torch.unique(items, return_inverse=True)
        item_side = F.embedding(places, self._item_side(distinct))
        logits = self._attention(F.embedding(users, self.user_embedding), owners, item_side)
        return Histories(lengths.cumsum(0) - lengths, lengths, items, logits)

    def _item_side(self, items: Tensor) -> Tensor:
        """``[V_v v + V_p p; W_x x_m for all m; V_x x_m for all m]``, ``[n, (1 + 2M) * hidden]``.

        Of distinct items ``[n]``, before each is paired with several users.
        """
        contents = [self.projections.project(name, items) for name in self.modalities]
        own = self.item_own(F.embedding(items, self.item_embedding))
        own = own + self.item_history(F.embedding(items, self.history_embedding))
        keys = [self.component_content(content) for content in contents]
        return torch.cat([own, *keys, *(self.item_content(content) for content in contents)], dim=1)

    def _attention(self, user: Tensor, owners: Tensor, item_side: Tensor) -> Tensor:
        """Item attention before the softmax, ``[n_entries]``.

        Args:
            user: vectors u ``[n_users, d]``.
            owners: the user of each entry, ``[n_entries]``.
            item_side: of the item of each entry, as :meth:`_item_side`.
        """
        own, keys, contents = item_side.unflatten(1, (-1, self.hidden_size)).tensor_split(
            (1, 1 + len(self.modalities)), dim=1
        )
        hidden = (keys + F.embedding(owners, self.component_user(user)).unsqueeze(1)).relu_()
        content = (self.component_attention(hidden).softmax(dim=1) * contents).sum(dim=1)
        hidden = (content + own.squeeze(1) + F.embedding(owners, self.item_user(user))).relu_()
        return self.item_attention(hidden).squeeze(1)

    def _weighted_history(self, items: Tensor, weights: Tensor, lengths: Tensor) -> Tensor:
        """``sum_l a(i,l) p_l`` of histories that stand one after the other, ``[n_histories, d]``."""
        bounds = F.pad(lengths.cumsum(0), (1, 0))
        table = self.history_embedding
        return F.embedding_bag(
            items, table, bounds, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    # ---------------------------------------------------------------- scores and loss

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users with their whole history ``[n_users, d]`` and items v ``[n_items, d]``; users in blocks."""
        blocks = []
        for users in self._user_blocks():
            history = self.histories(users)
            segments = torch.repeat_interleave(history.lengths)
            weights = segment_softmax(history.logits, segments, history.lengths)
            blocks.append(self._weighted_history(history.items, weights, history.lengths))
        return self.user_embedding + torch.cat(blocks), self.item_embedding

    def _user_blocks(self) -> tuple[Tensor, ...]:
        """Consecutive users whose histories have about BLOCK_ENTRIES entries together, to bound memory."""
        block = np.cumsum(self.graph.user_degrees) // BLOCK_ENTRIES
        bounds = np.flatnonzero(np.diff(block)) + 1
        return torch.arange(self.n_users, device=self.history_items.device).tensor_split(bounds.tolist())

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR and the regulariser of the batch's u, v and history p."""
        users, positives, negatives = self.batch(interaction)
        history, items, counted = self._histories_without(positives, users)
        (user,) = gather(self.user_embedding, users)
        positive, negative = gather(self.item_embedding, positives, negatives)
        loss = bpr_loss(((user + history) * (positive - negative)).sum(dim=-1))
        if not self.reg_weight:
            return loss
        squares = self.history_embedding.square().sum(dim=1).index_select(0, items)
        total = half_squared_sum(user, positive, negative) + 0.5 * (squares * counted).sum()
        return self.sum_of_terms(ranking=loss, regularisation=self.reg_weight * total / len(users))

    def _histories_without(self, excluded: Tensor, users: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted histories of users, each without one item, ``[batch, d]``.

        Also the history items of all users, ``[n_entries]``, and which of them count. The attention networks
        run once per distinct user, only the softmax once per row of the batch.
        """
        distinct, places = torch.unique(users, return_inverse=True)
        histories = self.histories(distinct)
        lengths = histories.lengths[places]
        segments, positions = segment_entries(histories.starts[places], lengths)
        items = histories.items[positions]
        counted = items != excluded[segments]
        logits = histories.logits.index_select(0, positions).masked_fill(~counted, -torch.inf)
        weights = segment_softmax(logits, segments, lengths)
        return self._weighted_history(items, weights, lengths), items, counted
