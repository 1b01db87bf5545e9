"""What a search for a row varies, and which settings it tries."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from recbole_mm.experiment.plan import SearchPlan
from recbole_mm.experiment.rows import Row, check_grid, is_solved
from recbole_mm.io.yaml_files import parse_yaml
from recbole_mm.registration import recbole_properties_dir
from recbole_mm.search_space import SearchRange, check_searchable, find_hyper_file, read_hyper_file
from recbole_mm.setting_effects import acts
from recbole_mm.setting_rules import own_settings


def ranges_of(row: Row, search: SearchPlan) -> list[SearchRange]:
    """What a search for a row varies: its own grid, or that of its model's ``.hyper`` file without the keys it sets.

    Of that file also without those that the plan or the data set sets for all rows, and without keys that nothing of
    the row reads, such as the number of prompts where there are none.
    And the search's grid of every model that is trained, without the keys that these have. Of a model without settings,
    such as Pop, it varies nothing.

    Raises ValueError, with the place in the plan, where there is nothing, or a key or value is not the model's.
    """
    shared = _shared_ranges(row, search) if search.grid and _has_settings(row.model) else []
    own = _own_ranges(row, required=not shared)
    return own + [parameter for parameter in shared if parameter.name not in {other.name for other in own}]


def _shared_ranges(row: Row, search: SearchPlan) -> list[SearchRange]:
    place = f"{row.place.partition(': models')[0]}: search: grid"
    if is_solved(row.config()):
        return []
    check_searchable(search.grid, place)
    check_grid(row, search.grid, f"{place}: {row.model}")
    return [SearchRange(key, "choice", tuple(values)) for key, values in search.grid.items() if key not in row.own]


def _own_ranges(row: Row, required: bool) -> list[SearchRange]:
    """The row's or its model's; where there is nothing an error if it is required."""
    if row.grid:
        check_searchable(row.grid, row.place)
        return [SearchRange(name, "choice", tuple(values)) for name, values in row.grid.items()]
    if not _has_settings(row.model):
        return []
    try:
        ranges = read_hyper_file(find_hyper_file(row.model))
    except FileNotFoundError as error:
        if not required:
            return []
        raise ValueError(
            f"{row.place}: nothing to search, as there is no {row.model}.hyper; give a key a list of values, such as "
            f"learning_rate: [0.001, 0.0005]"
        ) from error
    config, fixed = row.config(), {*row.own, *row.places}
    fixed |= {kind.aliases[key] for kind in own_settings(config) for key in fixed.intersection(kind.aliases)}
    left = [parameter for parameter in ranges if parameter.name not in fixed]
    grid = {parameter.name: parameter.examples for parameter in left}
    # a budget is for what can change a run
    left = [parameter for parameter in left if acts(config, parameter.name, grid)]
    if required and not left:
        raise ValueError(f"{row.place}: nothing to search: all keys of {row.model}.hyper are set or change nothing")
    return left


def _has_settings(model: str) -> bool:
    """False of one of RecBole's whose yaml is empty."""
    file = recbole_properties_dir() / "model" / f"{model}.yaml"
    return not file.is_file() or bool(parse_yaml(file.read_text(encoding="utf-8")))


def settings_to_try(ranges: list[SearchRange], budget: int, seed: int) -> list[dict[str, Any]]:
    """At most `budget` settings, all different: every combination where there are no more, else a random sample.

    Args:
        ranges: of the keys to vary.
        budget: most settings.
        seed: of the sample.
    """
    generator = np.random.default_rng(seed)
    names = [parameter.name for parameter in ranges]
    if all(parameter.kind == "choice" for parameter in ranges):
        sizes = [len(parameter.values) for parameter in ranges]
        combinations = math.prod(sizes)
        chosen = range(combinations) if combinations <= budget else _sample(generator, combinations, budget)
        return [
            {
                parameter.name: parameter.values[position]
                for parameter, position in zip(ranges, _positions(number, sizes), strict=True)
            }
            for number in chosen
        ]
    drawn = ([_draw(generator, parameter) for parameter in ranges] for _ in itertools.repeat(None, budget))
    return [dict(zip(names, values, strict=True)) for values in drawn]


def _sample(generator: np.random.Generator, combinations: int, budget: int) -> list[int]:
    if combinations < 2**31:
        return sorted(generator.choice(combinations, size=budget, replace=False).tolist())
    return sorted({int(generator.integers(combinations)) for _ in range(budget)})


def _positions(number: int, sizes: list[int]) -> list[int]:
    positions = []
    for size in reversed(sizes):
        number, position = divmod(number, size)
        positions.append(position)
    return positions[::-1]


def _draw(generator: np.random.Generator, searched: SearchRange) -> Any:
    if searched.kind == "choice":
        return searched.values[int(generator.integers(len(searched.values)))]
    low, high, *step = searched.values
    if step:
        return round(float(generator.uniform(low, high)) / step[0]) * step[0]
    value = float(generator.uniform(low, high))
    return math.exp(value) if searched.kind == "loguniform" else value
