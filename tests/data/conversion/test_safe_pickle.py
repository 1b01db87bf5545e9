"""Pickled sparse matrices of every form and protocol are read; anything else is refused without being run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_mm.data.conversion import safe_pickle
from recbole_mm.data.conversion.safe_pickle import read_sparse_pickle

DENSE = np.array([[1, 0, 2.5], [0, 0, 0], [0, 3, 0], [4, 0, 0]])


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f4", "<i8", "|i1", "|b1"])
@pytest.mark.parametrize("form", ["coo_matrix", "csr_matrix", "csc_matrix", "coo_array", "csr_array"])
def test_every_form_is_read(tmp_path, form, dtype, protocol):
    dense = DENSE.astype(dtype)
    matrix = getattr(sp, form)(dense.astype(dtype[1:] if dtype[0] == ">" else dtype))
    matrix.data = matrix.data.astype(dtype)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix, protocol=protocol))
    rows, columns, values, shape = read_sparse_pickle(tmp_path / "m.pkl")
    found = np.zeros(shape)
    found[rows, columns] = values
    np.testing.assert_array_equal(found, dense.astype(float))


def test_names_of_older_scipy_and_numpy_are_known(tmp_path):
    old = pickle.dumps(sp.csr_matrix(DENSE), protocol=2)
    old = old.replace(b"cscipy.sparse._csr\n", b"cscipy.sparse.csr\n").replace(b"numpy._core", b"numpy.core")
    assert b"scipy.sparse.csr\n" in old and b"numpy.core.multiarray" in old
    (tmp_path / "m.pkl").write_bytes(old)
    assert read_sparse_pickle(tmp_path / "m.pkl")[3] == (4, 3)


class _Runs:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_Runs(os.system, "touch ran"), "posix.system"),
        (_Runs(eval, "open('ran', 'w')"), "builtins.eval"),
        (_Runs(getattr, "x", "upper"), "builtins.getattr"),
        ({"a": 1}, "holds no sparse matrix"),
        (np.eye(3), "holds no sparse matrix"),
        (np.array([object()]), "holds no sparse matrix"),
        (Path("x"), "PosixPath"),
        (sp.lil_matrix(DENSE), "it is a lil_matrix; save it as COO, CSR or CSC"),
        (sp.dok_array(DENSE), "it is a dok_array; save it as COO, CSR or CSC"),
    ],
)
def test_anything_else_is_refused_by_name_and_not_run(tmp_path, content, said):
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=f"m.pkl is no pickle of a scipy.sparse matrix.*({said})") as error:
        read_sparse_pickle(path)
    assert "\n" not in str(error.value) and not Path("ran").exists()


def test_positions_outside_of_the_shape_are_refused(tmp_path):
    matrix = sp.coo_matrix(DENSE)
    matrix.coords = (matrix.coords[0] + 100, matrix.coords[1])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix))
    with pytest.raises(ValueError, match="outside of the shape 4 x 3"):
        read_sparse_pickle(tmp_path / "m.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"c_codecs\nencode\n(N}V__defaults__\n(Vutf-7\ntstb.",  # would set what our function does without arguments
        b"ccopyreg\n_reconstructor\n}Vx\nI1\nsb.",
        b"cnumpy\nndarray\n}Vx\nI1\nsb.",
    ],
)
def test_what_is_ours_cannot_be_changed(tmp_path, content):
    (tmp_path / "m.pkl").write_bytes(content)
    before = (safe_pickle._encode.__defaults__, dict(vars(safe_pickle._reconstruct)), set(vars(safe_pickle._Array)))
    with pytest.raises(ValueError, match="m.pkl is no pickle"):
        read_sparse_pickle(tmp_path / "m.pkl")
    after = (safe_pickle._encode.__defaults__, dict(vars(safe_pickle._reconstruct)), set(vars(safe_pickle._Array)))
    assert before == after


def test_an_indptr_that_asks_for_memory_is_refused(tmp_path):
    matrix = sp.csr_matrix(DENSE)
    matrix.indptr = np.array([0, 1 << 50, 1 << 50, 1 << 50, 1 << 50])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix))
    with pytest.raises(ValueError, match="its indptr is none"):
        read_sparse_pickle(tmp_path / "m.pkl")


def test_a_cut_file_is_refused(tmp_path):
    whole = pickle.dumps(sp.csr_matrix(DENSE))
    for length in range(0, len(whole), 7):
        (tmp_path / "m.pkl").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="m.pkl is no pickle"):
            read_sparse_pickle(tmp_path / "m.pkl")


@pytest.mark.parametrize("part", ["coords", "row", "indices", "_shape", "_shape of numpy"])
def test_fractions_are_no_positions(tmp_path, part):
    """Scipy's own setters round; a file that another program wrote says what it says."""
    matrix = sp.coo_matrix((np.ones(3), ([0, 1, 2], [0, 1, 2])), shape=(4, 3))
    said = "positions of float64, not integers"
    if part == "coords":
        matrix.coords = (matrix.coords[0] + 0.5, matrix.coords[1])
    elif part == "row":  # as scipy before 1.11 kept them
        rows, columns = matrix.__dict__.pop("coords")
        matrix.__dict__.update(row=rows + 0.5, col=columns)
    elif part == "indices":
        matrix = matrix.tocsr()
        matrix.indices = matrix.indices + 0.5
    else:
        matrix._shape = (np.float64(4.5) if "numpy" in part else 4.5, 3)
        said = "where an integer belongs" if "numpy" in part else "a shape of 4.5, not of integers"
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix))
    with pytest.raises(ValueError, match=f"m.pkl is no pickle of a scipy.sparse matrix.*{said}"):
        read_sparse_pickle(tmp_path / "m.pkl")
