"""The small CLIP of the benchmarks is one that `extract` takes."""

from __future__ import annotations

import sys

import pretrain_clip
import pytest

from recbole_mm.encoder import load_dual_encoder
from tests.planted_contents import write_contents

pytest.importorskip("transformers")


def test_it_learns_and_leaves_an_encoder_and_nothing_else(tmp_path, monkeypatch, capsys):
    toy = write_contents(tmp_path) / "toy"
    sizes = "--epochs 12 --batch-size 8 --side 16 --width 8 --hidden 32 --blocks 1 --context 8 --words 300 --rate 0.01"
    command = f"pretrain_clip --dataset {toy} --images {toy / 'images'} --fields title --out {tmp_path / 'own'} {sizes}"
    monkeypatch.setattr(sys, "argv", command.split())
    assert pretrain_clip.main() == 0
    losses = [float(line.split()[3].rstrip(",")) for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert len(losses) == 12 and losses[-1] < losses[0]
    assert load_dual_encoder(tmp_path / "own").width == 8
    assert not [path for path in (tmp_path / "own").iterdir() if path.is_dir()]
