"""The most layers and the greatest widths that an encoder's settings may name.

A library builds the model that they name before it looks at the weights, and is at it for hours where it has ten
million layers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

# by the end of a key, of transformers', timm's and sentence-transformers' settings; the first that fits holds
_MOST = (
    (re.compile(r"(layers?|blocks?|depths?|stages?|heads|experts|groups)$"), 1000),
    (re.compile(r"vocab_size$"), 1 << 21),
    (re.compile(r"(image_size|img_size|input_size|patch_size)$"), 4096),
    (re.compile(r"chunk_size$"), math.inf),  # of samples of sound
    (re.compile(r"(size|sizes|dims?|width|widths|features|channels|dimension|embd|inner|^d_[a-z]+)$"), 1 << 16),
    (re.compile(r"(positions?|position_embeddings)$"), 1 << 24),
)
_WORDS = ("types", "label2id")  # whose keys are classes' names, and words of a classifier's
_AT_LEAST_ONE = (
    *("patch_size", "image_size", "num_attention_heads", "hidden_size"),
    *("vocab_size", "num_mel_bins", "patch_stride", "spec_size"),
)
_EPSILON = re.compile(r"(^|_)eps(ilon)?$")
_LEAST_CROP = 0.1  # timm's crop_pct: pictures are brought to the size over it


def check_limits(settings: Any) -> None:
    """Raise ValueError for a number in an encoder's `config.json` that makes its model or its pictures enormous.

    Or its features NaN.
    """
    for key, number in leaves(settings):
        if not isinstance(number, int | float) or isinstance(number, bool):
            continue
        if math.isnan(number):
            raise ValueError(f"{key} is NaN, which is no number")
        if _EPSILON.search(key) and not 0 <= number <= 1:
            raise ValueError(f"{key} is {number}, and what keeps a division from 0 is from 0 to 1")
        most = next((most for pattern, most in _MOST if pattern.search(key)), math.inf)
        if number > most:
            raise ValueError(f"{key} is {number}, and the most is {most}")
        if number < 0 and most == _MOST[0][1]:
            raise ValueError(f"{key} is {number}, and the least is 0")
        if key in _AT_LEAST_ONE and number < 1:
            raise ValueError(f"{key} is {number}, and the least is 1")
        if key == "crop_pct" and number < _LEAST_CROP:
            raise ValueError(f"{key} is {number}, and the least is {_LEAST_CROP}")


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All plain values with the key that they stand under, those of a list under the list's, of words under theirs."""
    if isinstance(value, list):
        for part in value:
            yield from leaves(part, key)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, key if key in _WORDS else name)
    else:
        yield key, value
