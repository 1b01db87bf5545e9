"""What can be registered as a converter."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_mm.data import converters
from recbole_mm.data.conversion.convert import convert_dataset
from recbole_mm.data.conversion.layout import Converter, Interactions, Items
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


SOURCE = Path("toys.mine")
TWO = ["a", "b"]


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("interactions", lambda: None, "layout Mine: interactions gave NoneType; it is to yield Interactions of"),
        ("interactions", lambda: [("a", "x")], "interactions gave tuple; it is to yield Interactions"),
        ("interactions", lambda: [Interactions(TWO, ["x"], SOURCE)], "toys.mine: 1 items for 2 users; there must"),
        ("interactions", lambda: [Interactions(TWO, TWO, SOURCE, timestamps=[1])], "1 timestamps for 2 users"),
        ("interactions", lambda: [Interactions(TWO, TWO, SOURCE, split="dev")], "split 'dev' is not among train"),
        ("items", lambda: None, "items gave NoneType; it is to yield Items"),
        ("items", lambda: [Items(["a"], {"title": TWO}, SOURCE)], "toys.mine: 2 title for 1 ids; there must be"),
        ("features", lambda: 5, "features gave int; it is to yield Features"),
    ],
)
def test_what_a_layout_gives_is_looked_at(tmp_path, method, given, message):
    def interactions(self):
        yield Interactions(TWO, TWO, SOURCE)

    methods = {"interactions": interactions, method: lambda self: given()}
    with pytest.raises(ValueError, match=message):
        convert_dataset(type("Mine", (Converter,), methods)(SOURCE), "toys", tmp_path)


def test_a_layout_may_give_what_it_has_at_once(tmp_path):
    methods = {"interactions": lambda self: Interactions(TWO, TWO, SOURCE)}
    assert convert_dataset(type("Mine", (Converter,), methods)(SOURCE), "toys", tmp_path).written.interactions == 2
