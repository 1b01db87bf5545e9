"""What a search varies, in Ray Tune's terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.sample import Domain

from recbole_mm.search_space import number_of_settings, recbole_form
from recbole_mm.tuning.search import Search

SCORE = "best_valid_score"  # what trials report
_DISTRIBUTIONS: dict[str, Callable[..., Domain]] = {"uniform": tune.uniform, "quniform": tune.quniform}


class Space:
    """The ranges and the algorithm in Ray's terms: a parameter space, a number of samples, and who draws them."""

    def __init__(self, search: Search, algo: str, max_evals: int):
        self.samples = 1 if algo == "exhaustive" else max_evals
        self.searcher: Searcher | None = None
        self.parameters: dict[str, Any] = {}
        if algo == "bayes":
            self.searcher = _bayes(search)
            return
        if algo == "exhaustive":
            number_of_settings(search.ranges)
        for parameter in search.ranges:
            self.parameters[parameter.name] = _domain(parameter.kind, parameter.values, algo)


def _domain(kind: str, values: tuple[Any, ...], algo: str) -> Domain | dict[str, Iterable[Any]]:
    if kind == "choice":
        return tune.grid_search(list(values)) if algo == "exhaustive" else tune.choice(list(values))
    if kind == "loguniform":  # its bounds are logarithms in a .hyper file
        return tune.loguniform(math.exp(values[0]), math.exp(values[1]))
    return _DISTRIBUTIONS[kind](*values)


def _bayes(search: Search) -> Searcher:
    from ray.tune.search.hyperopt import HyperOptSearch
    from recbole.trainer import HyperTuning

    space = HyperTuning(None, params_dict=recbole_form(search.ranges), algo="random").space
    return HyperOptSearch(space, metric=SCORE, mode=mode(search), random_state_seed=search.config["seed"])


def mode(search: Search) -> str:
    """Whether a greater or a smaller score is better, as Ray says it."""
    return "max" if search.config["valid_metric_bigger"] else "min"
