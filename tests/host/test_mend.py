"""Changing functions where they stand."""

from __future__ import annotations

import inspect
import pickle
import traceback

import pytest

from recbole_mm.host.mend import mend, patch_in_place


def add(left: int, right: int = 1, *, factor: int = 1) -> int:
    """Sum, times factor."""
    return (left + right) * factor


def test_patch_in_place_reaches_names_held_before():
    held = add
    original = patch_in_place(add, lambda *args, **kwargs: -original(*args, **kwargs))
    second = patch_in_place(add, lambda *args, **kwargs: 100 + second(*args, **kwargs))
    assert held is add
    assert held(2, factor=3) == 100 - 9
    assert held(2, 3) == 100 - 5
    assert original(2) == 3
    assert pickle.loads(pickle.dumps(held)) is add
    assert list(inspect.signature(held).parameters) == ["left", "right", "factor"]
    assert held.__doc__ == original.__doc__ == "Sum, times factor."


def test_patch_in_place_refuses_a_closure():
    value = 1

    def closure() -> int:
        return value

    with pytest.raises(ValueError, match="closure"):
        patch_in_place(closure, lambda: 2)
    assert closure() == 1


class Base:
    def describe(self) -> str:
        return "base"


class Child(Base):
    def describe(self) -> str:
        text = super().describe() + " old"
        if text == "base new":
            raise ValueError(text)
        return text


def test_mend_keeps_super_and_line_numbers():
    child = Child()
    line = Child.describe.__code__.co_firstlineno
    assert not mend(Child.describe, "absent", "anything")
    assert child.describe() == "base old"
    assert mend(Child.describe, '" old"', '" new"')
    with pytest.raises(ValueError, match="base new") as raised:
        child.describe()
    assert traceback.extract_tb(raised.value.__traceback__)[-1].lineno == line + 3
    assert Child.describe.__code__.co_qualname == "Child.describe"


def test_mend_without_source_says_what_to_install():
    scope: dict = {"__name__": "frozen"}
    exec("def function(): return 1", scope)
    with pytest.raises(RuntimeError, match="frozen.function .* pip install --no-deps recbole==1.2.1"):
        mend(scope["function"], "1", "2")


def test_mending_what_is_patched_would_undo_it():
    def function() -> int:
        return 1

    patch_in_place(function, lambda: 2)
    with pytest.raises(RuntimeError, match="patched already"):
        mend(function, "1", "3")
    assert function() == 2
