"""An encoder is tried when it loads: parts that do not fit each other fail here, and not in the middle of a job."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_mm.encoder.safety import EncoderError
from recbole_mm.io.errors import one_line


def try_encoder(encode: Callable[[], Tensor], exhausts: str, misfit: str, files: str, not_finite: str) -> None:
    """Raise EncoderError where an encoder cannot read a content, or makes of it what is no feature.

    Args:
        encode: gives the features of the content.
        exhausts: what is said, before the memory, where there is not enough of it.
        misfit: what does not fit, where encoding fails.
        files: that are to be taken from one model then.
        not_finite: what is said of features that are NaN or infinite.
    """
    try:
        with torch.no_grad():
            is_finite = bool(encode().isfinite().all())
    except MemoryError as error:
        raise EncoderError(f"{exhausts} the memory ({error}); replace its files") from error
    except Exception as error:  # of whatever kind the model has for it
        raise EncoderError(f"{misfit} ({one_line(error)[:200]}); take {files} from one model") from error
    if not is_finite:
        raise EncoderError(not_finite)
