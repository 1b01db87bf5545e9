"""Pictures of all formats, damaged: a picture, or a refusal that names the file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.io.pictures import open_picture
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

Image = pytest.importorskip("PIL.Image")


def whole(form: str, mode: str) -> bytes:
    colours = np.random.default_rng(0).integers(0, 255, (9, 7, 4), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(colours, "RGBA").convert(mode).save(sink, format=form)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [("BMP", "RGB"), ("GIF", "P"), ("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PPM", "L"), ("TIFF", "RGB"),
     ("WEBP", "RGBA")],
)  # fmt: skip
@fuzz
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_damaged(tmp_path, form, mode, data):
    file = tmp_path / "a.jpg"
    file.write_bytes(data.draw(mutated(whole(form, mode))))
    picture = read_or_refuse(lambda: open_picture(file), file)
    assert picture is None or (picture.mode == "RGB" and np.asarray(picture).shape == (*picture.size[::-1], 3))
