"""What can be registered as a converter."""

from __future__ import annotations

import pytest

from recbole_mm.data import converters
from recbole_mm.data.conversion.layout import Converter
from recbole_mm.registry import CONVERTERS, register_converter


@pytest.mark.parametrize("name", ["auto", "npy", "arrow", "", "My", "a b", "../x", "mmrec"])
def test_names_that_cannot_be_a_layouts_are_refused(name):
    converters.load()
    with pytest.raises(ValueError, match=f"converter '{name}'") as error:
        register_converter(name, help="x")(type("Mine", (Converter,), {}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("target", [int, type("Half", (), {"recognise": print}), print, Converter(None)])
def test_what_is_no_converter_is_refused(target):
    with pytest.raises(ValueError, match="is no converter; derive a class from .*Converter"):
        register_converter("mine", help="x")(target)
    assert "mine" not in CONVERTERS
