"""DiffMM: multi-modal diffusion model for recommendation (ACM MM 2024)."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.diffmm_settings import DiffMMSettings
from recbole_mm.model.diffused_graphs import DiffusedGraphs
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import table_contrast
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model

_SLOPE = 0.2


@register_model(
    settings=DiffMMSettings,
    paper="DiffMM: multi-modal diffusion model for recommendation",
    year=2024,
    modalities="any number; two where modalities are contrasted",
    needs="features; user-item graphs are rebuilt each epoch, by networks as wide as there are items",
)
class DiffMM(DiffusedGraphs):
    r"""A diffusion model per modality rebuilds the user-item graph at the start of each epoch.

    With S the user-item graph with self loops, :math:`x^m` the projected features, :math:`B^m` the graph of each user's
    ``rebuilt_k`` items of largest value in its denoised row, and w a softmax over modalities:

    .. math::
        a^m = S [E_u; \hat x^m], \quad a^m \mathrel{+}= S [a^m_u; E_i], \quad a^m \mathrel{+}= \rho B^m [E_u; E_i], \\
        f = \sum_m w_m a^m, \quad z = \sum_{l=0..L} S^l f + \omega \hat f, \quad
        v^m = \sum_{l=0..L} S^l B^m [E_u; \hat x^m]

    with :math:`\hat x = x / |x|`, :math:`\rho` ``rebuilt_weight``, :math:`\omega` ``residual_weight``. Loss:

    .. math::
        L = -\tfrac{1}{N} \sum \ln \sigma(y_{ui} - y_{uk}) + \lambda (\|E_u\|_F^2 + \|E_i\|_F^2)
            + \lambda_c \sum_{(x, y)} C(x, y)

    with N the configured batch size, C the contrast of a batch's users with all users plus that of its positive items
    with all items, and (x, y) each two views, in the order of modalities, or z and each view.

    The denoisers (:class:`~recbole_mm.nn.diffusion.Denoiser`) have an Adam of their own and learn before each epoch
    from all users' rows :math:`x_0` at a random step, with the loss

    .. math:: w_t\, \overline{(x_0 - y)^2} + \lambda_e\, \overline{(y X^m - x_0 E_i)^2}.

    Noise is in their training alone: a graph is rebuilt from the rows as they are, and scores are deterministic. What
    an epoch draws depends on the seed and the epoch. Faithful to: the authors' released code, but that scores are
    computed on the whole rebuilt graphs (``eval_graph``), and that the best epoch is chosen on validation data.
    """

    settings: DiffMMSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        self._check(settings)
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.projections = ModalityProjections(self, self._projection_layers())
        n_modalities = len(self.modalities)
        self.modality_logits = nn.Parameter(torch.full((n_modalities,), 1 / n_modalities))
        self.user_item_graph = self.graph.symmetric_with_self()
        self.make_denoisers(settings)

    def _check(self, settings: DiffMMSettings) -> None:
        if settings.contrast == "modalities" and settings.contrast_weight and len(self.modalities) < 2:
            raise ValueError(
                f"contrast: 'modalities' compares two of them, and there is {self.modalities} alone; give two, or "
                "contrast: final"
            )
        if settings.rebuilt_k >= self.n_items:
            raise ValueError(f"rebuilt_k: {settings.rebuilt_k} must be at most {self.n_items - 1}, the number of items")
        if settings.time_width % 2:
            raise ValueError(f"time_width: {settings.time_width} must be even, for as many cosines as sines")
        if settings.noise_max < settings.noise_min or settings.noise_scale * settings.noise_max >= 1:
            raise ValueError(
                f"noise_max: {settings.noise_max} must be at least noise_min ({settings.noise_min}), and below 1 with "
                f"noise_scale ({settings.noise_scale})"
            )

    def _projection_layers(self) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for width in self.features.widths:
            kind = self.settings.projection
            if kind == "linear" or (kind == "mixed" and layers):
                layers.append(nn.Linear(width, self.embedding_size))
                continue
            matrix = nn.Linear(width, self.embedding_size, bias=False)
            nn.init.xavier_uniform_(matrix.weight)
            layers.append(nn.Sequential(matrix, nn.LeakyReLU(_SLOPE)))
        return layers

    # ---------------------------------------------------------------- vectors and loss

    def modality_weights(self) -> Tensor:
        """w, ``[n_modalities]``."""
        return self.modality_logits.softmax(dim=0)

    def diagnostics(self) -> dict[str, float]:
        """As of its graphs, and w."""
        weights = zip(self.modalities, self.modality_weights().tolist(), strict=True)
        return super().diagnostics() | {f"weight_{name}": weight for name, weight in weights}

    def encode(self) -> tuple[Tensor, Tensor]:
        """Final vectors z of users ``[n_users, d]`` and items ``[n_items, d]``."""
        return self.final_vectors(self.content()).split([self.n_users, self.n_items])

    def content(self) -> list[Tensor]:
        """Projected features at unit length, ``[n_items, d]`` of each modality."""
        return [l2_normalise(content) for content in self.projections.project_all()]

    def final_vectors(self, content: list[Tensor]) -> Tensor:
        """z of all nodes, ``[n_nodes, d]``.

        All is linear in ``a^m`` and the weights sum to 1: the weighted content is propagated once.
        """
        settings, weights = self.settings, self.modality_weights()
        mixed = sum(weight * vectors for weight, vectors in zip(weights, content, strict=True))
        ego = torch.cat([self.user_embedding, self.item_embedding])
        first = self.user_item_graph @ torch.cat([self.user_embedding, mixed])
        fused = first + self.user_item_graph @ torch.cat([first[: self.n_users], self.item_embedding])
        if settings.rebuilt_weight:
            rebuilt = sum(weight * (graph @ ego) for weight, graph in zip(weights, self.rebuilt_graphs(), strict=True))
            fused = fused + settings.rebuilt_weight * rebuilt
        propagated = light_gcn(self.user_item_graph, fused, settings.n_layers, "sum")
        return propagated + settings.residual_weight * l2_normalise(fused)

    def views(self, content: list[Tensor]) -> list[Tensor]:
        """``v^m`` of all nodes, ``[n_nodes, d]`` of each modality."""
        nodes = [
            graph @ torch.cat([self.user_embedding, vectors])
            for graph, vectors in zip(self.rebuilt_graphs(), content, strict=True)
        ]
        together = light_gcn(self.user_item_graph, torch.cat(nodes, dim=1), self.settings.n_layers, "sum")
        return list(together.chunk(len(nodes), dim=1))

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR over the configured batch size, squares of the tables, and the contrast."""
        settings = self.settings
        users, positives, negatives = self.batch(interaction)
        content = self.content()
        final = self.final_vectors(content)
        user, positive, negative = gather(final, users, self.n_users + positives, self.n_users + negatives)
        margins = (user * (positive - negative)).sum(dim=-1)
        terms = {"ranking": -F.logsigmoid(margins).sum() / self.train_batch_size}
        terms["regularisation"] = settings.reg_weight * self.squares(users, positives, negatives)
        if settings.contrast_weight:
            views = self.views(content)
            pairs = combinations(views, 2) if settings.contrast == "modalities" else ((final, view) for view in views)
            contrasts = (self.view_contrast(*pair, users, positives) for pair in pairs)
            terms["contrast"] = settings.contrast_weight * total(contrasts)
        return self.sum_of_terms(**terms)

    def squares(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Squares of the ID tables, or of a batch's rows of them over the batch size, as ``reg_scope`` has it."""
        if self.settings.reg_scope == "tables":
            return self.user_embedding[1:].square().sum() + self.item_embedding[1:].square().sum()
        rows = (*gather(self.user_embedding, users), *gather(self.item_embedding, positives, negatives))
        return total(row.square().sum() for row in rows) / self.train_batch_size

    def view_contrast(self, anchors: Tensor, candidates: Tensor, users: Tensor, positives: Tensor) -> Tensor:
        """``C(x, y)`` of the nodes' vectors x and y, ``[n_nodes, d]`` each, for a batch's users and positive items."""
        sizes = [self.n_users, self.n_items]
        losses = []
        for ids, x, y in zip((users, positives), anchors.split(sizes), candidates.split(sizes), strict=True):
            rows = l2_normalise(gather(x, ids)[0]) / self.settings.contrast_temperature
            losses.append(table_contrast(rows, l2_normalise(y), ids, ids) / len(ids))
        return total(losses)
