"""What is wrong with a plan, in one line: the place in it, the value, and what may stand there."""

from __future__ import annotations

from functools import cache

from pydantic import ValidationError

from recbole_mm.experiment.plan_terms import AUDITS, MOST_SEEDS
from recbole_mm.io.names import closest
from recbole_mm.settings import Settings, declared_keys
from recbole_mm.settings_text import UNLIMITED, shown

_SEARCH = {
    "budget": f"a whole number of at least 1 and at most {UNLIMITED}",
    "method": "asha or random",
    "metric": "a metric that is measured, such as NDCG@20",
    "grid": "keys with lists of values, such as {learning_rate: [0.001, 0.0005]}",
}
_FORMS = {
    "data": "names of data sets, such as [lfm2k, {tiktok: {data_path: DIR}}]",
    "models": "names of models, each with settings or without, such as [LightGCN, {FREEDOM: {knn_k: 5}}]",
    "seeds": f"how many, from 1 to {MOST_SEEDS}, or a list of whole numbers of at least 0 and below 4294967296",
    "search": "none, or what is searched, such as {budget: 12, method: asha, metric: NDCG@20}",
    "sweep": "rows or models, each with one key or two and lists of values, such as {POWERec: {prompt_num: [1, 2]}}, "
    "or a list of such studies",
    "settings": "settings of all runs, such as {epochs: 100}",
    "audit": f"a list of {', '.join(AUDITS)}",
    "metrics": "a list of metrics, such as [Recall, NDCG]",
    "topk": "a list of whole numbers of at least 1, such as [10, 20]",
    "compare_with": "a list of labels of rows, such as [LightGCN]",
}
_OF_ENTRIES = ("name", "settings")  # which pydantic's places have beside what the file has


def unknown_key(key: str) -> str:
    """The line about a key that no plan has."""
    if key in _SEARCH:
        return f"unknown key '{key}'; it belongs under search (search: {{{key}: ...}})"
    if key in _settings() and not closest(key, _FORMS, 0.8):
        return f"unknown key '{key}'; it is a setting, and stands under settings (settings: {{{key}: ...}})"
    return f"unknown key '{key}'{closest(key, _FORMS)}; a plan has {', '.join(_FORMS)}"


def first_error(error: ValidationError) -> str:
    """The line about the first thing in a plan that cannot be."""
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    location = [part for place, part in enumerate(first["loc"]) if place == 0 or part not in _OF_ENTRIES]
    if not location:
        return reason
    key = str(location[0])
    if location[-1] == "[key]":
        *location, name, _ = location
        return f"{_place(location)}: {shown(name)} is no name of a setting; write 'name: value'"
    if first["type"] == "missing":
        return f"{key} is missing; give {_FORMS[key]}"
    if first["type"] == "extra_forbidden":
        return f"{key}: {_unknown_in_search(str(location[-1]))}"
    form = _SEARCH[str(location[1])] if key == "search" and len(location) > 1 else _FORMS[key]
    why = f" ({reason})" if first["type"] == "value_error" else ""
    value = "nothing" if first["input"] is None else shown(first["input"])
    return f"{_place(location)}: {value} is not allowed{why}; give {form}"


def _place(location: list[str | int]) -> str:
    return ": ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in location)


def _unknown_in_search(key: str) -> str:
    if key in _FORMS:
        return f"unknown key '{key}'; it stands at the plan's own level, beside search ({key}: ...)"
    if key in _settings():
        return f"unknown key '{key}'; it is a setting, and stands under settings (settings: {{{key}: ...}})"
    return f"unknown key '{key}'{closest(key, _SEARCH)}; there are {', '.join(_SEARCH)}"


@cache
def _settings() -> set[str]:
    """Every key that some run may have."""
    from recbole_mm.host.recbole_settings import RecBoleSettings
    from recbole_mm.registry import MODELS
    from recbole_mm.setting_rules import common_settings, model_settings

    of_models = (kind for name in MODELS for kind in model_settings(name))
    kinds: list[type[Settings]] = [RecBoleSettings, *common_settings(), *of_models]
    return declared_keys(kinds)
