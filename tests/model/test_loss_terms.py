"""``loss_<name>``: the weighted terms of a loss, as a training epoch's log, TensorBoard and curves have them."""

from __future__ import annotations

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

REGULARISED = {"ranking", "regularisation"}
CASES = {
    "MENTOR": ({}, {*REGULARISED, "alignment", "masking", "contrast"}),
    "MMSSL": ({}, {*REGULARISED, "feature_regularisation", "contrast", "adversarial"}),
    "DAMRS": ({}, {"ranking", "preference", "relation"}),
    "DiffMM": ({}, {*REGULARISED, "contrast"}),
    "GUME": ({}, {*REGULARISED, "extended_regularisation", "alignment", "contrast", "user_contrast"}),
    "MGCN": ({}, {*REGULARISED, "contrast"}),
    "PGL": ({"contrast_weight": 0.1}, {"ranking", "contrast"}),
    "POWERec": ({"weak_weight": 0.5}, {*REGULARISED, "weak_modality"}),
    "COHESION": ({"weak_weight": 0.5}, {*REGULARISED, "weak_modality"}),
    "DGMRec": (
        {},
        {*REGULARISED, "id_regularisation", "reconstruction", "shared_information", "between_modalities",
         "users_with_items", "alignment", "generation"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("terms"), {"visual": 6, "textual": 4})


@pytest.mark.parametrize("name", CASES)
def test_they_sum_to_the_loss(folder, name):
    settings, expected = CASES[name]
    run = start(name, folder, **PRE_SPLIT, **settings)
    model = run.model.train()
    model.start_epoch(0)
    loss = model.calculate_loss(run.batch()).item()
    terms = {key: value for key, value in model.records().items() if key.startswith("loss_")}
    assert set(terms) == {f"loss_{term}" for term in expected}
    assert sum(terms.values()) == pytest.approx(loss, rel=1e-5)


def test_an_epochs_means_are_kept_and_logged(folder, caplog):
    run = start("DAMRS", folder, **PRE_SPLIT, epochs=1, state="INFO")
    trainer = run.trainer()
    with caplog.at_level("INFO"):
        trainer.fit(run.train_data, run.valid_data, show_progress=False)
    (line,) = [text for text in caplog.messages if " terms" in text]
    assert all(f"loss_{term}: {trainer.records[f'loss_{term}']:.4g}" in line for term in CASES["DAMRS"][1])
    assert not any(" means" in text for text in caplog.messages)


@pytest.mark.parametrize("stage", ["one", "two"])
def test_margo_over_a_model_that_has_some(folder, stage):
    """Its ranking stands beside the backbone's terms, without which one of these would seem to be above all."""
    run = start("MARGO", folder, **PRE_SPLIT, backbone="MENTOR", item_weights=stage == "two")
    model = run.model.train()
    model.enter_stage(stage)
    model.start_epoch(0)
    loss = model.calculate_loss(run.batch()).item()
    terms = {key: value for key, value in model.records().items() if key.startswith("loss_")}
    assert {"loss_ranking", "loss_alignment"} <= set(terms) and ("loss_calibration" in terms) == (stage == "two")
    assert sum(terms.values()) == pytest.approx(loss, rel=1e-5)
