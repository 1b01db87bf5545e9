"""A constant sparse matrix as a linear operator that knows its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as functional

_LARGEST_INDEX = np.iinfo(np.int32).max


class _Product(torch.autograd.Function):
    """``matrix @ x`` whose gradient is ``matrix^T @ grad``; the matrix itself is a constant."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, operator: SparseOperator) -> torch.Tensor:
        ctx.operator = operator
        return operator._multiply(x.detach().contiguous())

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Product.apply(grad, ctx.operator.transpose()), None


class SparseOperator:
    """A constant sparse matrix ``[n_rows, n_cols]`` that multiplies dense tensors.

    ``operator @ x`` takes ``x`` of shape ``[n_cols, width]`` in any floating type, on any device, and gives
    ``[n_rows, width]`` of the same type and device, differentiable in ``x``.

    The matrix is kept in CSR form with 32-bit indices and 64-bit values; each device and floating type met
    gets its own copy on first use. It cannot change, so ``copy.deepcopy`` shares it, and pickling carries the
    three CSR arrays only. It is no parameter and no buffer: it never enters a ``state_dict``.

    Args:
        indptr: ``[n_rows + 1]``, where each row's entries start.
        indices: ``[nnz]`` column of each entry; no column twice within a row.
        values: ``[nnz]`` value of each entry.
        shape: ``(n_rows, n_cols)``.
        symmetric: the matrix equals its transpose, which then needs no second copy. Trusted here;
            :meth:`from_scipy` and :meth:`from_coo` check it.

    Raises:
        ValueError: more rows, columns or entries than 32-bit indices can count, or an entry outside the shape, as of a
            file that somebody changed: a product would read memory that is not the matrix's.
    """

    def __init__(
        self,
        indptr: np.ndarray,
        indices: np.ndarray,
        values: np.ndarray,
        shape: tuple[int, int],
        symmetric: bool = False,
    ) -> None:
        if max(*shape, len(indices)) > _LARGEST_INDEX:
            raise ValueError(
                f"a sparse matrix of shape {tuple(shape)} with {len(indices)} entries exceeds 32-bit indices"
            )
        self.shape = (int(shape[0]), int(shape[1]))
        self.symmetric = symmetric
        self._indptr = np.ascontiguousarray(indptr, dtype=np.int32)
        self._indices = np.ascontiguousarray(indices, dtype=np.int32)
        self._values = np.ascontiguousarray(values, dtype=np.float64)
        if not self._is_within():
            raise ValueError(
                f"a sparse matrix of shape {self.shape} has entries outside it; its file was changed, delete it"
            )
        self._copies: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        self._transpose: SparseOperator | None = None

    def _is_within(self) -> bool:
        starts, columns = self._indptr, self._indices
        if starts.shape != (self.shape[0] + 1,) or columns.ndim != 1 or columns.shape != self._values.shape:
            return False
        rows_are_whole = starts[0] == 0 and starts[-1] == len(columns) and bool((np.diff(starts) >= 0).all())
        return rows_are_whole and (not len(columns) or bool(columns.min() >= 0 and columns.max() < self.shape[1]))

    @classmethod
    def from_scipy(cls, matrix: sp.spmatrix | sp.sparray, symmetric: bool = False) -> SparseOperator:
        """From any SciPy sparse matrix; entries given twice are summed, stored zeros are kept.

        Raises:
            ValueError: ``symmetric`` is claimed of a matrix that is not.
        """
        csr = sp.csr_matrix(matrix, dtype=np.float64, copy=True)
        csr.sum_duplicates()
        if symmetric and (csr.shape[0] != csr.shape[1] or (csr != csr.T).nnz):
            raise ValueError(
                f"a matrix of shape {csr.shape} is declared symmetric and differs from its transpose"
            )
        return cls(csr.indptr, csr.indices, csr.data, csr.shape, symmetric)

    @classmethod
    def from_coo(
        cls,
        rows: np.ndarray | torch.Tensor,
        cols: np.ndarray | torch.Tensor,
        values: np.ndarray | torch.Tensor,
        shape: tuple[int, int],
        symmetric: bool = False,
    ) -> SparseOperator:
        """From the row, column and value ``[n_entries]`` of each entry; entries given twice are summed.

        Raises:
            ValueError: an index outside the shape, arrays of different lengths, or a false claim of symmetry.
        """
        rows, cols, values = (as_numpy(array) for array in (rows, cols, values))
        return cls.from_scipy(sp.coo_matrix((values, (rows, cols)), shape=shape), symmetric)

    @property
    def nnz(self) -> int:
        """How many entries are stored."""
        return len(self._indices)

    def __matmul__(self, x: torch.Tensor) -> torch.Tensor:
        """``[n_cols, width]`` to ``[n_rows, width]``, with the gradient through ``x``.

        Raises:
            ValueError: ``x`` is not a floating matrix of n_cols rows.
        """
        if x.dim() != 2 or x.shape[0] != self.shape[1] or not x.is_floating_point():
            raise ValueError(
                f"a sparse operator of shape {self.shape} multiplies floating tensors of shape "
                f"[{self.shape[1]}, width], not {x.dtype} of shape {list(x.shape)}"
            )
        return _Product.apply(x, self)

    def product_rows(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Some rows of ``self @ x``, ``[n, width]``, with the gradient through ``x``; a row may repeat.

        On a CPU only these rows are computed. Elsewhere all are, which costs less than to bring ``rows`` to
        the host.

        Args:
            x: ``[n_cols, width]``.
            rows: ``[n]`` row numbers.
        """
        if rows.device.type != "cpu":
            return functional.embedding(rows, self @ x)
        return self.rows(rows) @ x

    def rows(self, rows: torch.Tensor) -> SparseOperator:
        """Some rows, ``[n, n_cols]``, of row numbers ``[n]`` on the CPU; a row may repeat."""
        csr = self.to_scipy()[rows.numpy()]
        return SparseOperator(csr.indptr, csr.indices, csr.data, csr.shape)

    def dense_rows(self, rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Some rows, ``[n, n_cols]``, of the type and on the device of `like`.

        Args:
            rows: ``[n]`` row numbers.
            like: any tensor.
        """
        return self.rows(rows.cpu()).dense_like(like)

    def dense_like(self, like: torch.Tensor) -> torch.Tensor:
        """The matrix as a dense tensor of the type and on the device of `like`."""
        starts, columns, values = self.entries(like)
        dense = like.new_zeros(self.shape)
        return dense.index_put_((torch.repeat_interleave(starts.diff()), columns), values)

    def entries(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where each row's entries start ``[n_rows + 1]``, their columns and values ``[nnz]``, on `like`'s device.

        Values are of the type of `like`; nothing of it is to be written to.
        """
        return self._on(like.device, like.dtype)

    def transpose(self) -> SparseOperator:
        """The transposed operator, built on first use; a symmetric operator is its own."""
        if self.symmetric:
            return self
        if self._transpose is None:
            csr = self.to_scipy().T.tocsr()
            self._transpose = SparseOperator(csr.indptr, csr.indices, csr.data, csr.shape)
        return self._transpose

    def row_sums(self) -> torch.Tensor:
        """The sum of each row, ``[n_rows]``, float64."""
        return torch.from_numpy(np.asarray(self.to_scipy().sum(axis=1)).ravel())

    def to_scipy(self) -> sp.csr_matrix:
        """The matrix as SciPy CSR, sharing this operator's arrays: not to be written to."""
        return sp.csr_matrix((self._values, self._indices, self._indptr), shape=self.shape)

    def to_dense(self) -> torch.Tensor:
        """The matrix as a dense float64 tensor ``[n_rows, n_cols]``."""
        return torch.from_numpy(self.to_scipy().toarray())

    def _multiply(self, x: torch.Tensor) -> torch.Tensor:
        # A row of the product is a weighted sum of rows of x, which is what an embedding bag computes. On a
        # CPU torch's kernel for it takes half the time of its CSR product. The order of summation is fixed.
        indptr, indices, values = self._on(x.device, x.dtype)
        return functional.embedding_bag(
            indices, x, indptr, mode="sum", per_sample_weights=values, include_last_offset=True
        )

    def _on(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        key = (device, dtype)
        if key not in self._copies:
            values = torch.from_numpy(self._values).to(device, dtype)
            indptr, indices = (torch.from_numpy(array).to(device) for array in (self._indptr, self._indices))
            self._copies[key] = (indptr, indices, values)
        return self._copies[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseOperator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseOperator, (self._indptr, self._indices, self._values, self.shape, self.symmetric)

    def __repr__(self) -> str:
        return f"SparseOperator(shape={self.shape}, nnz={self.nnz}, symmetric={self.symmetric})"


def square(n: int, symmetric: bool = False) -> Callable[[dict[str, np.ndarray]], SparseOperator]:
    """What makes an operator ``[n, n]`` of the arrays `indptr`, `indices` and `values` of a file.

    It raises TypeError for arrays of other names, ValueError for others than of such an operator.
    """
    return lambda arrays: SparseOperator(**arrays, shape=(n, n), symmetric=symmetric)


def as_numpy(array: np.ndarray | torch.Tensor) -> np.ndarray:
    """The same values on the CPU as a NumPy array."""
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
