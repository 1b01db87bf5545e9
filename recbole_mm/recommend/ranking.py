"""The best items of every user, block by block, so that memory does not grow with the number of users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from scipy.sparse import csr_matrix
from torch import Tensor

from recbole_mm.io.reading import read_lines
from recbole_mm.io.tables import unquoted
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.recommender import Recommender

SCHEMA = pa.schema([("user", pa.string()), ("rank", pa.int32()), ("item", pa.string()), ("score", pa.float32())])
_BYTES_PER_SCORE = 3 * 4  # scores, and what masking and choosing the best need beside them


class Ranker:
    """Ranks all items for users of one checkpoint.

    Args:
        opened: the checkpoint with its model and data.
        k: items per user; a user with fewer candidates gets those.
        exclude_seen: leave out the items of the user's interactions, those of all splits.

    Raises ValueError where the model cannot score all items at once.
    """

    def __init__(self, opened: OpenedCheckpoint, k: int, exclude_seen: bool = False):
        self._model, self._device = opened.model, opened.config["device"]
        self._user_field, self._item_field = opened.dataset.uid_field, opened.dataset.iid_field
        self.n_users, self.n_items = opened.dataset.user_num, opened.dataset.item_num
        self._k = min(k, self.n_items - 1)
        self._tokens = {
            field: pa.array(opened.dataset.field2id_token[field].astype(str), pa.string())
            for field in (self._user_field, self._item_field)
        }
        self._seen = _interactions(opened.dataset) if exclude_seen else None
        self._exit = ExitStack()  # parameters do not change here: all blocks share one encoding
        if isinstance(self._model, Recommender):
            self._exit.enter_context(self._model.scores_cached())

    def users_per_block(self, block_bytes: int) -> int:
        """How many users fit into blocks of that many bytes; at least one."""
        return max(1, block_bytes // (_BYTES_PER_SCORE * self.n_items))

    @torch.no_grad()
    def rank(self, users: np.ndarray) -> pa.Table:
        """The best items of some users: user, rank (1 is best), item and score, in the order of `users`.

        Args:
            users: RecBole's internal ids, ``int64 [block]``.
        """
        best = self._scores(users).topk(self._k)
        scores, items = best.values.float().cpu().numpy(), best.indices.cpu().numpy()
        ranks = np.broadcast_to(np.arange(1, self._k + 1, dtype=np.int32), items.shape)
        kept = np.isfinite(scores)
        repeated = np.broadcast_to(users[:, None], items.shape)
        columns = [
            self._tokens[self._user_field].take(pa.array(repeated[kept])),
            pa.array(ranks[kept]),
            self._tokens[self._item_field].take(pa.array(items[kept])),
            pa.array(scores[kept]),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def _scores(self, users: np.ndarray) -> Tensor:
        """Scores ``[block, n_items]``; minus infinity for [PAD] and what is left out."""
        batch = Interaction({self._user_field: torch.from_numpy(users)}).to(self._device)
        try:
            scores = self._model.full_sort_predict(batch).view(len(users), self.n_items)
        except NotImplementedError as error:
            raise ValueError(
                f"{type(self._model).__name__} cannot score all items of a user at once, which recommend needs"
            ) from error
        if not torch.isfinite(scores[:, 1:]).all():
            row = int(torch.isfinite(scores[:, 1:]).all(dim=1).logical_not().nonzero()[0])
            raise ValueError(
                f"scores of user {self._tokens[self._user_field][int(users[row])].as_py()!r} are not finite; train "
                f"{type(self._model).__name__} again, with a lower learning rate"
            )
        scores[:, 0] = -torch.inf
        if self._seen is not None:
            rows, columns = self._seen[users].nonzero()
            scores[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()] = -torch.inf
        return scores

    def blocks(self, users: np.ndarray, block_bytes: int) -> Iterator[pa.Table]:
        """:meth:`rank` of all `users`, block by block."""
        size = self.users_per_block(block_bytes)
        for start in range(0, len(users), size):
            yield self.rank(users[start : start + size])


def _interactions(dataset: Dataset) -> csr_matrix:
    """Every interaction of a data set, all splits: bool ``[n_users, n_items]``."""
    users, items = (np.asarray(dataset.inter_feat[field]) for field in (dataset.uid_field, dataset.iid_field))
    ones = np.ones(len(users), dtype=bool)
    return csr_matrix((ones, (users, items)), shape=(dataset.user_num, dataset.item_num))


def read_users(file: Path | None, dataset: Dataset) -> np.ndarray:
    """Internal ids of the users to serve, ``int64 [n]``: of a text file with one id a line, or all but [PAD].

    Blank lines are left out, and an id that stands there twice is served once. An id is what stands in the line, or is
    left of it without blanks and quotation marks around it.

    Raises FileNotFoundError, or ValueError naming the line of an id that the data set does not have.
    """
    if file is None:
        return np.arange(1, dataset.user_num)
    if not file.exists():
        raise FileNotFoundError(f"--users: {file} does not exist")
    known = dataset.field2token_id[dataset.uid_field]
    found: dict[int, None] = {}
    for number, line in enumerate(read_lines(file), start=1):
        forms = (line, line.strip(), unquoted(line.strip()))
        user = next((known[form] for form in forms if known.get(form, 0)), None)  # 0 is [PAD]
        if line.strip() and user is None:
            name = dataset.dataset_name
            raise ValueError(f"{file}, line {number}: user '{line.strip()}' is not in data set '{name}'")
        if user is not None:
            found[user] = None
    if not found:
        raise ValueError(f"--users: {file} names no user; write one id a line")
    return np.fromiter(found, dtype=np.int64)
