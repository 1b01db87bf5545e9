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


def content_digests(runs: Iterable[tuple[Config, Mapping[str, Any]]]) -> dict[str, str]:
    """A digest of each thing that runs read, by what it is; what many of them read alike is read once.

    Args:
        runs: of each its Config, and the settings of it that are others.

    Raises OSError or ValueError where something is not there.
    """
    different: dict[str, tuple[Any, dict[str, Any]]] = {}
    for config, own in runs:
        keys = content_keys(config)
        if keys:
            settings = {**all_settings(config), **{key: own[key] for key in keys if key in own}}
            which = repr((config.model, *(settings.get(key) for key in ("data_path", "dataset", *keys))))
            different.setdefault(which, (config.model_class, settings))
    found: dict[str, str] = {}
    for model, settings in different.values():
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
