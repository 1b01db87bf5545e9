"""How often leaks, and content, are found: ``python benchmarks/sentinel.py --data FOLDER --dataset lfm2k``.

Each draw splits all interactions anew, in parts of the data's own sizes, and takes other items; features are made of
all interactions, of the training ones alone, of both with noise or beside content, and are the data set's own.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import harness
import numpy as np
from machine import versions
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from recbole_mm.experiment.leaks import (
    Floats,
    cooccurrence_views,
    find_leaks,
    noisy_factors,
    normalised_both_ways,
    unit_rows,
)
from recbole_mm.testing.toy import start


def als(interactions: csr_matrix, generator: np.random.Generator, width: int = 32, weight: float = 20.0) -> Floats:
    """Items' factors of implicit matrix factorisation by alternating least squares, six rounds."""
    items, users = (0.1 * generator.normal(size=(n, width)) for n in interactions.shape)
    for _ in range(6):
        users = _solved(interactions.T.tocsr(), items, weight)
        items = _solved(interactions, users, weight)
    return items


def _solved(rows: csr_matrix, others: Floats, weight: float) -> Floats:
    gram = others.T @ others + 10 * np.eye(others.shape[1])
    found = np.zeros((rows.shape[0], others.shape[1]))
    for number in range(len(found)):
        mine = others[rows.indices[rows.indptr[number] : rows.indptr[number + 1]]]
        found[number] = np.linalg.solve(gram + weight * mine.T @ mine, (1 + weight) * mine.sum(axis=0))
    return found


def made_of(interactions: csr_matrix, content: Floats, generator: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Features of items by how they are made of interactions."""
    for name, rows in cooccurrence_views(interactions).items():
        yield name, rows
        left, sizes, _ = svds(rows, k=64, random_state=generator)
        yield f"64 factors of {name}", left * sizes
        if name == "ppmi":
            yield "content beside factors of ppmi", np.hstack([unit_rows(content), unit_rows(left * sizes)])
    left, sizes, _ = svds(normalised_both_ways(interactions).astype(float), k=64, random_state=generator)
    yield "64 factors of the graph", left * sizes
    yield "factors with noise", noisy_factors(interactions, generator)
    yield "matrix factorisation", als(interactions, generator)


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data set's folder")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--draws", type=int, default=100, help="default: %(default)s")
    options = parser.parse_args()
    sys.argv[1:] = []
    run = start("VBPR", options.data, options.dataset, benchmark_filename=["train", "valid", "test"])
    pairs = [pairs_of(loader) for loader in (run.train_data, run.valid_data, run.test_data)]
    shape = run.dataset.item_num, run.dataset.user_num
    content = {name: run.dataset.modality_feature(name).numpy().astype(float) for name in run.dataset.modalities}
    every, n_train = np.concatenate(pairs), len(pairs[0])
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    excess: dict[str, list[float]] = defaultdict(list)
    for draw in range(options.draws):
        generator = np.random.default_rng(draw)
        order = generator.permutation(len(every))
        training, whole = (_matrix(every[rows], shape) for rows in (order[:n_train], order))
        first = next(iter(content.values()))
        features = {f"content: {name}": rows for name, rows in content.items()}
        features |= {f"all: {name}": rows for name, rows in made_of(whole, first, generator)}
        features |= {f"training: {name}": rows for name, rows in made_of(training, first, generator)}
        for name, leak in find_leaks(training, whole, features, seed=draw).items():
            verdicts[name][leak.verdict] += 1
            excess[name].append(leak.excess)
        print(f"draw {draw + 1} of {options.draws}", flush=True)
    words = ("found", "not found", "cannot tell")
    rows = [
        [name, *(str(counts[word]) for word in words), f"{np.median(excess[name]):+.3f}",
         f"{np.min(excess[name]):+.3f}", f"{np.max(excess[name]):+.3f}"]
        for name, counts in verdicts.items()
    ]  # fmt: skip
    table = harness.table(["features made of", *words, "median T", "least", "most"], rows)
    here = {key: value for key, value in versions().items() if key != "date"}
    path = harness.write_results(
        f"sentinel-{options.dataset}", f"# The leak sentinel on {options.dataset}", harness.versions_line(here),
        f"{options.draws} draws: interactions split anew, other items. T above .14 is found.", table,
    )  # fmt: skip
    print(f"{table}\n\n{path}")
    return 0


def pairs_of(loader: object) -> np.ndarray:
    """Items and users ``[n, 2]`` of a loader's interactions."""
    from recbole_mm.host.datasets import data_set

    dataset = data_set(loader)
    return np.stack([dataset.inter_feat[field].numpy() for field in (dataset.iid_field, dataset.uid_field)], axis=1)


def _matrix(pairs: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    found = csr_matrix((np.ones(len(pairs)), pairs.T), shape=shape)
    found.data[:] = 1
    return found


if __name__ == "__main__":
    sys.exit(main())
