"""The keys of RecBole's own models, which nobody declares: a value is of its default's kind."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from recbole.config import Config

from recbole_mm.host.config import user_settings

_COUNTS = re.compile(r"k|.*_(size|dim|dimension|num|length)|num_.*|n_heads|n_factors?")  # at least one
_SHARES = re.compile(r".*dropout.*|drop_(rate|ratio|prob)")
_INFINITE = float("inf")
# More layers or steps of a loop run for days without a word; nothing else is that large on purpose.
_MOST = {r".*(layer|depth).*": 100, r".*iter.*|(sampling_)?steps?": 100_000, r".*": 10**9}


def check_undeclared(config: Config, declared: Container[str]) -> None:
    """Raise ValueError for a value that is not of the kind of RecBole's default for the key.

    Numbers are at least 0 where the default is, whole and within reason where it is, counts of things at least 1,
    dropout rates below 1; the members of a list are like those of the default.

    Args:
        config: of the run.
        declared: keys that are checked otherwise.
    """
    for key, value in user_settings(config).items():
        default = config.internal_config_dict.get(key)
        if key in declared or default is None:
            continue
        if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
            wrong = [member for member in value if default and not _fits(key, member, default[0])]
            wanted = f"a list, each {_wanted(key, default[0])}" if wrong else ""
        else:
            wanted = "" if _fits(key, value, default) else _wanted(key, default)
        if wanted:
            place = f"{config.setting_sources[key]}: " if key in config.setting_sources else ""
            raise ValueError(f"{place}{key}: {value!r} is not allowed for {config.model}; give {wanted} ({default!r})")


def _fits(key: str, value: Any, default: Any) -> bool:
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        return isinstance(value, (list, tuple) if isinstance(default, (list, tuple)) else type(default))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    is_whole = isinstance(value, int) or not isinstance(default, int)
    return (
        is_whole
        and _least(key, default) <= value
        and (value < 1 if _is_share(key, default) else value <= _most(key, default))
    )


def _least(key: str, default: float) -> float:
    if isinstance(default, int) and default >= 1 and _COUNTS.fullmatch(key):
        return 1
    return 0 if default >= 0 else -_INFINITE


def _is_share(key: str, default: float) -> bool:
    return _SHARES.fullmatch(key) is not None and 0 <= default < 1


def _most(key: str, default: float) -> float:
    if not isinstance(default, int):
        return _INFINITE
    return next(most for pattern, most in _MOST.items() if re.fullmatch(pattern, key))


def _wanted(key: str, default: Any) -> str:
    if isinstance(default, bool):
        return "True or False"
    if not isinstance(default, (int, float)):
        return "a list" if isinstance(default, (list, tuple)) else f"a {type(default).__name__}"
    least, most = _least(key, default), _most(key, default)
    kind = "a whole number" if isinstance(default, int) else "a number"
    bounds = [f"of at least {least}"] if least > -_INFINITE else []
    if _is_share(key, default):
        bounds.append("below 1")
    elif most < _INFINITE:
        bounds.append(f"at most {most}")
    return " ".join([kind, " and ".join(bounds)]).strip()
