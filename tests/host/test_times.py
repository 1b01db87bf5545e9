"""Times keep the values of their file: splits and sequences against an independent reading of it."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model

import recbole_mm  # noqa: F401  mends RecBole

# the first moment, and how far apart a user's interactions are
CLOCKS = {
    "seconds": (1_700_000_000, 7),
    "fractions of seconds": (1_700_000_000.25, 0.5),
    "milliseconds": (1_700_000_000_000, 900),
    "microseconds": (1_700_000_000_000_000, 3),
    "nanoseconds": (1_700_000_000_000_000_000, 1),
    "before 1970": (-1_700_000_000, 5),
    "dates as numbers": (20_261_101, 1),
}
Row = tuple[str, str, str, float]  # user, item, time as it is written, time


def written(folder: Path, clock: str, users: int = 12, items: int = 25, each: int = 9) -> list[Row]:
    """A data set whose interactions are in no order of time, no two of a user at one moment; gives its rows."""
    start, step = CLOCKS[clock]
    chance = random.Random(5)
    rows = []
    for user in range(users):
        for place, item in enumerate(chance.sample(range(items), each)):
            time = start + (user * each + place) * step
            rows.append((f"u{user}", f"i{item}", str(time), time))
    chance.shuffle(rows)
    place = folder / "clock"
    place.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(row[:3]) for row in rows)]
    (place / "clock.inter").write_text("\n".join(lines) + "\n")
    features = [f"i{item}\t{item} {item % 3}" for item in range(items)]
    (place / "clock.visual").write_text("\n".join(["item_id:token\tvisual_feature:float_seq", *features]) + "\n")
    return rows


def prepared(folder: Path, model: str, split: dict, order: str = "TO", **settings):
    evaluation = {"split": split, "order": order, "group_by": settings.pop("group_by", "user"), "mode": "full"}
    sampled = {"distribution": "uniform", "sample_num": 1}  # FM's own default is labelled rows
    sampling = {"train_neg_sample_args": None if model == "SASRec" else sampled}
    config = Config(model, "clock", config_dict={
        "data_path": str(folder), "gpu_id": "", "state": "ERROR", "topk": [5], "valid_metric": "Recall@5",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "eval_args": evaluation, "metrics": ["Recall"],
        **sampling, **settings,
    })  # fmt: skip
    dataset = create_dataset(config)
    return config, dataset, data_preparation(config, dataset)


def pairs(dataset, loader) -> list[tuple[str, str]]:
    found = loader._dataset.inter_feat
    users = dataset.id2token("user_id", found["user_id"])
    return list(zip(users, dataset.id2token("item_id", found["item_id"]), strict=True))


def by_user(rows: list[Row]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for user, item, _, _ in sorted(rows, key=lambda row: row[3]):
        found[user].append(item)
    return found


@pytest.mark.parametrize("model", ["BPR", "VBPR", "FM", "SASRec"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_the_last_one_by_the_file_is_left_out(tmp_path, model, clock):
    rows = written(tmp_path, clock)
    _, dataset, (_, valid, test) = prepared(tmp_path, model, {"LS": "valid_and_test"})
    assert dict(pairs(dataset, test)) == {user: items[-1] for user, items in by_user(rows).items()}
    assert dict(pairs(dataset, valid)) == {user: items[-2] for user, items in by_user(rows).items()}


@pytest.mark.parametrize("clock", CLOCKS)
def test_ratios_within_users_and_of_all_go_by_the_file(tmp_path, clock):
    rows = written(tmp_path, clock)
    _, dataset, (_, _, test) = prepared(tmp_path, "BPR", {"RS": [0.5, 0.25, 0.25]})
    latest = {(user, item) for user, items in by_user(rows).items() for item in items[-2:]}
    assert set(pairs(dataset, test)) == latest
    for group_by in (None, "none"):
        _, dataset, (_, _, test) = prepared(tmp_path, "VBPR", {"RS": [0.5, 0.25, 0.25]}, group_by=group_by)
        assert set(pairs(dataset, test)) == {row[:2] for row in sorted(rows, key=lambda row: row[3])[-27:]}


@pytest.mark.parametrize("order", ["TO", "RO"])
@pytest.mark.parametrize("clock", ["seconds", "nanoseconds", "dates as numbers"])
def test_one_moment_for_all_goes_by_the_file(tmp_path, clock, order):
    rows = written(tmp_path, clock)
    _, dataset, (_, valid, test) = prepared(tmp_path, "BPR", {"TS": [0.5, 0.25, 0.25]}, order)
    latest = sorted(rows, key=lambda row: row[3])[-27:]
    assert set(pairs(dataset, test)) == {row[:2] for row in latest}
    known = by_user([row for row in rows if row not in latest])
    assert set(pairs(dataset, valid)) == {
        (user, item) for user, items in known.items() for item in items[int(len(items) * 0.5 / 0.75) :]
    }


@pytest.mark.parametrize("ratios", [[0.6, 0.2, 0.2], [0.7, 0.1, 0.2]])
def test_the_share_of_training_is_not_rounded_down(tmp_path, ratios):
    """Of 8 interactions before the moment, six or seven are of training; RecBole's binary fractions give one fewer."""
    rows = written(tmp_path, "seconds", each=8)
    _, dataset, (train, valid, _) = prepared(tmp_path, "BPR", {"TS": ratios})
    first, of_training = by_user(rows)["u0"], round(10 * ratios[0])
    assert {item for user, item in pairs(dataset, train) if user == "u0"} == set(first[:of_training])
    assert {item for user, item in pairs(dataset, valid) if user == "u0"} == set(first[of_training:])


