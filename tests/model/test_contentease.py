"""ContentEASE against least squares without the own column, RecBole's EASE, and the identities of its formulae."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_mm.nn.content_similarity import UnitRows
from recbole_mm.nn.ridge import SingularMatrix, gram_matrix, invert
from recbole_mm.testing.closed_forms import ClosedFormConformance
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from tests.reference import interactions, start_example, write_example

CONTENT = {"reg_weight": 0.7, "content_weight": 2.5, "content_reg_weight": 0.4, "behaviour_share": 0.3}


class TestContentEASE(ClosedFormConformance):
    model = "ContentEASE"
    settings = {"reg_weight": 3.0, "content_weight": 1.0}
    modality_counts = (0, 1, 2, 3)


class TestAddedContentEASE(ClosedFormConformance):
    model = "ContentEASE"
    settings = {"combination": "added", "reg_weight": 3.0, "content_reg_weight": 2.0}
    modality_counts = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def content(run) -> np.ndarray:
    """Features as further rows, ``[total width, n]``: centred columns, items of length 1."""
    rows = []
    for name in run.model.modalities:
        feature = run.dataset.modality_feature(name)[1:].double().numpy()
        feature = feature - feature.mean(axis=0)
        rows.append((feature / np.linalg.norm(feature, axis=1, keepdims=True)).T)
    return np.concatenate(rows)


def column_by_column(rows: np.ndarray, ridge: float) -> np.ndarray:
    """Each item regressed on all others, by an augmented least-squares problem."""
    n = rows.shape[1]
    weights = np.zeros((n, n))
    for item in range(n):
        others = np.delete(np.arange(n), item)
        augmented = np.concatenate([rows[:, others], np.sqrt(ridge) * np.eye(n - 1)])
        target = np.concatenate([rows[:, item], np.zeros(n - 1)])
        weights[others, item] = np.linalg.lstsq(augmented, target, rcond=None)[0]
    return weights


@pytest.mark.parametrize("modalities", [["visual"], ["visual", "textual", "acoustic"]])
def test_stacked_is_ridge_regression_of_each_item_on_the_others(example, modalities):
    run = start_example("ContentEASE", example, modalities=modalities, **CONTENT)
    rows = np.concatenate([interactions(run)[:, 1:].numpy(), np.sqrt(2.5) * content(run)])
    np.testing.assert_allclose(run.model.solution().weights, column_by_column(rows, 0.7), atol=1e-12)


def test_added_is_the_sum_of_two_regressions(example):
    run = start_example("ContentEASE", example, combination="added", **CONTENT)
    by_behaviour = column_by_column(interactions(run)[:, 1:].numpy(), 0.7)
    by_content = column_by_column(content(run), 0.4)
    expected = 0.3 * by_behaviour + 0.7 * by_content
    np.testing.assert_allclose(run.model.solution().weights, expected, atol=1e-12)


@pytest.mark.parametrize(
    "settings", [{"modalities": []}, {"content_weight": 0.0}, {"combination": "added", "modalities": []}]
)
def test_without_content_it_is_recboles_ease(example, settings):
    run = start_example("ContentEASE", example, **{"reg_weight": 5.0, **settings})
    ease = start("EASE", example, **PRE_SPLIT, reg_weight=5.0)
    users = {"user_id": torch.arange(1, 13)}
    expected = ease.model.full_sort_predict({"user_id": users["user_id"]}).view(12, 10)
    found = run.model.full_sort_predict(users).view(12, 10)
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-5)  # RecBole inverts in float32


def test_a_cold_item_is_scored_by_content_alone(example):
    """Item i8 has no training row."""
    for settings, is_scored in (({}, True), ({"combination": "added"}, True), ({"content_weight": 0.0}, False)):
        run = start_example("ContentEASE", example, **settings)
        column = run.model.solution().weights[:, run.dataset.token2id("item_id", "i8") - 1]
        assert bool(column.any()) == is_scored


def test_a_large_ridge_leaves_the_gram_matrix(example):
    run = start_example("ContentEASE", example, reg_weight=1e7, content_weight=2.5)
    rows = np.concatenate([interactions(run)[:, 1:].numpy(), np.sqrt(2.5) * content(run)])
    gram = rows.T @ rows
    np.fill_diagonal(gram, 0)
    np.testing.assert_allclose(run.model.solution().weights * 1e7, gram, atol=1e-5)


def test_the_scale_of_a_modality_changes_nothing():
    rng = np.random.default_rng(0)
    feature, present = rng.random((20, 4)), np.ones(20, bool)
    plain, other = UnitRows(feature, present), UnitRows(1000 * feature + 5, present)
    np.testing.assert_allclose(plain.cosines(0, 20), other.cosines(0, 20), atol=1e-12)


def test_an_item_without_features_is_pulled_by_nothing():
    rng = np.random.default_rng(0)
    feature, present = rng.random((20, 4)), np.arange(20) != 3
    part = UnitRows(feature, present)
    assert not part.cosines(0, 20)[3].any()
    assert not part.cosines(0, 20)[:, 3].any()
    np.testing.assert_allclose(part.all()[present], UnitRows(feature[present], np.ones(19, bool)).all(), atol=1e-15)


def test_the_inverse_is_in_the_memory_of_the_matrix(monkeypatch):
    monkeypatch.setattr("recbole_mm.nn.content_similarity.BLOCK_ROWS", 7)
    rng = np.random.default_rng(0)
    history = sp.csr_matrix((rng.random((40, 30)) < 0.2).astype(float))
    parts = [UnitRows(rng.standard_normal((30, 5)), np.ones(30, bool))]
    gram = gram_matrix(history, parts, 3.0, 0.5)
    cosines = parts[0].all() @ parts[0].all().T
    full = (history.T @ history).toarray() + 3.0 * cosines + 0.5 * np.eye(30)
    np.testing.assert_allclose(np.triu(gram), np.triu(full), atol=1e-12)
    inverse = invert(gram)
    assert np.shares_memory(gram, inverse)
    np.testing.assert_allclose(inverse, np.linalg.inv(full), atol=1e-10)


@pytest.mark.parametrize("lacking", [1, 2, 9])
def test_a_matrix_without_an_inverse_is_told_in_whatever_block(monkeypatch, lacking):
    monkeypatch.setattr("recbole_mm.nn.content_similarity.BLOCK_ROWS", 7)
    rows = np.random.default_rng(0).standard_normal((30, 30 - lacking))
    with pytest.raises(SingularMatrix):
        invert(rows @ rows.T)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"reg_weight": 0.0, "content_weight": 0.0}, "reg_weight: 0 leaves ContentEASE a matrix .*, such as 30$"),
        ({"reg_weight": 1e-20, "content_weight": 0.0}, "reg_weight: 1e-20 leaves ContentEASE a matrix without an"),
        ({"reg_weight": -1.0}, "reg_weight: -1.0 is not allowed"),
        ({"combination": "added", "content_reg_weight": 0.0}, "content_reg_weight: 0.0 is not allowed"),
        ({"content_weight": 1e308}, "content_weight: 1e\\+308 with reg_weight: 100 gives ContentEASE a matrix beyond"),
        ({"behaviour_share": 1.5}, "behaviour_share: 1.5 is not allowed"),
        ({"combination": "mixed"}, "combination: 'mixed' is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        start_example("ContentEASE", example, **settings).model.solution()
    assert "\n" not in str(error.value)


def test_content_that_drowns_the_regularisation_is_named(tmp_path):
    """Rows of 10 numbers for 30 items, weighted until the rest is lost in rounding."""
    folder = write_planted(tmp_path, {"visual": 6, "textual": 4})
    with pytest.raises(ValueError, match=r"beside content_weight: 1e\+300 leaves .*, such as content_weight: 100$"):
        start("ContentEASE", folder, **PRE_SPLIT, content_weight=1e300).model.solution()
