"""Encodings that a file can have, among those that Python knows."""

from __future__ import annotations

import pytest

from recbole_mm.host.recbole_types import codec


@pytest.mark.parametrize("name", ["utf-8", "utf_8_sig", "latin-1", "cp1252", "gbk", "shift_jis_2004"])
def test_encodings_of_files(name):
    assert codec(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("idna", "no encoding of files"),
        ("IDNA", "no encoding of files"),
        ("unicode-escape", "no encoding of files"),
        ("raw_unicode_escape", "no encoding of files"),
        ("punycode", "no encoding of texts"),
        ("rot_13", "no encoding of texts"),
        ("utf-16", "no lines and tabs as in ASCII"),
        ("cp037", "no lines and tabs as in ASCII"),
        ("nonsense", "no encoding of texts"),
    ],
)
def test_encodings_of_something_else(name, message):
    with pytest.raises(ValueError, match=message):
        codec(name)
