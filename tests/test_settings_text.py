"""Descriptions of settings, read from the source when asked for."""

from __future__ import annotations

from pydantic import Field

from recbole_mm.settings import Settings, Weight
from recbole_mm.settings_text import described_fields


class Base(Settings):
    """Keys of a base."""

    shared: Weight = 1.0
    """Of the base,
    over two lines."""
    replaced: Weight = 1.0
    """Of the base."""


def descriptions(kind: type[Settings]) -> dict[str, str | None]:
    return {name: field.description for name, field in described_fields(kind).items()}


def test_the_text_under_a_field_of_the_nearest_class():
    class Inner(Base):
        replaced: Weight = 2.0
        """Of a class in a function,
with a line further left."""
        of_field: Weight = Field(default=1.0, description="Said to pydantic.")
        """Not this."""
        silent: Weight = 1.0
        next_one: Weight = 1.0
        """After one without."""

    assert descriptions(Base) == {"shared": "Of the base,\nover two lines.", "replaced": "Of the base."}
    assert descriptions(Inner) == {
        "shared": "Of the base,\nover two lines.",
        "replaced": "Of a class in a function,\nwith a line further left.",
        "of_field": "Said to pydantic.", "silent": None, "next_one": "After one without.",
    }  # fmt: skip


def test_a_class_without_source_has_none():
    kind = type("Typed", (Settings,), {"__annotations__": {"n": int}, "n": 1, "__module__": "nowhere"})
    assert descriptions(kind) == {"n": None}
