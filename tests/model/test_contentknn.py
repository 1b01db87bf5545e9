"""ContentKNN against its formulae, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.testing.closed_forms import ClosedFormConformance
from recbole_mm.testing.toy import write_dataset
from tests.reference import WIDTHS, interactions, start_example, write_example


class TestContentKNN(ClosedFormConformance):
    model = "ContentKNN"
    settings = {"k": 5}


class TestContentKNNWithoutTruncation(ClosedFormConformance):
    model = "ContentKNN"
    settings = {"keep": "none"}


class TestContentKNNBesideInteractions(ClosedFormConformance):
    model = "ContentKNN"
    settings = {"fusion": "hybrid", "keep": "column", "k": 5}


class TestContentKNNOfScores(ClosedFormConformance):
    model = "ContentKNN"
    settings = {"fusion": "score", "keep": "column", "k": 5}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def with_gaps(tmp_path_factory):
    """Items i0 and i1 lack visual, i1 and i2 textual features; i3 alone lacks acoustic ones."""
    rng = np.random.default_rng(5)
    lacking = {"visual": (0, 1), "textual": (1, 2), "acoustic": (3,)}
    features = {
        name: {f"i{item}": rng.standard_normal(width) for item in range(9) if item not in lacking[name]}
        for name, width in WIDTHS.items()
    }
    pairs = [(f"u{user}", f"i{item}") for user in range(6) for item in rng.permutation(9)[:4]]
    splits = {"train": pairs, "valid": [("u0", "i8")], "test": [("u1", "i7")]}
    return write_dataset(tmp_path_factory.mktemp("gaps"), splits, features)


def unit(run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Centred features of length 1, and which items have any."""
    feature = run.dataset.modality_feature(name)[1:].double().numpy()
    present = run.dataset.modality_mask(name)[1:].numpy()
    feature = np.where(present[:, None], feature - feature[present].mean(axis=0), 0.0)
    norms = np.linalg.norm(feature, axis=1, keepdims=True)
    return feature / np.where(norms == 0, 1, norms), present


def weighted(run, weights: list[float]) -> np.ndarray:
    """The weighted cosine of each pair, over the modalities that both have."""
    rows = [unit(run, name) for name in run.model.modalities]
    n = len(rows[0][1])
    similarity = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            both = [m for m in range(len(rows)) if rows[m][1][i] and rows[m][1][j]]
            total = sum(weights[m] for m in both)
            if total > 0:
                similarity[i, j] = sum(weights[m] * rows[m][0][i] @ rows[m][0][j] for m in both) / total
    return similarity


def k_largest(similarity: np.ndarray, k: int) -> np.ndarray:
    kept = np.zeros_like(similarity)
    for i, row in enumerate(similarity):
        chosen = np.argsort(-row, kind="stable")[:k]
        kept[i, chosen] = row[chosen]
    return kept


def scores(run) -> np.ndarray:
    users = torch.arange(1, run.dataset.user_num)
    return run.model.full_sort_predict({"user_id": users}).view(len(users), -1)[:, 1:].numpy()


def history(run) -> np.ndarray:
    return interactions(run)[1:, 1:].numpy()


