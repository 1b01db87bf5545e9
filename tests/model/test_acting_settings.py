"""Every declared condition of a setting is true: where it is not met the setting changes no score, where it is it does.

PTMRec, whose runs need an encoder, is left out; the lines about its keys are in tests/test_setting_effects.py.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from recbole_mm.registry import MODELS, PROPAGATIONS
from recbole_mm.setting_conditions import ActsWhere, conditions
from recbole_mm.settings import Settings
from recbole_mm.testing.model_runs import SMALL, few_neighbours
from recbole_mm.testing.toy import start, write_planted

OURS = {name: MODELS.entry(name).target.settings_class for name in MODELS
        if MODELS.entry(name).target.__module__.startswith("recbole_mm.") and name != "PTMRec"}  # fmt: skip
DECLARED = [(model, key) for model, kind in OURS.items() for key in kind.model_fields if conditions(kind, key)]
OTHER: dict[str, Any] = {  # than the default, where that does not say what else there is
    "modality_weights": [0.2, 0.8], "central_modality": "visual", "user_hidden_widths": [4], "keep_self": True,
    "preference_scale": 3.0, "user_norm_every": 1,
    "knn_k": 5, "relation_size": 4, "svd_rank": 16, "svd_threshold": 0.027, "k": 4, "svd_cut": 1.0,
    "club_items": 7, "gradient_penalty": 30.0, "gumbel_weight": 1.0, "gumbel_temperature": 1e-5, "real_weight": 1.0,
    "edge_dropout_mode": "uniform",
}  # fmt: skip
SIZES = {"DAMRS": {"relation_size": 5}, "PGL": {"svd_rank": 8}, "DiffMM": {"denoiser_width": 16}}
NEEDED = {  # beside the conditions, for a setting to act on these small data
    ("DGMRec", "third_within"): {"modalities": ["visual", "textual", "acoustic"]},
    ("MARGO", "two_stage"): {"stage_one_epochs": 2},
    **dict.fromkeys(
        [("MMSSL", key) for key in ("gradient_penalty", "gumbel_weight", "gumbel_temperature", "real_weight")],
        {"adversarial_weight": 1000.0, "critic_learning_rate": 0.1, "gumbel_weight": 0.1},
    ),
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Scores by model and settings after an epoch, computed once."""
    folder = tmp_path_factory.mktemp("acting")
    data = write_planted(folder, {"visual": 12, "textual": 7, "acoustic": 5})

    @cache
    def compute(model: str, given: tuple[tuple[str, str], ...]) -> torch.Tensor:
        return _scores(model, data, folder, {key: eval(value) for key, value in given})

    return lambda model, settings: compute(model, tuple(sorted((key, repr(value)) for key, value in settings.items())))


def _scores(model: str, data: Path, folder: Path, settings: dict[str, Any]) -> torch.Tensor:
    stages = {"stage_one_epochs": 1, "stage_two_epochs": 1, "backbone": "VBPR"} if model == "MARGO" else {}
    common = {**SMALL, "epochs": 1, "modalities": ["visual", "textual"], "checkpoint_dir": str(folder / "saved")}
    run = start(model, data, **{**common, **stages, **few_neighbours(model), **SIZES.get(model, {}), **settings})
    run.trainer().fit(run.train_data, run.valid_data, saved=False)
    run.model.eval()
    with torch.no_grad():
        found = run.model.full_sort_predict({"user_id": torch.arange(1, run.dataset.user_num)})
    found = found.view(-1, run.dataset.item_num)[:, 1:]
    return found / found.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)  # a common factor changes no ranking


def _candidates(kind: type[Settings], key: str) -> list[Any]:
    """Values of a key that it takes, the default first."""
    return [value for value in _guesses(kind, key) if _takes(kind, key, value)]


def _takes(kind: type[Settings], key: str, value: Any) -> bool:
    try:
        kind.read({key: value})
    except ValueError:
        return False
    return True


def _guesses(kind: type[Settings], key: str) -> list[Any]:
    field = kind.model_fields[key]
    if key in OTHER:
        return [field.default, OTHER[key], 0.0]
    if key == "propagation":
        return list(PROPAGATIONS)
    if get_origin(field.annotation) is Literal:
        return [field.default, *get_args(field.annotation)]
    if field.annotation is bool:
        return [field.default, not field.default]
    default = field.default
    return [default, *((default + 1, 0, 1, 2) if field.annotation is int else (default / 2, 0.0, 0.5, 1.0, 3.0))]


def _meeting(kind: type[Settings], needs: list[ActsWhere], missed: ActsWhere | None) -> dict[str, Any]:
    """Settings that meet all conditions, or all but one."""
    return {
        need.key: next(value for value in _candidates(kind, need.key) if need.holds(value) == (need is not missed))
        for need in needs
    }


def _other(kind: type[Settings], key: str) -> Any:
    default = kind.model_fields[key].default
    return next(value for value in _candidates(kind, key) if value != default)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "key"), DECLARED)
def test_a_setting_acts_where_it_is_declared_to_and_nowhere_else(model, key, scores):
    kind = OURS[model]
    needs, other = conditions(kind, key), _other(kind, key)
    for missed in needs:
        settings = _meeting(kind, needs, missed)
        original, changed = scores(model, settings), scores(model, {**settings, key: other})
        assert torch.allclose(changed, original, rtol=1e-5, atol=1e-6), settings
    settings = {**_meeting(kind, needs, None), **NEEDED.get((model, key), {})}
    assert not torch.equal(scores(model, settings), scores(model, {**settings, key: other})), settings
