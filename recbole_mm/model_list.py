"""``recbole-mm models``: what models there are, and the settings of one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_mm.registration import check_model
from recbole_mm.registry import MODELS, variants
from recbole_mm.run_settings import SHARED_PROTOCOL
from recbole_mm.setting_rules import allowed_of, model_settings, properties_dir, published_protocol
from recbole_mm.settings import Settings
from recbole_mm.settings_text import described_fields


def add_parser(commands: Any) -> None:
    """Add `models`, which sets `run`, a function from the parsed arguments to an exit code."""
    parser = commands.add_parser("models", help="list the models, or the settings of one with defaults and ranges")
    parser.add_argument("model", nargs="?", help="name of a model of ours, such as FREEDOM (default: list all)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    lines = _all_models() if arguments.model is None else _one_model(arguments.model)
    print("\n".join(lines))
    return 0


def _all_models() -> Iterator[str]:
    for name in MODELS:
        facts = MODELS.entry(name).facts
        yield f"{name} ({facts['year']}): {facts['paper']}"
        yield f"    modalities: {facts['modalities']}"
        yield f"    needs:      {facts['needs']}"
        if facts["backbones"]:
            yield f"    backbones:  {', '.join(facts['backbones'])}"
        if facts["variants"]:
            yield f"    variants:   {', '.join(facts['variants'])}"


def _one_model(name: str) -> Iterator[str]:
    check_model(name)
    own = model_settings(name)
    if not own:
        raise ValueError(f"{name} is RecBole's own model, whose settings are in its properties/model/{name}.yaml")
    base = variants().get(name, name)
    changed = MODELS.entry(base).facts["variants"].get(name, {})
    facts = MODELS.entry(base).facts
    yield f"{name} ({facts['year']}): {facts['paper']}"
    yield " ".join((own[-1].__doc__ or "").split())
    for kind in reversed(own):
        yield ""
        yield from _settings(base, kind, changed)
    yield ""
    training = {**own[-1].defaults, **SHARED_PROTOCOL}
    yield f"training: {', '.join(f'{key}: {value}' for key, value in training.items())}"
    stops_by = published_protocol(own[-1])
    published = {key: value for key, value in stops_by.items() if SHARED_PROTOCOL.get(key) != value}
    if published:
        yield f"published protocol: {', '.join(f'{key}: {value}' for key, value in published.items())}"
    yield from _grid(properties_dir() / "hyper" / f"{name}.hyper")


def _settings(name: str, kind: type[Settings], changed: dict[str, Any]) -> Iterator[str]:
    for key, field in described_fields(kind).items():
        default = changed.get(key, field.get_default(call_default_factory=True))
        yield f"{key}: {default}    {allowed_of(name, key, field)}"
        if field.description:
            yield f"    {' '.join(field.description.split())}"


def _grid(file: Path) -> Iterator[str]:
    if file.is_file():
        yield f"grid ({file.name}): {'; '.join(file.read_text(encoding='utf-8').split(chr(10))).rstrip('; ')}"
