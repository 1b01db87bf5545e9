"""The leak sentinel: what of all interactions is found, what of training ones and of content is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from recbole_mm.experiment.leaks import Leak, Views, cooccurrence_views, cosines, find_leaks, noisy_factors

N_ITEMS, N_USERS, WIDTH = 300, 500, 8


@pytest.fixture(scope="module", params=[0, 1])
def world(request) -> tuple[csr_matrix, csr_matrix, np.ndarray]:
    """Training and all interactions of users with tastes, and the items' content, which the tastes are of."""
    rng = np.random.default_rng(request.param)
    content = rng.normal(size=(N_ITEMS, WIDTH))
    appeal = content @ rng.normal(size=(WIDTH, N_USERS)) + 2 * rng.gumbel(size=(N_ITEMS, N_USERS))
    liked = np.argsort(-appeal, axis=0)[:30]
    dense = np.zeros((N_ITEMS, N_USERS))
    dense[liked, np.arange(N_USERS)] = 1
    training = dense * (rng.random(dense.shape) < 0.8)
    return csr_matrix(training), csr_matrix(dense), content


def made_of(interactions: csr_matrix, content: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    made = cooccurrence_views(interactions)
    left, sizes, _ = svds(made["cosine"], k=32, random_state=rng)
    return {**made, "factors": left * sizes, "noisy": noisy_factors(interactions, rng)}


def test_all_that_is_made_of_all_interactions_is_found(world):
    training, whole, content = world
    found = find_leaks(training, whole, made_of(whole, content))
    assert {name: leak.verdict for name, leak in found.items()} == dict.fromkeys(found, "found")


def test_nothing_that_is_made_of_training_alone_is(world):
    training, whole, content = world
    found = find_leaks(training, whole, made_of(training, content))
    assert {name: leak.verdict for name, leak in found.items()} == dict.fromkeys(found, "not found")
    assert all(leak.excess < 0 for leak in found.values())


def test_content_is_not_found_and_neither_is_noise(world):
    """Content with noise three times its size: what tastes are made of alone cannot be told from a leak."""
    training, whole, content = world
    rng = np.random.default_rng(3)
    features = {"content": content + 3 * rng.normal(size=content.shape), "noise": rng.normal(size=content.shape)}
    found = find_leaks(training, whole, features)
    assert {name: leak.verdict for name, leak in found.items()} == dict.fromkeys(found, "not found")


def test_partial_correlations_by_regression(world):
    """Of ranks: the correlation of what a regression on the third leaves of both."""
    training, whole, content = world
    views = Views(training, whole)
    ranks = views._ranks(cosines(content))
    before, after, _ = views._views[0]

    def left(values, third):
        return values - (values @ third) / (third @ third) * third

    x, y = left(ranks, before), left(after, before)
    views._views = views._views[:1]
    assert views.partials(content)[0] == pytest.approx(max(0, x @ y / np.sqrt((x @ x) * (y @ y))), abs=1e-9)


def test_too_few_items_and_data_that_show_nothing(world):
    training, whole, content = world
    few = np.full_like(content, np.nan)
    few[:50] = content[:50]
    assert find_leaks(training, whole, {"few": few})["few"].verdict == "cannot tell"
    same = find_leaks(whole, whole, made_of(whole, content))  # nothing is held out
    assert {leak.verdict for leak in same.values()} == {"cannot tell"}
    assert Leak(0.3, 0.1, 0.0, 500).verdict == "found" and Leak(0.1, 0.1, 0.3, 500).verdict == "not found"


def test_features_that_are_all_alike_say_nothing(world):
    training, whole, content = world
    leak = find_leaks(training, whole, {"constant": np.ones_like(content)})["constant"]
    assert (leak.of_all, leak.of_training) == (0, 0)
