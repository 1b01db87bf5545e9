"""What can be registered as a converter."""

from __future__ import annotations

import pytest

from recbole_mm.data import converters
from recbole_mm.data.conversion.layout import Converter
from recbole_mm.registry import CONVERTERS, register_converter


@pytest.mark.parametrize("name", ["auto", "npy", "arrow", "", "a b", "../x", "mmrec", "MMRec"])
def test_names_that_cannot_be_a_layouts_are_refused(name):
    converters.load()
    said = "converter .*(cannot be called|is already registered|is there already)"
    with pytest.raises(ValueError, match=said) as error:
        register_converter(name, help="x")(type("Mine", (Converter,), {}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("target", [int, print, Converter(None)])
def test_what_is_no_converter_is_refused(target):
    with pytest.raises(ValueError, match="does not derive from Converter of recbole_mm.data.conversion.layout"):
        register_converter("mine", help="x")(target)
    assert "mine" not in CONVERTERS
