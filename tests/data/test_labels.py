"""Labels that nothing reads, or that are written over, are told of before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from recbole.config import Config
from recbole.data import create_dataset

import recbole_mm  # noqa: F401  mends RecBole

ROWS = [(user, item, 1 + (user + item) % 5) for user in range(4) for item in range(5)]  # as many of each rating


def load(folder: Path, model: str, **settings):
    (folder / "shop").mkdir(parents=True)
    rows = (f"u{user}\ti{item}\t{value}\n" for user, item, value in ROWS)
    (folder / "shop" / "shop.inter").write_text("user_id:token\titem_id:token\trating:float\n" + "".join(rows))
    config = Config(model, "shop", config_dict={
        "data_path": str(folder), "gpu_id": "", "load_col": {"inter": ["user_id", "item_id", "rating"]},
        "metrics": ["Recall"], "topk": [2], "valid_metric": "Recall@2", **settings,
    })  # fmt: skip
    return create_dataset(config)


@pytest.mark.parametrize("model", ["BPR", "VBPR"])
@pytest.mark.parametrize("settings, words", [
    ({"threshold": {"rating": 3}}, "threshold: {rating: 3}"), ({"LABEL_FIELD": "rating"}, "LABEL_FIELD: rating"),
])  # fmt: skip
def test_labels_that_nothing_reads(tmp_path, caplog, model, settings, words):
    """A rating of 1 is a positive interaction to models and metrics of rankings."""
    load(tmp_path, model, **settings)
    below, least = (8, 3) if "threshold" in settings else (0, 1)
    lines = [record.message for record in caplog.records if "count as positive" in record.message]
    expected = (
        f"{words} is read neither by {model} nor by its metrics: the {below} of 20 interactions whose rating is below "
        f"{least} count as positive ones; leave them out with val_interval: {{rating: '[{least},inf)'}}"
    )
    assert lines == ([expected] if below else [])


def test_the_interval_that_the_message_names_leaves_them_out(tmp_path, caplog):
    dataset = load(tmp_path, "BPR", threshold={"rating": 3}, val_interval={"rating": "[3,inf)"})
    assert len(dataset.inter_feat) == 12
    assert "count as positive" not in caplog.text


VALUES = {"metrics": ["AUC"], "valid_metric": "AUC", "threshold": {"rating": 3}, "train_neg_sample_args": None}


@pytest.mark.parametrize("mode", ["uni5", {"valid": "labeled", "test": "pop5"}])
def test_values_of_drawn_items_are_refused_where_there_are_labels(tmp_path, mode):
    with pytest.raises(ValueError, match="^eval_args: mode: (uni|pop)5 measures AUC with every .* set mode: labeled$"):
        load(tmp_path, "FM", **VALUES, eval_args={"mode": mode})


def test_labels_that_are_read_are_not_told_of(tmp_path, caplog):
    dataset = load(tmp_path, "FM", **VALUES, eval_args={"mode": "labeled"})
    assert dataset.inter_feat["label"].sum() == 12
    assert "count as positive" not in caplog.text
