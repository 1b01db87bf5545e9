"""DGMRec: disentangling and generating modalities for recommendation in missing modality scenarios (SIGIR 2025)."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.dgmrec_parts import Draw, Parts
from recbole_mm.model.dgmrec_settings import DGMRecSettings
from recbole_mm.model.generated_features import GeneratedFeatures
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, info_nce, norm_per_row
from recbole_mm.nn.perturbation import perturb, uniform_noise
from recbole_mm.nn.precision import full_precision
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model


@register_model(
    settings=DGMRecSettings,
    paper="Disentangling and generating modalities for recommendation in missing modality scenarios",
    year=2025,
    needs="features, trained as copies and generated where they are missing; item graphs are built and cached",
)
class DGMRec(GeneratedFeatures):
    r"""Content in a general and a specific part per modality, from which missing features are generated.

    With F trainable features, :math:`c^m` the mean over an item's users of :math:`\tanh W_m E_u`, R the mean over a
    user's items, and G the item graphs, in which an item without a modality begins alone:

    .. math::
        g^m = \sigma(P_s \tanh P_m F^m), \quad s^m = \sigma(Q_m F^m), \\
        [g_i^m; s_i^m] = G^{L'} [c^m \odot g^m; c^m \odot s^m], \quad
        [g_u^m; s_u^m] = R [g_i^m; s_i^m]

    .. math::
        u = U_u + \frac{1}{M + 1} \Big( \frac{1}{M} \sum_m g_u^m + \sum_m s_u^m \Big), \quad
        y_{ui} = \langle u, i \rangle

    with U, I of LightGCN, and items alike. The loss is the mean BPR, and weighted: norms of the batch's U, I and of its
    content; the squared distance of F to features decoded from content; bounds on what general and specific content
    share (:class:`~recbole_mm.nn.club.Club`); contrasts of modalities, of users with items, and of IDs with content;
    and, where an item lacks a modality, squared distances of specific content to what generators make of filters, and
    of general content to what translators make of the other modalities'. Noise is on what decoders, generators and
    translators are given, in training alone.

    Before each epoch the bounds learn, by an Adam of their own; then items that lack one modality alone get features
    generated from the others' general content and from their filter, and every few epochs graph rows that follow them.
    What an epoch draws depends on the seed and the epoch. Faithful to: the authors' released code for their journal
    version, without its tensors that reach no loss, and for more than three modalities with a translator per pair.
    """

    settings: DGMRecSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        size, widths = self.embedding_size, self.features.widths
        self.user_embedding = id_table(self.n_users, size)
        self.item_embedding = id_table(self.n_items, size)
        self.projections = ModalityProjections(self, [_linear(width, size) for width in widths])
        self.shared_encoder = _linear(size, size)
        self.specific_encoders = nn.ModuleList(_linear(width, size) for width in widths)
        self.filters = nn.ModuleList(_linear(size, size, bias=False) for _ in widths)
        self.decoders = nn.ModuleList(_linear(2 * size, width) for width in widths)
        self.make_generators()
        self.user_item_graph = self.graph.symmetric()
        self.mean_of_users = self.graph.item_mean_block(1e-7)
        self.mean_of_items = self.graph.user_mean_block()

    # ---------------------------------------------------------------- vectors

    def raw_content(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """g, s and c of each modality, ``[n_items, d]`` each."""
        general = [
            full_precision(self.shared_encoder(projected.tanh()).sigmoid())
            for projected in self.projections.project_all()
        ]
        specific = [
            full_precision(encoder(self.feature(name)).sigmoid())
            for name, encoder in zip(self.modalities, self.specific_encoders, strict=True)
        ]
        of_users = full_precision(torch.cat([layer(self.user_embedding).tanh() for layer in self.filters], dim=1))
        filters = (self.mean_of_users @ of_users).chunk(len(self.modalities), dim=1)
        return general, specific, list(filters)

    def decode(self, number: int, content: Tensor) -> Tensor:
        """Features ``[n, width]`` of a modality from general and specific content side by side, ``[n, 2 d]``."""
        return self.decoders[number](content)

    def parts(self) -> Parts:
        """All vectors of the current parameters."""
        ids = torch.cat([self.user_embedding, self.item_embedding])
        users, items = light_gcn(self.user_item_graph, ids, self.settings.n_layers).split([self.n_users, self.n_items])
        general, specific, filters = self.raw_content()
        content = [
            light_gcn(graph, torch.cat([c * g, c * s], dim=1), self.settings.n_item_layers, "last")
            for graph, g, s, c in zip(self.item_graphs, general, specific, filters, strict=True)
        ]
        of_items = [part for vectors in content for part in vectors.chunk(2, dim=1)]
        of_users = list((self.mean_of_items @ torch.cat(content, dim=1)).chunk(len(of_items), dim=1))
        return Parts(
            users, items, general, specific, filters, of_items[::2], of_items[1::2], of_users[::2], of_users[1::2]
        )

    def final_vectors(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]`` that scores are of."""
        count = len(self.modalities)
        users = parts.users + (sum(parts.user_general) / count + sum(parts.user_specific)) / (count + 1)
        items = parts.items + (sum(parts.item_general) / count + sum(parts.item_specific)) / (count + 1)
        return users, items

    def encode(self) -> tuple[Tensor, Tensor]:
        """As :meth:`final_vectors`."""
        return self.final_vectors(self.parts())

    # ---------------------------------------------------------------- loss

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The loss with what torch's default generator draws."""
        users, positives, negatives = self.batch(interaction)
        items = torch.cat([positives, negatives]).unique()
        return self.loss_of(users, positives, negatives, self.draw(items))

    def draw(self, items: Tensor) -> Draw:
        """What a batch of these distinct items ``[n]`` needs."""
        settings, modalities = self.settings, self.modalities
        rows = self.item_embedding.detach()[items]
        wide = self.item_embedding.new_empty(self.n_items, 2 * self.embedding_size)
        generates = settings.generation_weight and self.has_missing
        return Draw(
            [uniform_noise(wide) for _ in modalities] if settings.reconstruction_weight else [],
            [torch.randperm(self.n_items - 1, device=items.device) for _ in self.clubs] if settings.club_weight else [],
            [uniform_noise(rows) for _ in modalities] if generates else [],
            [[uniform_noise(rows) for _ in modalities[1:]] for _ in modalities] if generates else [],
        )

    def loss_of(self, users: Tensor, positives: Tensor, negatives: Tensor, drawn: Draw) -> Tensor:
        """The loss of a batch, ``[batch]`` ids each, with what is drawn."""
        settings = self.settings
        parts = self.parts()
        user_table, item_table = self.final_vectors(parts)
        (user,), (positive, negative) = gather(user_table, users), gather(item_table, positives, negatives)
        terms = {"ranking": bpr_loss((user * (positive - negative)).sum(dim=-1))}
        ids = (*gather(parts.users, users), *gather(parts.items, positives, negatives))
        terms["id_regularisation"] = settings.id_reg_weight * norm_per_row(*ids)
        norms = total(norm_per_row(*gather(table, positives)) for table in parts.item_content)
        terms["regularisation"] = settings.reg_weight * norms
        items = torch.cat([positives, negatives]).unique()
        if drawn.decoded:
            terms["reconstruction"] = settings.reconstruction_weight * self.reconstruction(parts, drawn.decoded)
        if drawn.permutations:
            terms["shared_information"] = settings.club_weight * self.shared_information(parts, drawn.permutations)
        if settings.between_weight:
            terms["between_modalities"] = settings.between_weight * self.between_modalities(parts, users, items)
        if settings.within_weight:
            terms["users_with_items"] = settings.within_weight * self.users_with_items(parts, users, positives)
        if settings.align_weight:
            terms["alignment"] = settings.align_weight * self.ids_with_content(parts, users, positives)
        if drawn.filters:
            terms["generation"] = settings.generation_weight * self.generation(parts, items, drawn)
        return self.sum_of_terms(**terms)

    def reconstruction(self, parts: Parts, noise: list[Tensor]) -> Tensor:
        """Mean squared distances of features to those decoded from content without a gradient; of all items."""
        losses = []
        for number, name in enumerate(self.modalities):
            content = torch.cat([parts.item_general[number], parts.item_specific[number]], dim=1).detach()
            decoded = self.decode(number, perturb(content, noise[number])[1:])
            losses.append(F.mse_loss(decoded, self.feature(name)[1:]))
        return total(losses)

    def shared_information(self, parts: Parts, permutations: list[Tensor]) -> Tensor:
        """The bounds of the first two modalities, of all items."""
        pairs = zip(self.clubs.values(), parts.item_specific, parts.item_general, permutations, strict=False)
        return sum(club(specific[1:], general[1:], permutation) for club, specific, general, permutation in pairs)

    def between_modalities(self, parts: Parts, users: Tensor, items: Tensor) -> Tensor:
        """Contrasts of general content: each two modalities' of the items that have both, the first two's of users."""
        temperature, numbers = self.settings.general_temperature, range(len(self.modalities))
        loss = self.item_embedding.new_zeros(())
        for modality, other in combinations(numbers, 2):
            both = items[self.present(modality, items) & self.present(other, items)]
            if len(both):
                (first,), (second,) = gather(parts.general[modality], both), gather(parts.general[other], both)
                loss = loss + info_nce(first, second, temperature)
        if len(numbers) > 1:
            first, second = (F.embedding(users, table) for table in parts.user_general[:2])
            loss = loss + info_nce(first, second, temperature, (users, users))
        return loss

    def users_with_items(self, parts: Parts, users: Tensor, positives: Tensor) -> Tensor:
        """Contrasts of the batch's users with their items: IDs, general content, specific content by modality."""
        settings = self.settings
        pairs = [(parts.users, parts.items, settings.specific_temperature)]
        pairs += [(total(parts.user_general), total(parts.item_general), settings.general_temperature)]
        user_content, item_content = list(parts.user_specific), list(parts.item_specific)
        if len(self.modalities) == 3 and settings.third_within == "general":
            user_content[2], item_content[2] = parts.user_general[2], parts.item_general[2]
        pairs += [(*pair, settings.specific_temperature) for pair in zip(user_content, item_content, strict=True)]
        ids = (users, positives)
        return total(
            info_nce(gather(first, users)[0], gather(other, positives)[0], tau, ids) for first, other, tau in pairs
        )

    def ids_with_content(self, parts: Parts, users: Tensor, positives: Tensor) -> Tensor:
        """Contrasts of propagated IDs with general content: of the batch's items, and of its users."""
        tables = (
            (parts.items, total(parts.item_general), positives), (parts.users, total(parts.user_general), users),
        )  # fmt: skip
        temperature = self.settings.align_temperature
        return total(
            info_nce(gather(first, ids)[0], gather(other, ids)[0], temperature, (ids, ids))
            for first, other, ids in tables
        )

    def generation(self, parts: Parts, items: Tensor, drawn: Draw) -> Tensor:
        """Mean squared distances of content to what is generated of it, at the items that have what is compared."""
        loss = self.item_embedding.new_zeros(())
        in_all = torch.stack([self.present(number, items) for number in range(len(self.modalities))]).all(dim=0)
        for number in range(len(self.modalities)):
            there = self.present(number, items)
            if there.any():
                filters = perturb(parts.filters[number][items], drawn.filters[number])[there]
                loss = loss + F.mse_loss(self.generators[number](filters), parts.specific[number][items[there]])
            if len(self.modalities) > 1 and in_all.any():
                others = [
                    perturb(parts.item_general[other][items], noise)[in_all]
                    for other, noise in zip(self.others(number), drawn.translated[number], strict=True)
                ]
                loss = loss + F.mse_loss(self.translate(number, others), parts.item_general[number][items[in_all]])
        return loss

    def present(self, number: int, items: Tensor) -> Tensor:
        """Which of some items have a modality, bool ``[n]``."""
        return ~self.missing[self.modalities[number]].to(items.device)[items]


def _linear(width: int, size: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, size, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    return layer
