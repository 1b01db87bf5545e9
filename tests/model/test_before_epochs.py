"""What DiffMM and DGMRec train by optimizers of their own before each epoch."""

from __future__ import annotations

import pytest
import torch

from tests.reference import interactions, start_example, write_example


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def watched(part, name):
    """The arguments of each call of a method from now on."""
    method, seen = getattr(part, name), []

    def call(*arguments):
        seen.append(arguments)
        return method(*arguments)

    setattr(part, name, call)
    return seen


def test_each_denoiser_passes_over_all_users(example):
    run = start_example("DiffMM", example, denoiser_width=6, denoiser_batch_size=5)
    model, seen = run.model, watched(run.model, "train_denoiser")
    before = [p.clone() for p in model.denoisers.parameters()]
    model.start_epoch(1)
    sizes = [(name, len(rows)) for name, rows, _ in seen]
    assert sizes == [(name, size) for size in (5, 5, 2) for name in ("visual", "textual")]
    for modality in model.modalities:
        rows = torch.cat([rows for name, rows, _ in seen if name == modality])
        assert sorted(rows.tolist()) == sorted(interactions(run)[1:, 1:].tolist())
    assert len({tuple(drawn.noise[0].tolist()) for *_, drawn in seen}) == 6  # each has noise of its own
    assert not any(torch.equal(p, q) for p, q in zip(model.denoisers.parameters(), before, strict=True))
    rebuilt = model.rebuilt_items.clone()
    model.rebuild()
    assert torch.equal(model.rebuilt_items, rebuilt), "graphs are those of the denoisers as trained"


def test_bounds_take_their_steps_on_other_items_each(example):
    """On specific and general content of the items, before the item graphs."""
    model = start_example("DGMRec", example, knn_k=3, club_items=4, club_steps=3).model
    general, specific, _ = model.raw_content()
    seen = [watched(club, "likelihood_loss") for club in model.clubs.values()]
    before = [p.clone() for p in model.clubs.parameters()]
    model.start_epoch(1)
    for pairs, s, g in zip(seen, specific, general, strict=True):
        items = [[(s == row).all(dim=1).nonzero().item() for row in x] for x, _ in pairs]
        assert [len(set(drawn)) for drawn in items] == [4, 4, 4] and len(set(map(tuple, items))) == 3
        assert not any(0 in drawn for drawn in items)
        assert all(torch.equal(y, g[drawn]) for (_, y), drawn in zip(pairs, items, strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(model.clubs.parameters(), before, strict=True))