@pytest.mark.parametrize("clock", CLOCKS)
def test_sequences_are_in_the_order_of_the_file(tmp_path, clock):
    rows = written(tmp_path, clock)
    _, dataset, (_, _, test) = prepared(tmp_path, "SASRec", {"LS": "valid_and_test"})
    found = test._dataset.inter_feat
    for user, items, length in zip(found["user_id"], found["item_id_list"], found["item_length"], strict=True):
        name = dataset.id2token("user_id", user)
        assert list(dataset.id2token("item_id", items[:length])) == by_user(rows)[name][:-1]


@pytest.mark.parametrize("clock", CLOCKS)
def test_intervals_of_times_go_by_the_file(tmp_path, clock):
    rows = sorted(written(tmp_path, clock), key=lambda row: row[3])
    first, last = rows[30][2], rows[70][2]
    _, dataset, _ = prepared(tmp_path, "BPR", {"RS": [1, 0, 0]}, val_interval={"timestamp": f"[{first},{last})"})
    found = zip(
        dataset.id2token("user_id", dataset.inter_feat["user_id"]),
        dataset.id2token("item_id", dataset.inter_feat["item_id"]),
        strict=True,
    )
    assert list(found) == [row[:2] for row in rows[30:70]]


@pytest.mark.parametrize("keep", ["first", "last"])
def test_of_a_repeated_pair_that_of_the_file_stays(tmp_path, keep):
    (tmp_path / "clock").mkdir()
    rows = [f"u{k % 3}\ti{item + k % 3}\t{1_700_000_000 + 10 * k + (k >= 30)}" for item in range(4) for k in range(60)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (tmp_path / "clock" / "clock.inter").write_text("\n".join([header, *rows]) + "\n")
    _, dataset, _ = prepared(tmp_path, "BPR", {"LS": "test_only"}, rm_dup_inter=keep)
    kept = {"first": {1_700_000_000 + 10 * k for k in range(3)}, "last": {1_700_000_001 + 10 * k for k in (57, 58, 59)}}
    assert set(dataset.inter_feat["timestamp"].tolist()) == kept[keep]


def test_interactions_of_one_moment_stay_in_the_order_of_the_file(tmp_path):
    (tmp_path / "clock").mkdir()
    rows = [f"u{k % 7}\ti{(k * 5) % 23}\t1700000000" for k in range(140)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (tmp_path / "clock" / "clock.inter").write_text("\n".join([header, *rows]) + "\n")
    _, dataset, (train, _, _) = prepared(tmp_path, "BPR", {"RS": [1, 0, 0]}, rm_dup_inter="first", group_by=None)
    assert pairs(dataset, train) == list(dict.fromkeys(tuple(row.split("\t")[:2]) for row in rows))


@pytest.mark.parametrize("model, settings", [("BPR", {}), ("VBPR", {}), ("FM", {}), ("SASRec", {}),
                                             ("FM", {"numerical_features": ["timestamp"]})])  # fmt: skip
@pytest.mark.parametrize("clock", ["seconds", "nanoseconds"])
def test_models_train_on_batches_of_float32(tmp_path, model, settings, clock):
    written(tmp_path, clock)
    config, dataset, (train, _, _) = prepared(tmp_path, model, {"LS": "valid_and_test"}, **settings)
    batch = next(iter(train))
    assert batch["timestamp"].dtype == torch.float32
    assert all(values.dtype in (torch.float32, torch.int64) for values in batch.interaction.values())
    loss = get_model(config["model"])(config, train._dataset).calculate_loss(batch)
    assert sum(loss).dtype == torch.float32 if isinstance(loss, tuple) else loss.dtype == torch.float32


def test_random_splits_are_those_of_recbole(tmp_path):
    """The rows are shuffled from the order of the file, as in every published run of RecBole."""
    rows = written(tmp_path, "seconds")
    config, dataset, (train, _, _) = prepared(tmp_path, "BPR", {"RS": [1, 0, 0]}, "RO", group_by=None)
    assert dataset.time_field in train._dataset.inter_feat
    torch.manual_seed(3)
    _, dataset, (train, _, _) = prepared(tmp_path, "BPR", {"RS": [1, 0, 0]}, "RO", group_by=None)
    torch.manual_seed(3)
    assert pairs(dataset, train) == [rows[index][:2] for index in torch.randperm(len(rows)).tolist()]


def test_an_interaction_without_time_is_refused_where_order_is_by_time(tmp_path):
    written(tmp_path, "seconds")
    file = tmp_path / "clock" / "clock.inter"
    lines = file.read_text().splitlines()
    lines[4] = lines[4].rsplit("\t", 1)[0] + "\t"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"clock\.inter, line 5, column timestamp: there is no time"):
        prepared(tmp_path, "BPR", {"LS": "valid_and_test"})
    prepared(tmp_path, "BPR", {"RS": [0.8, 0.1, 0.1]}, "RO")


def test_classes_of_times_have_no_order(tmp_path):
    written(tmp_path, "seconds")
    classes = {"timestamp": {"method": "ED", "bucket": 3}}
    with pytest.raises(ValueError, match="take it out of discretization"):
        prepared(tmp_path, "FM", {"LS": "valid_and_test"}, discretization=classes, numerical_features=["timestamp"])
