"""`python -m recbole_mm export`: a dot product of what it writes is the model's ranking."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import pytest
import torch
from safetensors.torch import load_file

from recbole_mm import MODELS
from recbole_mm.__main__ import main


@pytest.mark.parametrize("model", list(MODELS))
def test_a_plain_dot_product_gives_the_models_own_ranking(checkpoint, opened, model):
    assert main(["export", checkpoint(model), "--out", "vectors"]) == 0
    vectors = load_file("vectors/embeddings.safetensors")
    users = Path("vectors/user_ids.txt").read_text().splitlines()
    items = Path("vectors/item_ids.txt").read_text().splitlines()
    scoring = json.loads(Path("vectors/scoring.json").read_text())
    assert vectors["user"].shape == (len(users), scoring["width"]) and len(users) == 40
    assert vectors["item"].shape == (len(items), scoring["width"]) and len(items) == 30
    found = vectors["user"] @ vectors["item"].T
    saved = opened(model)
    rows = saved.dataset.token2id("user_id", users)
    columns = saved.dataset.token2id("item_id", items)
    with torch.no_grad():
        scores = saved.model.full_sort_predict({"user_id": torch.arange(saved.dataset.user_num)})
    scores = scores.view(-1, saved.dataset.item_num)[rows][:, columns]
    # the same product over one row and one column less may be summed in another order: float32 rounding
    torch.testing.assert_close(found, scores, rtol=1e-5, atol=1e-6)
    best, items_of_best = scores.sort(dim=1, descending=True)
    apart = (best[:, :-1] - best[:, 1:]).min(dim=1).values > 1e-5  # where rounding cannot turn two items round
    assert apart.any()
    assert torch.equal(found.argsort(dim=1, descending=True)[apart], items_of_best[apart])


def test_a_faiss_index_gives_the_models_own_ranking(checkpoint, opened):
    assert main(["export", checkpoint("POWERec"), "--out", "vectors"]) == 0
    vectors = {name: tensor.numpy() for name, tensor in load_file("vectors/embeddings.safetensors").items()}
    users = Path("vectors/user_ids.txt").read_text().splitlines()
    items = Path("vectors/item_ids.txt").read_text().splitlines()
    index = faiss.IndexFlatIP(vectors["item"].shape[1])
    index.add(vectors["item"])
    found_scores, found = index.search(vectors["user"], 5)
    saved = opened("POWERec")
    users = torch.from_numpy(saved.dataset.token2id("user_id", users))
    with torch.no_grad():
        scores = saved.model.full_sort_predict({"user_id": users}).view(len(users), -1)
    scores[:, 0] = -torch.inf  # the padding item
    best = scores.sort(dim=1, descending=True)
    # float32 sums in another order; where two scores are as close, either may come first
    torch.testing.assert_close(torch.from_numpy(found_scores), best.values[:, :5], rtol=1e-5, atol=1e-6)
    apart = (best.values[:, :5] - best.values[:, 1:6]).min(dim=1).values > 1e-5
    assert apart.any()
    items_found = torch.from_numpy(saved.dataset.token2id("item_id", items))[torch.from_numpy(found)]
    assert torch.equal(items_found[apart], best.indices[apart, :5])


def test_recboles_model_is_refused(checkpoint, capsys):
    assert main(["export", checkpoint("BPR"), "--out", "vectors", "--trust-pickle"]) == 2
    error = "error: BPR gives no user and item vectors whose dot product is its score; export needs a multimodal model"
    assert error in capsys.readouterr().err
    assert not Path("vectors").exists()


def test_nothing_is_overwritten(checkpoint, capsys):
    Path("vectors").mkdir()
    Path("vectors/mine.txt").write_text("mine")
    assert main(["export", checkpoint("POWERec"), "--out", "vectors"]) == 2
    assert "error: --out: vectors holds something already" in capsys.readouterr().err
    assert [file.name for file in Path("vectors").iterdir()] == ["mine.txt"]
