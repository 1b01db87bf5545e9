"""`.hyper` files that RecBole's own ``HyperTuning(params_file=...)`` reads, where it runs ``eval()`` on every list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole.trainer.hyper_tuning import HyperTuning

from recbole_mm.host.mend import patch_in_place


def apply(read: Callable[[Path], dict[str, dict[str, list[Any]]]]) -> None:
    """Have files read by `read`, which gives what ``HyperTuning(params_dict=...)`` takes and evaluates nothing."""

    def build(file: str) -> dict[str, Any]:
        return HyperTuning._build_space_from_dict(read(Path(file)))

    patch_in_place(HyperTuning._build_space_from_file, build)
