"""What RecBole's own keys can be: the types of :mod:`recbole_mm.host.recbole_settings`."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from recbole_mm.settings import Count, CountOrZero, Positive, Real, Settings, check_different

_NUMBER = r"[-+]?(?:inf|\d{1,300}(?:\.\d*)?(?:[eE][-+]?\d+)?)"  # more digits than a float has
_INTERVAL = rf"[\[(]\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[\])]"
_INTERVALS = re.compile(rf"{_INTERVAL}(?:\s*;\s*{_INTERVAL})*")
_DEVICES = re.compile(r"(?:\d+(?:,\s*\d+)*)?")
_MODE = re.compile(r"full|labeled|(?:uni|pop)[1-9]\d*")


def _intervals(text: str) -> str:
    if not _INTERVALS.fullmatch(text.strip()):
        raise ValueError("write intervals such as [5,inf) or (0,3];[7,9)")
    for interval in text.split(";"):
        bounds = [bound.strip() for bound in interval.strip()[1:-1].split(",")]
        low, high = (int(bound) if bound.isdigit() else float(bound) for bound in bounds)
        if low > high or (low == high and not (interval.strip()[0] == "[" and interval.strip()[-1] == "]")):
            raise ValueError(f"{interval.strip()} holds no number")
    return text


def _closed_interval(value: Any) -> Any:
    """``[1,20]``, which a command line and YAML read as a list."""
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    return f"[{value[0]},{value[1]}]" if is_pair and _are_numbers(value) else value


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _evaluation_mode(mode: str) -> str:
    if not _MODE.fullmatch(mode):
        raise ValueError("the modes are full, labeled, uni100 and pop100, with any number")
    return mode


_OF_NO_FILES = {"idna", "punycode", "unicode_escape", "raw_unicode_escape"}  # encodings of texts to Python all the same


def codec(name: str) -> str:
    try:
        is_ascii = b"\t\n:a".decode(name) == "\t\n:a"  # which takes encodings of texts alone
    except (LookupError, UnicodeError) as error:
        raise ValueError("no encoding of texts; utf-8 is one") from error
    if codecs.lookup(name).name.replace("-", "_") in _OF_NO_FILES:
        raise ValueError("no encoding of files; utf-8 is one")
    if not is_ascii:
        raise ValueError("in it files have no lines and tabs as in ASCII; save them as UTF-8")
    return name


def devices(text: str) -> str:
    if not _DEVICES.fullmatch(text):
        raise ValueError("write numbers of GPUs, such as 0 or 0,1, or nothing")
    return text


def different(values: list[Any]) -> list[Any]:
    """Each value once; names whatever their case."""
    return check_different(values, [value.lower() if isinstance(value, str) else value for value in values])


def one_column(thresholds: dict[str, float]) -> dict[str, float]:
    if len(thresholds) != 1:
        raise ValueError("labels are made of one column")
    return thresholds


def three_splits(names: list[str]) -> list[str]:
    if len(names) != 3:
        raise ValueError("it names the files of training, validation and test, in this order")
    return different(names)


def no_sparse_adam(learner: str) -> str:
    if learner == "sparse_adam":
        raise ValueError("sparse_adam takes sparse gradients alone, and no model here has them")
    return learner


def _split(split: dict[str, Any]) -> dict[str, Any]:
    kind, argument = next(iter(split.items())) if len(split) == 1 else (None, None)
    if kind == "LS" and argument in ("valid_and_test", "valid_only", "test_only"):
        return split
    if kind in ("RS", "TS") and isinstance(argument, (list, tuple)) and len(argument) == 3 and _are_shares(argument):
        return split
    raise ValueError("write {'RS': [0.8, 0.1, 0.1]} (or TS) or {'LS': 'valid_and_test'} (or valid_only, test_only)")


def _are_shares(values: Sequence[Any]) -> bool:
    return _are_numbers(values) and all(0 <= value <= sys.float_info.max for value in values) and sum(values) > 0


def joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def none_word(value: Any) -> Any:
    return None if value in ("None", "none") else value


def no_sampling(value: Any) -> Any:
    """None for ``{distribution: none}`` and ``{sample_num: none}``, which RecBole takes for different things."""
    is_none = isinstance(value, dict) and any(
        key in value and none_word(value[key]) is None for key in ("distribution", "sample_num")
    )
    return None if is_none else none_word(value)


Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
Intervals = Annotated[str, BeforeValidator(_closed_interval), AfterValidator(_intervals)]
EvaluationMode = Annotated[str, AfterValidator(_evaluation_mode)]
Columns = dict[str, list[str] | Literal["*"]]
Text = Annotated[str, Field(min_length=1)]


class Strict(Settings):
    """A dict of settings, in which an unknown key is refused."""

    model_config = ConfigDict(extra="forbid")


_MOST_NEGATIVES = 10_000  # of one training row, which becomes as many rows: more run for days without a word


_Exponent = Annotated[Real, Field(ge=-10, le=10)]  # of a share of all interactions, whose power may end at 0


class NegativeSampling(Strict):
    """``train_neg_sample_args``."""

    distribution: Literal["uniform", "popularity"] = "uniform"
    sample_num: Annotated[Count, Field(le=_MOST_NEGATIVES)] = 1
    alpha: Annotated[_Exponent | None, BeforeValidator(none_word)] = 1.0
    dynamic: bool = False
    candidate_num: Annotated[CountOrZero, Field(le=_MOST_NEGATIVES)] = 0

    @model_validator(mode="after")
    def _has_candidates(self) -> NegativeSampling:
        if self.dynamic and not self.candidate_num:
            raise ValueError("dynamic: True chooses among candidates, and candidate_num is 0")
        return self


class GradientClipping(Strict):
    """``clip_grad_norm``: arguments of torch's function of that name."""

    max_norm: Positive
    norm_type: Positive = 2.0
    error_if_nonfinite: bool = False
    foreach: bool | None = None


class EvaluationModes(Strict):
    """The evaluation mode of each split."""

    valid: EvaluationMode | None = None
    test: EvaluationMode | None = None


class Evaluation(Strict):
    """``eval_args``."""

    split: Annotated[dict[str, Any], AfterValidator(_split)] = {"RS": [0.8, 0.1, 0.1]}
    group_by: Annotated[Literal["user"] | None, BeforeValidator(none_word)] = "user"
    order: Literal["RO", "TO"] = "RO"
    mode: EvaluationMode | EvaluationModes = "full"
