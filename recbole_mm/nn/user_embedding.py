"""The users of a late-fusion model: one vector per user and modality, from fewer tables than modalities (POWERec)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recbole_mm.nn.normalise import mean_cosine

KINDS = ("separate", "shared", "prompted")
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda prompts: prompts.sum(dim=1),
    "mean": lambda prompts: prompts.mean(dim=1),
    "max": lambda prompts: prompts.amax(dim=1),
}


class UserEmbedding(nn.Module):
    """User vectors ``[n_users, n_modalities, d]`` for a late-fusion model.

    - ``separate``: one table per modality, the usual late fusion;
    - ``shared``: one table ``F_u`` for all modalities (the POWERec paper's BaseRec);
    - ``prompted``: ``e_u^m = F_u + pool_q P^m_q``, one table and Q prompt vectors per modality (POWERec Eq. 3).

    Args:
        n_users: rows of a table, [PAD] included; its row 0 starts at zero.
        embedding_size: d.
        n_modalities: M.
        kind: one of the three above.
        prompt_num: Q, the prompts per modality.
        prompt_pooling: ``sum`` (the paper's), ``mean`` or ``max`` over the Q prompts.
        initialise: fills a table in place; prompts start Xavier uniform, as POWERec's do.
        prompt_scale: what the prompts' start is multiplied by. Xavier's bound for few prompts is a multiple of that for
            many users, so that at 1 all users of a modality start nearly alike.
    """

    def __init__(
        self,
        n_users: int,
        embedding_size: int,
        n_modalities: int,
        kind: str = "prompted",
        prompt_num: int = 1,
        prompt_pooling: str = "sum",
        initialise: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_,
        prompt_scale: float = 1.0,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"user_embedding: '{kind}' is unknown; choose one of {', '.join(KINDS)}")
        if prompt_pooling not in POOLINGS:
            raise ValueError(f"prompt_pooling: '{prompt_pooling}' is unknown; choose one of {', '.join(POOLINGS)}")
        if kind == "prompted" and prompt_num < 1:
            raise ValueError(f"prompt_num: {prompt_num} must be at least 1; user_embedding: shared has no prompts")
        self.kind = kind
        self.n_modalities = n_modalities
        self.pool = POOLINGS[prompt_pooling]
        n_tables = n_modalities if kind == "separate" else 1
        self.tables = nn.ParameterList(id_table(n_users, embedding_size, initialise) for _ in range(n_tables))
        self.prompts = None
        if kind == "prompted":
            self.prompts = nn.Parameter(torch.empty(n_modalities, prompt_num, embedding_size))
            for prompts in self.prompts.data:  # per modality: Xavier's bound is that of a [Q, d] table
                nn.init.xavier_uniform_(prompts).mul_(prompt_scale)

    def forward(self) -> Tensor:
        """All user vectors, ``[n_users, n_modalities, d]``."""
        return self.vectors(list(self.tables))

    def vectors(self, rows: list[Tensor]) -> Tensor:
        """User vectors ``[n, n_modalities, d]`` from ``[n, d]`` rows of each table, such as :meth:`rows` gives."""
        if self.kind == "separate":
            return torch.stack(rows, dim=1)
        users = rows[0].unsqueeze(1)
        if self.prompts is None:
            return users.expand(-1, self.n_modalities, -1)
        return users + self.pool(self.prompts)

    def per_modality(self) -> list[Tensor]:
        """All user vectors, ``[n_users, d]`` for each modality: the tables themselves where they are separate."""
        if self.kind == "separate":
            return list(self.tables)
        return list(self().unbind(dim=1))

    def rows(self, users: Tensor) -> list[Tensor]:
        """The tables' own rows of some users, for a regulariser: one ``[batch, d]`` per table, prompts left out."""
        return [nn.functional.embedding(users, table) for table in self.tables]


    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """What the log shows after each training epoch: lengths of user vectors and prompts, and how alike users are.

        ``user_cosine`` is the mean cosine of two users, mean over the modalities; a prompt far longer than the users'
        own vectors leaves it near 1.
        """
        of_modalities = [mean_cosine(users[1:]) for users in self.per_modality()]
        found = {"user_cosine": torch.stack(of_modalities).mean()}
        if self.prompts is not None:
            found["user_length"] = self.tables[0][1:].norm(dim=1).mean()
            found["prompt_length"] = self.pool(self.prompts).norm(dim=1).mean()
        return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))  # the device waits once


def id_table(rows: int, width: int, initialise: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_) -> nn.Parameter:
    """A user or item table whose [PAD] row is zero and takes no part in the initial values' scale."""
    table = torch.zeros(rows, width)
    initialise(table[1:])
    return nn.Parameter(table)
