"""What runs read beside their data set's files, pictures, texts and an encoder, as digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recbole.config import Config

from recbole_mm.host.config import all_settings


def content_keys(config: Config) -> tuple[str, ...]:
    """The settings that say what is read; none of a model that reads nothing more."""
    kind = getattr(config.model_class, "contents_class", None)
    return () if kind is None else kind.KEYS


def content_digests(config: Config, varied: Iterable[Mapping[str, Any]] = ({},)) -> dict[str, str]:
    """A digest of each thing that is read, by what it is.

    Args:
        config: that the runs have in common.
        varied: the settings of each that are its own.

    Raises OSError or ValueError where something is not there.
    """
    keys, model = content_keys(config), config.model_class
    own = [{key: values[key] for key in keys if key in values} for values in varied if keys]
    found: dict[str, str] = {}
    for values in {repr(values): values for values in own}.values():
        settings = {**all_settings(config), **values}
        found |= model.contents_class.digests(model.settings_class.of(settings), settings)
    return found


def check_same_contents(checkpoint: str, saved: list[str] | None, current: Mapping[str, str]) -> None:
    """Raise ValueError where a checkpoint was trained on other pictures, texts or another encoder than this run's.

    Args:
        checkpoint: for the message, such as ``checkpoint FILE``.
        saved: values of its :func:`content_digests`; None for one written before there were any, which passes.
        current: those of this run, which may lie elsewhere.
    """
    changed = [name for name, before in zip(current, saved or (), strict=False) if current[name] != before]
    if changed:
        raise ValueError(f"{checkpoint} was trained before {', '.join(changed)} changed; bring the files back")
