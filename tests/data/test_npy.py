"""What people give for an array: read, or called by its name."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save_file

from recbole_mm.data.npy import load_npy

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
BY_ID = {f"i{row}": ROWS[row] for row in range(4)}
GAP = np.array([None if row == 2 else ROWS[row] for row in range(4)], dtype=object)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("named", [True, False])
def test_an_archive_of_one_array_is_that_array(tmp_path, save, named):
    save(tmp_path / "one.npz", **({"features": ROWS} if named else {"arr_0": ROWS}))
    np.testing.assert_array_equal(load_npy(tmp_path / "one.npz"), ROWS)


def test_an_array_is_known_by_its_content_whatever_its_name(tmp_path):
    with (tmp_path / "features.bin").open("wb") as file:
        np.save(file, ROWS)
    np.testing.assert_array_equal(load_npy(tmp_path / "features.bin"), ROWS)


def write_pickle(file: Path, content: object) -> None:
    with file.open("wb") as opened:
        pickle.dump(content, opened)


KINDS = {
    "dict.npy": (lambda file: np.save(file, BY_ID), "an array of Python objects, such as a dict"),
    "gap.npy": (lambda file: np.save(file, GAP), "an array of Python objects"),
    "objects.npz": (lambda file: np.savez(file, x=GAP), "an .npz archive of an array of Python objects"),
    "two.npz": (lambda file: np.savez(file, image=ROWS, text=ROWS), "an archive of image, text; save the one array"),
    "tensor.pt": (lambda file: torch.save(torch.tensor(ROWS), file), r"a torch file \(.pt\)"),
    "state.pth": (lambda file: torch.save({"weight": torch.tensor(ROWS)}, file), r"a torch file \(.pt\)"),
    "rows.pkl": (lambda file: write_pickle(file, ROWS), "a pickle, which could run code"),
    "rows.npy": (lambda file: write_pickle(file, BY_ID), "a pickle, which could run code"),
    "rows.csv": (lambda file: np.savetxt(file, ROWS, delimiter=","), "text, such as a CSV table"),
    "rows.tsv": (lambda file: file.write_text("Müller\t1 2 3\n", encoding="utf-8"), "text, such as a CSV table"),
    "rows.json": (lambda file: file.write_text('{"i1": [1, 2]}'), "JSON; save its vectors, numpy.save"),
    "rows.parquet": (lambda file: pd.DataFrame({"v": list(ROWS)}).to_parquet(file), "a Parquet table"),
    "rows.arrow": (lambda file: write_arrow(file), "an Arrow file"),
    "rows.safetensors": (lambda file: save_file({"rows": ROWS}, file), "a safetensors file"),
    "rows.h5": (lambda file: file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50)), "an HDF5 file"),
    "rows.mat": (lambda file: file.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(50)), "a MATLAB file"),
    "rows.npy.gz": (lambda file: file.write_bytes(gzip.compress(ROWS.tobytes())), "a gzip archive; unpack it"),
    "image.b": (lambda file: file.write_bytes(b"B000012345" + ROWS.tobytes()), "no .npy file of numbers"),
    "short.npz": (lambda file: np.savez(file, x=ROWS) or cut(file), "a damaged .npz or .pt archive"),
    "short.npy": (lambda file: np.save(file, ROWS) or cut(file), "not a whole .npy file of numbers, perhaps cut short"),
    "nothing.npy": (lambda file: file.write_bytes(b""), "not a whole .npy file of numbers but empty"),
}


def write_arrow(file: Path) -> None:
    table = pa.table({"v": [1.0]})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("name", KINDS)
def test_another_kind_of_file_is_called_by_its_name(tmp_path, name):
    write, kind = KINDS[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is {kind}") as caught:
        load_npy(tmp_path / name)
    message = str(caught.value)
    assert "\n" not in message and ("cut short" in message) == (name == "short.npy")
    assert "save" in message or "unpack" in message or "copied" in message
