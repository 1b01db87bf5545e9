"""What every encoder of pictures, texts or sounds must do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_mm.encoder import ContentEncoder, load_image_encoder, load_sound_encoder, load_text_encoder
from recbole_mm.registry import ENCODERS
from recbole_mm.testing.toy import own_process

WORDS = "a red cotton summer dress with small white flowers and long sleeves for any evening".split()


class EncoderConformance:
    """Inherit, and set `encoder`, the name of a registered encoder without files, or a method that gives a folder.

    Attributes:
        encoder: its name.
        folder: of its files, where it has some.
    """

    encoder: str
    folder: str | None = None

    @pytest.fixture(autouse=True)
    def own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a command has it."""
        own_process(tmp_path, monkeypatch)

    @pytest.fixture
    def loaded(self) -> ContentEncoder:
        """The encoder as `extract` loads it."""
        loads = {"pictures": load_image_encoder, "texts": load_text_encoder, "sounds": load_sound_encoder}
        return loads[self.reads](self.folder or self.encoder)

    @property
    def reads(self) -> str:
        """``pictures``, ``texts`` or ``sounds``."""
        return ENCODERS.entry(self.encoder).facts["reads"]

    def contents(self) -> list[Any]:
        """Four pictures in RGB of several sizes, texts of several lengths, or sounds of two lengths."""
        if self.reads == "sounds":
            random = np.random.default_rng(0)
            return [random.normal(size=n).astype(np.float32) / 4 for n in (8_000, 6_000, 8_000, 6_000)]
        if self.reads == "texts":
            return [" ".join(WORDS[:n]) for n in (1, 3, 7, len(WORDS))]
        from PIL import Image

        random = np.random.default_rng(0)
        shapes = [(8, 8), (40, 25), (31, 64), (64, 64)]
        return [Image.fromarray(random.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]

    def test_it_is_what_the_name_loads(self, loaded: ContentEncoder) -> None:
        assert type(loaded) is ENCODERS.get(self.encoder)
        assert not loaded.training and not any(value.requires_grad for value in loaded.parameters())

    def test_gives_one_finite_row_for_each_content(self, loaded: ContentEncoder) -> None:
        with torch.no_grad():
            rows = loaded(self.contents())
        assert rows.dim() == 2 and len(rows) == 4 and rows.dtype == torch.float32
        assert torch.isfinite(rows).all()

    def test_different_contents_have_different_features(self, loaded: ContentEncoder) -> None:
        with torch.no_grad():
            rows = loaded(self.contents())
        assert len(rows.unique(dim=0)) == 4

    def test_a_feature_depends_on_no_other_content(self, loaded: ContentEncoder) -> None:
        contents = self.contents()
        with torch.no_grad():
            alone = torch.cat([loaded([content]) for content in contents])
            torch.testing.assert_close(loaded(contents), alone, rtol=1e-4, atol=1e-5)

    def test_its_facts_can_stand_in_a_file(self, loaded: ContentEncoder) -> None:
        facts = json.loads(json.dumps(loaded.facts))
        assert facts["encoder"] and facts["revision"]