@pytest.mark.parametrize("data", ["example", "with_gaps"])
@pytest.mark.parametrize("keep", ["row", "column", "none"])
@pytest.mark.parametrize("weights", [[0.5, 0.2, 0.3], [0.0, 1.0, 1.0]])
def test_sum(request, data, keep, weights):
    folder = request.getfixturevalue(data)
    modalities = ["visual", "textual", "acoustic"]
    run = start_example("ContentKNN", folder, modalities=modalities, keep=keep, k=3, modality_weights=weights)
    similarity = weighted(run, weights)
    if keep != "none":
        np.fill_diagonal(similarity, 0.0)
        similarity = k_largest(similarity, 3)
    expected = history(run) @ (similarity.T if keep == "column" else similarity)
    np.testing.assert_allclose(scores(run), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep_self", [None, False])
def test_concat_is_public_codes_form(example, keep_self):
    run = start_example("ContentKNN", example, fusion="concat", k=4, shrink=10.0, keep_self=keep_self)
    raw = np.concatenate([run.dataset.modality_feature(name)[1:].double().numpy() for name in run.model.modalities], 1)
    norms = np.linalg.norm(raw, axis=1)
    similarity = raw @ raw.T / (np.outer(norms, norms) + 10)
    if keep_self is False:
        np.fill_diagonal(similarity, 0.0)
    np.testing.assert_allclose(scores(run), history(run) @ k_largest(similarity, 4), rtol=1e-5, atol=1e-6)


def test_concat_of_everything_is_the_cosine_to_the_profile(example):
    kept, exact = (
        start_example("ContentKNN", example, fusion="concat", **settings) for settings in ({"k": 9}, {"keep": "none"})
    )
    np.testing.assert_allclose(scores(kept), scores(exact), rtol=1e-5, atol=1e-6)


def test_max(with_gaps):
    run = start_example("ContentKNN", with_gaps, fusion="max", k=4, keep_self=True)
    rows = [unit(run, name) for name in run.model.modalities]
    cosines = np.stack([np.where(np.outer(own, own), f @ f.T, -np.inf) for f, own in rows]).max(axis=0)
    expected = history(run) @ k_largest(np.where(np.isinf(cosines), 0, cosines), 4)
    np.testing.assert_allclose(scores(run), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", ["row", "column"])
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_hybrid(with_gaps, keep, scale):
    """Columns of interactions and content written side by side, pair by pair."""
    weights = [0.5, 0.2, 0.3]
    run = start_example(
        "ContentKNN", with_gaps, modalities=["visual", "textual", "acoustic"], fusion="hybrid", keep=keep, k=4,
        content_scale=scale, modality_weights=weights, shrink=1.5,
    )  # fmt: skip
    content = [
        scale * np.sqrt(weight) * unit(run, name)[0] for weight, name in zip(weights, run.model.modalities, strict=True)
    ]
    rows = np.concatenate([history(run).T, *content], axis=1).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    similarity = rows @ rows.T / (np.outer(norms, norms) + 1.5)
    np.fill_diagonal(similarity, 0.0)
    kept = k_largest(similarity, 4)
    np.testing.assert_allclose(scores(run), history(run) @ (kept.T if keep == "column" else kept), rtol=1e-5, atol=1e-6)


def test_hybrid_without_content_is_recboles_itemknn(tmp_path):
    """All neighbours kept, so that ties, of which columns of interactions have many, decide nothing."""
    folder = write_example(tmp_path)
    hybrid = start_example("ContentKNN", folder, fusion="hybrid", content_scale=0.0, keep="column", k=9, shrink=2.0)
    itemknn = start_example("ItemKNN", folder, k=10, shrink=2.0)
    users = torch.arange(1, hybrid.dataset.user_num)
    expected = itemknn.model.full_sort_predict({"user_id": users}).reshape(len(users), -1)[:, 1:]
    np.testing.assert_allclose(scores(hybrid), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", ["row", "none"])
def test_score(with_gaps, keep):
    run = start_example("ContentKNN", with_gaps, fusion="score", k=4, keep=keep)
    expected = np.zeros_like(history(run))
    for name in run.model.modalities:
        feature, present = unit(run, name)
        similarity = feature @ feature.T
        if keep == "row":
            np.fill_diagonal(similarity, 0.0)
            similarity = k_largest(similarity, 4)
        own = history(run) @ similarity
        for user in range(len(own)):
            of_items = own[user, present]
            expected[user, present] += (of_items - of_items.mean()) / of_items.std()
    np.testing.assert_allclose(scores(run), expected, rtol=1e-5, atol=1e-5)


def test_all_neighbours_of_one_modality_are_the_profile_cosine(example):
    run = start_example("ContentKNN", example, modalities=["visual"], k=9, keep_self=True)
    feature, _ = unit(run, "visual")
    np.testing.assert_allclose(scores(run), history(run) @ feature @ feature.T, rtol=1e-5, atol=1e-6)


def test_one_weight_alone_is_that_modality_alone(example):
    both = start_example("ContentKNN", example, modality_weights={"visual": 0.0, "textual": 2.0}, k=3)
    alone = start_example("ContentKNN", example, modalities=["textual"], k=3)
    np.testing.assert_array_equal(scores(both), scores(alone))


def test_a_cold_item_is_a_candidate_of_its_own_neighbours(example):
    run = start_example("ContentKNN", example, keep="column", k=1)
    column = run.dataset.token2id("item_id", "i8") - 1
    assert np.count_nonzero(run.model.solution().weights.toarray()[:, column]) == 1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"k": 0}, "k: 0 is not allowed"),
        ({"k": 10}, "k: 10 must be from 1 to 9, the number of items"),
        ({"modalities": []}, "ContentKNN needs modality features"),
        ({"modality_weights": [1.0], "k": 3}, "modality_weights: .* must be one number for each of visual, textual"),
        ({"modality_weights": [0.0, 0.0], "k": 3}, "modality_weights: .* are all 0"),
        ({"fusion": "max", "keep": "none"}, "keep: none is a product of features, which fusion: max"),
        ({"fusion": "hybrid", "keep": "none"}, "keep: none is a product of features, which fusion: hybrid"),
        ({"fusion": "hybrid", "content_scale": -1.0}, "content_scale: -1.0 is not allowed"),
        ({"fusion": "concat", "keep": "none", "shrink": 10.0}, "keep: none is a product of features"),
        ({"shrink": -1.0}, "shrink: -1.0 is not allowed"),
        ({"fusion": "mean"}, "fusion: 'mean' is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        start_example("ContentKNN", example, **settings)
    assert "\n" not in str(error.value)
