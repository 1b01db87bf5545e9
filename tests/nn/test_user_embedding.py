"""The user tables of late fusion: shapes, poolings, initial values, and what a regulariser sees."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from recbole_mm.nn.user_embedding import UserEmbedding, id_table

USERS, WIDTH, MODALITIES = 6, 4, 3


def embedding(kind="prompted", **settings) -> UserEmbedding:
    torch.manual_seed(0)
    return UserEmbedding(USERS, WIDTH, MODALITIES, kind, **settings)


def test_separate_stands_table_by_table():
    users = embedding("separate")
    vectors = users()
    assert vectors.shape == (USERS, MODALITIES, WIDTH)
    for modality, table in enumerate(users.tables):
        assert torch.equal(vectors[:, modality], table)
    assert len(users.tables) == MODALITIES


def test_shared_is_one_table_in_every_modality():
    users = embedding("shared")
    assert users().shape == (USERS, MODALITIES, WIDTH)
    assert sum(p.numel() for p in users.parameters()) == USERS * WIDTH
    for modality in range(MODALITIES):
        assert torch.equal(users()[:, modality], users.tables[0])


@pytest.mark.parametrize(
    "pooling, expected",
    [
        ("sum", [[4.0, -1.0], [2.0, 9.0]]),
        ("mean", [[2.0, -0.5], [1.0, 4.5]]),
        ("max", [[3.0, 1.0], [7.0, 5.0]]),
    ],
)
def test_prompts_are_pooled_and_added_to_every_user(pooling, expected):
    users = UserEmbedding(3, 2, 2, prompt_num=2, prompt_pooling=pooling)
    with torch.no_grad():
        users.tables[0].copy_(torch.tensor([[0.0, 0.0], [10.0, 20.0], [30.0, 40.0]]))
        users.prompts.copy_(torch.tensor([[[1.0, 1.0], [3.0, -2.0]], [[-5.0, 4.0], [7.0, 5.0]]]))
    assert torch.equal(users(), users.tables[0].unsqueeze(1) + torch.tensor(expected))


def test_initial_values_are_xavier_uniform_without_the_pad_row():
    """Bounds sqrt(6 / (rows + width)): that of the tables counts real users, that of the prompts Q."""
    users = UserEmbedding(2001, 64, 2, prompt_num=4)
    table, prompts = users.tables[0], users.prompts
    assert not table[0].any()
    # the largest of 128,000 (256) uniform draws lies within 1 % (10 %) of its bound
    assert table.abs().max().item() == pytest.approx(math.sqrt(6 / (2000 + 64)), rel=0.01)
    for prompt in prompts:
        assert prompt.abs().max().item() == pytest.approx(math.sqrt(6 / (4 + 64)), rel=0.1)


def test_any_initialisation_leaves_the_pad_row_at_zero():
    table = id_table(4, 3, torch.nn.init.ones_)
    assert torch.equal(table, torch.tensor([[0.0] * 3] + [[1.0] * 3] * 3))
    users = UserEmbedding(4, 3, 2, "separate", initialise=torch.nn.init.ones_)
    assert all(torch.equal(user_table, table) for user_table in users.tables)


@pytest.mark.parametrize("kind, tables", [("prompted", 1), ("shared", 1), ("separate", MODALITIES)])
def test_rows_of_a_regulariser_leave_the_prompts_out(kind, tables):
    users = embedding(kind)
    ids = torch.tensor([3, 1, 3])
    rows = users.rows(ids)
    assert len(rows) == tables
    for row, table in zip(rows, users.tables, strict=True):
        assert torch.equal(row, table[ids])


@pytest.mark.parametrize("kind", ["prompted", "shared", "separate"])
def test_all_parameters_receive_gradients(kind):
    users = embedding(kind, prompt_num=2, prompt_pooling="mean")
    users().square().sum().backward()
    assert all(p.grad.any() for p in users.parameters())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kind": "hashed"}, "user_embedding: 'hashed' is unknown; choose one of separate, shared, prompted"),
        ({"prompt_pooling": "min"}, "prompt_pooling: 'min' is unknown; choose one of sum, mean, max"),
        ({"prompt_num": 0}, "prompt_num: 0 must be at least 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        embedding(**settings)


@pytest.mark.parametrize(
    ("kind", "scale", "cosine"), [("prompted", 1.0, 0.999), ("prompted", 0.01, 0.07), ("separate", 1.0, 0.0)]
)
def test_how_alike_the_users_of_baby_start(kind, scale, cosine):
    """Mean cosine of two of 19,445 users with three prompts, as PODualGNN and DualGNN begin: documented there."""
    torch.manual_seed(0)
    users = UserEmbedding(19_446, 64, 2, kind, 3, "sum", torch.nn.init.xavier_normal_, scale)()[1:, 0]
    mean = torch.nn.functional.normalize(users.detach(), dim=1).mean(dim=0)
    n = len(users)
    assert (n * mean @ mean - 1).item() / (n - 1) == pytest.approx(cosine, abs=0.01)


@pytest.mark.parametrize("kind", ["separate", "shared", "prompted"])
def test_diagnostics(kind):
    """By all pairs of users, one by one; [PAD] is none of them."""
    users = embedding(kind=kind)
    records = users.diagnostics()
    vectors = users().detach().double()[1:]
    pairs = list(itertools.permutations(range(len(vectors)), 2))
    cosines = [torch.cosine_similarity(vectors[a], vectors[b], dim=-1).mean().item() for a, b in pairs]
    assert records["user_cosine"] == pytest.approx(sum(cosines) / len(cosines), abs=1e-6)
    assert set(records) == {"user_cosine"} | ({"user_length", "prompt_length"} if kind == "prompted" else set())
    if kind == "prompted":
        pooled = users.prompts.detach().sum(dim=1)
        assert records["prompt_length"] == pytest.approx(sum(pooled.norm(dim=1).tolist()) / len(pooled))
        lengths = users.tables[0].detach()[1:].norm(dim=1)
        assert records["user_length"] == pytest.approx(lengths.mean().item())
