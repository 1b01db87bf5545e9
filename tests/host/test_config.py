"""RecBole's Config as we have it made."""

from __future__ import annotations

from recbole.config import Config

import recbole_mm  # noqa: F401  mends it


def test_what_one_config_does_to_its_settings_is_not_in_the_next():
    """Files of RecBole's own are parsed once for all; RecBole writes into lists and dictionaries that it read there."""
    first = Config("BPR", "toy")
    settings = first.internal_config_dict
    expected = {name: repr(settings[name]) for name in ("eval_args", "train_neg_sample_args", "metrics", "topk")}
    settings["eval_args"]["split"]["RS"].append(7)
    settings["train_neg_sample_args"]["sample_num"] = 7
    settings["metrics"].append("mine")
    settings["topk"].append(7)
    again = Config("BPR", "toy").internal_config_dict
    assert {name: repr(again[name]) for name in expected} == expected
