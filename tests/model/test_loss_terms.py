"""``loss_<name>``: the weighted terms of a loss, as a training epoch's log, TensorBoard and curves have them."""

from __future__ import annotations

import pytest

from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.registry import MODELS
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

REGULARISED = {"ranking", "regularisation"}
BOOTSTRAP = {"user_bootstrap", "item_bootstrap"}
OF_MODALITIES = {"modality_visual", "modality_textual"}
TERMS = {
    "BM3": {*BOOTSTRAP, *OF_MODALITIES, "regularisation"},
    "BUIR": BOOTSTRAP,
    "DAMRS": {"ranking", "preference", "relation"},
    "DGMRec": {
        *REGULARISED, "id_regularisation", "reconstruction", "shared_information", "between_modalities",
        "users_with_items", "alignment", "generation",
    },
    "DiffMM": {*REGULARISED, "contrast"},
    "FREEDOM": {"ranking", *OF_MODALITIES},
    "GUME": {*REGULARISED, "extended_regularisation", "alignment", "contrast", "user_contrast"},
    "LGMRec": {*REGULARISED, "contrast"},
    "MENTOR": {*REGULARISED, "weak_modality", "alignment", "masking", "contrast"},
    "MGCN": {*REGULARISED, "contrast"},
    "MICRO": {*REGULARISED, "contrast"},
    "MMSSL": {*REGULARISED, "feature_regularisation", "contrast", "adversarial"},
    "PGL": {"ranking", "weak_modality", "contrast"},
    "SLMRec": {"ranking", "contrast"},
    "SMORE": {*REGULARISED, "contrast"},
    "SiBraR": {"ranking", "contrast"},
    "SiBraRTable": {"ranking", "contrast"},
}  # fmt: skip
AROUND_A_BACKBONE = ("MARGO", "PTMRec")


def trained_models():
    """Names of our models that have a loss of their own."""
    kinds = {name: MODELS.get(name) for name in MODELS if MODELS.get(name).__module__.startswith("recbole_mm.")}
    return [name for name, kind in kinds.items() if not issubclass(kind, ClosedFormRecommender)]


def weights_of(name):
    """Every weight of a model's loss, none of them 0 or too small to be seen in a sum."""
    defaults = MODELS.get(name).settings_class.default_values()
    return {key: 0.5 for key, value in defaults.items() if key.endswith("_weight") and value is not None}


def terms_of(model):
    return {key: value for key, value in model.records().items() if key.startswith("loss_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("terms"), {"visual": 6, "textual": 4})


@pytest.mark.parametrize("name", [name for name in trained_models() if name not in AROUND_A_BACKBONE])
def test_they_sum_to_the_loss(folder, name):
    run = start(name, folder, **PRE_SPLIT, **weights_of(name), modalities=["visual", "textual"])
    model = run.model.train()
    model.start_epoch(0)
    loss = model.calculate_loss(run.batch()).item()
    terms = terms_of(model)
    late = {"weak_modality"} if "weak_weight" in weights_of(name) else set()
    assert set(terms) == {f"loss_{term}" for term in TERMS.get(name, REGULARISED | late)}
    assert sum(terms.values()) == pytest.approx(loss, rel=1e-5)


def test_an_epochs_means_are_kept_and_logged(folder, caplog):
    run = start("MGCN", folder, **PRE_SPLIT, epochs=1, state="INFO")
    trainer = run.trainer()
    with caplog.at_level("INFO"):
        trainer.fit(run.train_data, run.valid_data, show_progress=False)
    (line,) = [text for text in caplog.messages if " terms" in text]
    assert all(f"loss_{term}: {trainer.records[f'loss_{term}']:.4g}" in line for term in TERMS["MGCN"])
    assert not any(" means" in text for text in caplog.messages)


@pytest.mark.parametrize("stage", ["one", "two"])
@pytest.mark.parametrize(
    ("backbone", "terms"), [("MENTOR", {"regularisation", "alignment"}), ("VBPR", {"regularisation"})]
)
def test_margo_over_another_model(folder, backbone, terms, stage):
    """Its ranking stands beside the backbone's terms, without which one of these would seem to be above all."""
    run = start("MARGO", folder, **PRE_SPLIT, backbone=backbone, item_weights=stage == "two", reg_weight=0.5)
    model = run.model.train()
    model.enter_stage(stage)
    model.start_epoch(0)
    loss = model.calculate_loss(run.batch()).item()
    found = terms_of(model)
    expected = terms | {"ranking"} | ({"calibration"} if stage == "two" else set())
    assert {f"loss_{term}" for term in expected} <= set(found)
    assert sum(found.values()) == pytest.approx(loss, rel=1e-5)
