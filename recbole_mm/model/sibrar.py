"""SiBraR: a single-branch network for all modalities of an item, its interactions among them (RecSys 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.sibrar_settings import INTERACTIONS, SiBraRSettings
from recbole_mm.nn.distinct import at_distinct, at_distinct_of_kinds
from recbole_mm.nn.loss import bpr_loss
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.single_branch import InteractionProjection, SingleBranch, contrast_of_slots
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model


@register_model(
    settings=SiBraRSettings,
    paper="A multimodal single-branch embedding network for recommendation in cold-start and missing modality "
    "scenarios",
    year=2024,
    modalities="any number, and the item's interactions as one more",
)
class SiBraR(MultimodalRecommender):
    r"""One network g for every modality of an item, trained on two of them drawn for each item of a batch.

    .. math::
        e_i^m = g(\mathrm{ReLU}(W_m x_i^m + b_m)), \quad y_{ui} = \langle p(u), \mathrm{mean}_m e_i^m \rangle

    with an item's column of interactions as one more :math:`x^m` and a user's row of them in p. A batch has B pairs
    with n negative items each, n + 1 slots a pair; all rows pass g together and share its statistics. Loss:

    .. math::
        L = \mathrm{mean}_{b, k} [-\ln \sigma(y_{bi} - y_{bk})] + \lambda (CE(L_b) + CE(L_b^T)), \quad
        L_b = E_b^1 {E_b^2}^T / \tau

    of the two drawn views :math:`E_b^1, E_b^2` of a pair's slots. Scores take the mean over the modalities that an item
    has, interactions included where it has one: an all-zero column would be ReLU(b), no zero. An item that has none of
    ``eval_modalities`` has its share of users as the same score for everybody.

    ``train_batch_size`` counts pairs of a user and a negative item, n for each of B. Modalities are drawn among those
    that an item has, twice the same where it has one. The target is part of its own item's interactions and of its
    user's, as in public code; ``mask_target`` leaves it out of the item's. p is one layer with ReLU here, whose
    initial values are those of :math:`W_m`.
    """

    settings: SiBraRSettings
    id_only_model = None  # its IDs are interactions

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        chosen, size = self.settings, self.embedding_size
        self.n_negatives: int = (config["train_neg_sample_args"] or {}).get("sample_num", 1)
        common = chosen.common_width or size
        if self.adapters and common != size:
            raise ValueError(f"common_width: {common} must be embedding_size, {size}, with a feature_adapter")
        self.sources = [INTERACTIONS, *self.modalities]
        self._check_names()
        layers = [nn.Linear(width, common) for width in self.features.widths]
        for layer in layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.projections = ModalityProjections(self, layers, activation=torch.relu)
        self.interaction_projection = InteractionProjection(self.n_users, common)
        widths = [common, *(chosen.hidden_widths or [size]), size]
        self.branch = SingleBranch(widths, chosen.dropout, chosen.norm_every, chosen.output_activation)
        self._build_users()
        self._n_interactions = len(dataset.inter_feat)
        if self.adapters.need_behaviour:
            self.item_embedding = id_table(self.n_items, size)
        self.user_rows = self.graph.raw_block()
        self.item_columns = self.user_rows.transpose()
        self.register_buffer("present", self._presence(dataset), persistent=False)
        self.register_buffer("warm_items", self.present[:, 0].nonzero().flatten(), persistent=False)
        self._edges = torch.from_numpy(self.graph.users * self.n_items + self.graph.items)

    def _check_names(self) -> None:
        central = [self.settings.central_modality] if self.settings.sampling == "central" else []
        for key, names in (("central_modality", central), ("eval_modalities", self.settings.eval_modalities or [])):
            for name in names:
                if name not in self.sources:
                    raise ValueError(f"{key}: '{name}' is none of {', '.join(self.sources)}")
        if self.settings.eval_modalities == []:
            raise ValueError(f"eval_modalities: [] leaves nothing to score items by; name some of {self.sources}")
        if INTERACTIONS in self.modalities:
            raise ValueError(f"modalities: '{INTERACTIONS}' is what SiBraR calls the training interactions; rename it")

    def _build_users(self) -> None:
        chosen, size = self.settings, self.embedding_size
        if chosen.user_encoder == "table":
            self.user_embedding = id_table(self.n_users, size, lambda table: nn.init.normal_(table, std=0.1 / size))
            return
        self.user_projection = InteractionProjection(self.n_items, size)
        if chosen.user_encoder == "branch":
            widths = [size, *(chosen.user_hidden_widths or [size]), size]
            self.user_branch = SingleBranch(widths, chosen.user_dropout, chosen.user_norm_every, False)

    def _presence(self, dataset: MultimodalDataset) -> Tensor:
        """Which sources an item has, bool ``[n_items, n_sources]``."""
        has_users = torch.from_numpy(self.graph.item_degrees > 0)
        return torch.stack([has_users, *(dataset.modality_mask(name) for name in self.modalities)], dim=1)

    # ---------------------------------------------------------------- vectors

    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Vectors of some distinct users ``[n]``, or of all, ``[n, d]``."""
        if self.settings.user_encoder == "table":
            return self.user_embedding if users is None else F.embedding(users, self.user_embedding)
        rows = self.user_projection(self.user_rows, users)
        if self.settings.user_encoder == "rows":
            return rows
        return self.user_branch(l2_normalise(rows) if self.settings.user_normalize_inputs else rows)

    def item_vectors(self, source: int, items: Tensor | None = None) -> Tensor:
        """``e^m`` of some distinct items ``[n]``, or of all, by one source, ``[n, d]``."""
        return self._through_branch(self._mapped(source, items))

    def _mapped(self, source: int, items: Tensor | None = None) -> Tensor:
        if source == 0:
            return self.interaction_projection(self.item_columns, items)
        return self.projections.project(self.projections.names[source - 1], items)

    def _through_branch(self, rows: Tensor) -> Tensor:
        return self.branch(l2_normalise(rows) if self.settings.normalize_inputs else rows)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]``, and items ``[n_items, d]`` by the sources that each has; zero without any."""
        used = self._evaluated()
        total = self.warm_items.new_zeros(self.n_items, self.embedding_size, dtype=self.branch.layers[0].weight.dtype)
        for source in used.any(dim=0).nonzero().flatten().tolist():
            total = total + self.item_vectors(source) * used[:, source, None]
        return self.user_vectors(), total / used.sum(dim=1, keepdim=True).clamp(min=1)

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """As :meth:`encode`, and one column more: the same score for everybody of an item that has no source."""
        users, items = self.encode()
        degrees = torch.from_numpy(self.graph.item_degrees).to(items)
        constant = degrees / (self.n_users - 1) * ~self._evaluated().any(dim=1)
        return torch.cat([users, torch.ones_like(users[:, :1])], 1), torch.cat([items, constant[:, None]], 1)

    def _evaluated(self) -> Tensor:
        names = self.settings.eval_modalities or self.sources
        return self.present & torch.tensor([name in names for name in self.sources], device=self.present.device)

    # ---------------------------------------------------------------- training

    def before_epoch(self, epoch: int) -> None:
        """Raise ValueError where a batch would hold a single user, of whom the user's branch has no statistics."""
        n_pairs = max(1, self.train_batch_size // self.n_negatives)
        own_share = -(-self._n_interactions // self.n_processes)
        if self.settings.user_encoder == "branch" and (n_pairs == 1 or own_share % n_pairs == 1):
            raise ValueError(
                f"train_batch_size: {self.train_batch_size * self.n_processes} leaves a batch of one pair ({own_share} "
                f"interactions, {n_pairs} a batch), which user_encoder: branch cannot normalise; choose another size"
            )

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR over all negative items and the contrast, on modalities drawn here."""
        users, items = self.slots(interaction)
        return self.loss_of(users, items, self.draw_sources(items))

    def slots(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """Users ``[B]`` and their positive and negative items ``[B, 1 + n]`` of a batch as RecBole lays it out.

        Raises ValueError for a batch that is no multiple of n.
        """
        users, positives, negatives = self.batch(interaction)
        if len(users) % self.n_negatives:
            raise ValueError(f"a batch of {len(users)} rows has not {self.n_negatives} negative items for each pair")
        n_pairs = len(users) // self.n_negatives  # all pairs, each with its first negative item, then the second ..
        users, positives = users[:n_pairs], positives[:n_pairs]
        negatives = negatives.view(self.n_negatives, n_pairs).T
        if self.settings.warm_negatives:
            negatives = self._warm(users, negatives)
        return users, torch.cat([positives[:, None], negatives], dim=1)

    def _warm(self, users: Tensor, negatives: Tensor) -> Tensor:
        """Negative items ``[B, n]``, of which cold ones are drawn again, uniformly and outside the user's history."""
        degrees = torch.from_numpy(self.graph.user_degrees).to(users.device)[users]
        wrong = ~self.present[negatives, 0] & (degrees < len(self.warm_items))[:, None]  # there is none for the others
        negatives, edges = negatives.clone(), self._edges.to(users.device)
        while wrong.any():
            drawn = self.warm_items[torch.randint(len(self.warm_items), (int(wrong.sum()),), device=users.device)]
            negatives[wrong] = drawn
            wrong[wrong.clone()] = torch.isin(users[:, None].expand_as(negatives)[wrong] * self.n_items + drawn, edges)
        return negatives

    def draw_sources(self, items: Tensor) -> Tensor:
        """Two different sources of each slot, uniformly among those its item has, ``[B, 1 + n, 2]``, or one.

        An item with a single source has it twice, and one without any its empty interactions.
        """
        present = self.present[items]
        order = torch.rand(present.shape, device=items.device).masked_fill(~present, -1.0)
        if self.settings.sampling == "central":
            central = self.sources.index(self.settings.central_modality)
            order[..., central] = torch.where(present[..., central], 2.0, -1.0)
        drawn = order.topk(1 if self.settings.sampling == "single" else 2, dim=-1).indices
        is_there = torch.gather(present, -1, drawn)
        first = torch.where(is_there[..., :1], drawn[..., :1], 0)
        return torch.where(is_there, drawn, first)

    def loss_of(self, users: Tensor, items: Tensor, sources: Tensor) -> Tensor:
        """The loss of given draws.

        Args:
            users: ``[B]``.
            items: positive and negative items, ``[B, 1 + n]``.
            sources: numbers in :attr:`sources`, ``[B, 1 + n, 2]``, or 1 in place of 2.
        """
        views = self._through_branch(self._rows(users, items, sources))
        views = views.view(*sources.shape, self.embedding_size)
        vectors = views.mean(dim=2) if self.settings.aggregation == "mean" else views.amax(dim=2)
        if self.settings.user_encoder == "branch":  # whose statistics are of all rows
            user = self.user_vectors(users)
        else:
            (user,) = at_distinct(self.user_vectors, users)
        ratings = (user[:, None] * vectors).sum(dim=-1)
        terms = {"ranking": bpr_loss(ratings[:, :1] - ratings[:, 1:])}
        if self.settings.contrast_weight and sources.shape[-1] > 1:
            contrast = contrast_of_slots(views[:, :, 0], views[:, :, 1], self.settings.contrast_temperature)
            self.record(contrast=contrast)
            terms["contrast"] = self.settings.contrast_weight * contrast
        return self.sum_of_terms(**terms)

    def _rows(self, users: Tensor, items: Tensor, sources: Tensor) -> Tensor:
        """First maps of all slots' drawn sources, ``[B * (1 + n) * n_drawn, c]``, each distinct item mapped once."""
        masks = self.settings.mask_target
        slot_items = items[..., None].expand_as(sources)

        def mapped(source: int, distinct: Tensor) -> Tensor:
            if masks and source == 0:
                return self.interaction_projection.sums(self.item_columns, distinct)
            return self._mapped(source, distinct)

        rows = at_distinct_of_kinds(mapped, sources, slot_items, len(self.sources))
        if not masks:
            return rows
        by_users = (sources == 0).flatten().nonzero().flatten()
        pairs = by_users // sources[0].numel()
        is_target = by_users % sources[0].numel() < sources.shape[-1]  # of slot 0
        masked = self.interaction_projection.without(rows[by_users], users[pairs], is_target)
        return rows.index_put((by_users,), masked)
