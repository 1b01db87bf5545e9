"""Kinds that the command `run` decides: lengths of lists, labels, split files."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.data.field.cases import BY_TIME, HEADER, LOADED, N_USERS, PAIRS, Case, inter, visual

SHOP = {"inter": inter(), "visual": visual()}
RANDOM = {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "full", "group_by": "user"}}


def lists(what: str, outcome: str, ran: bool = False, **settings: Any) -> Case:
    length = settings.get("topk", [5])
    length = length[0] if isinstance(length, list) and length else 5
    own = {**LOADED, **RANDOM, "valid_metric": f"Recall@{length}", **settings}
    return Case(what, outcome, SHOP, own, _ran if ran else None)


def _ran(dataset: Any, test: Any) -> None:
    """What the run has ended well of is checked by the command."""


WHOLE = "give a list, each a whole number of at least 1; Lengths of the lists that metrics are measured at."
LENGTHS = [
    lists("as long as there are items", "measured", True, topk=[12]),
    lists("longer than a user's items that are left", "measured over those", True, topk=[10]),
    lists("longer than the items", "topk: 13 is more than the 12 items of data set 'shop' that are left after filtering; "
          "set less", topk=[13]),
    lists("0", f"topk: [0] is not allowed for VBPR; {WHOLE}", topk=[0]),
    lists("below 0", f"topk: [-1] is not allowed for VBPR; {WHOLE}", topk=[-1]),
    lists("a decimal", f"topk: [5.5] is not allowed for VBPR; {WHOLE}", topk=[5.5]),
    lists("a word", f"topk: ['five'] is not allowed for VBPR; {WHOLE}", topk=["five"]),
    lists("one twice", f"topk: [5, 5] is not allowed for VBPR (5 stands there twice); {WHOLE}", topk=[5, 5]),
    lists("a validation metric at another length", "valid_metric: Recall@7 is not measured; set it to one of `metrics` "
          "['Recall'] at one of `topk` [5], such as Recall@5, or add it there", valid_metric="Recall@7"),
    lists("filters that leave nothing", "the filters of data set 'shop' leave nothing (user_inter_num_interval: "
          "[99,inf)); let more through", user_inter_num_interval="[99,inf)"),
]  # fmt: skip


def labelled(kind: str = "label:float", label=lambda user, item: str((user + item) // 2 % 2)) -> dict[str, str]:
    rows = [f"u{user}\ti{item}\t{label(user, item)}" for user, item, _ in PAIRS]
    return {"inter": "\n".join([f"user_id:token\titem_id:token\t{kind}", *rows]) + "\n"}


OF_VALUES = {"load_col": None, "metrics": ["AUC", "LogLoss"], "valid_metric": "AUC",
             "eval_args": {**RANDOM["eval_args"], "mode": "labeled"}}  # fmt: skip


def values(what: str, outcome: str, files: dict[str, str], ran: bool = False, **settings: Any) -> Case:
    return Case(what, outcome, files, {**OF_VALUES, **settings}, _ran if ran else None, "FM", False)


RATINGS = labelled("rating:float", lambda user, item: str(1 + (user + item) // 2 % 5))
NO_LABEL = (
    "FM and labelled rows need LABEL_FIELD: data set 'shop' has no column 'label'; it has user_id, item_id, {}: set "
    "LABEL_FIELD to the one that is meant; or make labels of a column of numbers, such as threshold: {{rating: 3}}"
)
CLASSES = "AUC and LogLoss need labels of both classes"
LABELS = [
    values("labels 0 and 1", "measured", labelled(), True),
    values("ratings with `threshold: {rating: 3}`", "measured", RATINGS, True, threshold={"rating": 3}),
    values("ratings with `LABEL_FIELD: rating`, and RMSE", "measured", RATINGS, True, LABEL_FIELD="rating",
           metrics=["RMSE", "MAE"], valid_metric="RMSE"),
    values("no labels", NO_LABEL.format("timestamp"), {"inter": inter()}),
    values("labels by another name", NO_LABEL.format("click"), labelled("click:float")),
    values("ratings as labels", "LABEL_FIELD: 'rating' is 2 in an interaction, and AUC and LogLoss need labels 0 and 1; "
           "make them with threshold: {rating: 3}, or measure RMSE or MAE", RATINGS, LABEL_FIELD="rating"),
    values("labels of one half", "LABEL_FIELD: 'label' is 0.5 in an interaction, and AUC and LogLoss need labels 0 and "
           "1; make them with threshold: {label: 0.5}, or measure RMSE or MAE", labelled(label=lambda u, i: "0.5")),
    values("labels that are all 1", f"LABEL_FIELD: 'label' is 1 or more in all interactions, and {CLASSES}",
           labelled(label=lambda u, i: "1")),
    values("a threshold above all ratings", f"threshold: 'rating' is below 9 in all interactions, and {CLASSES}",
           RATINGS, threshold={"rating": 9}),
    values("a threshold for two columns", "threshold: {'rating': 3, 'x': 2} is not allowed for FM (labels are made of one "
           "column); give a dict or nothing (~); Column and value from which on a row is positive.", RATINGS,
           threshold={"rating": 3, "x": 2}),
    values("labels of type token", "LABEL_FIELD: 'label' is of type token, and labels are numbers; name its column "
           "label:float", labelled("label:token")),
    values("a label that is missing", "LABEL_FIELD: 'label' is missing in 1 of 60 interactions; fill it in, or leave "
           "them out", labelled(label=lambda u, i: "" if (u, i) == (3, 3) else str((u + i) // 2 % 2))),
    values("AUC of rankings", "metrics: ['AUC'] are of values, and eval_args: mode: full ranks items; set eval_args: "
           "{mode: labeled}, or other metrics", labelled(), **RANDOM, metrics=["AUC"]),
    values("AUC and Recall", "metrics: ['AUC', 'Recall'] are of rankings and of values, which RecBole cannot measure "
           "together", labelled(), metrics=["AUC", "Recall"]),
]  # fmt: skip



def scaled(what: str, outcome: str, row, ran: bool = False, **settings: Any) -> Case:
    """Of a model with a graph of items, whose features are refused or are those of the file, by id."""

    def check(dataset: Any, test: Any) -> None:
        found = dataset.modality_feature("visual")
        for number in range(1, dataset.item_num):
            expected = np.array(row(int(dataset.id2token("item_id", number)[1:])).split(), np.float32)
            np.testing.assert_array_equal(found[number].numpy(), expected)

    files = {"inter": inter(), "visual": visual(row)}
    return Case(what, outcome, files, {**LOADED, **settings}, check if ran else None, "FREEDOM")


TOO_LARGE = "too large to compute with; scale the features, or set standardize_feature: True or normalize_feature: True"
SCALES = [
    scaled("values of 1e-30", "trained on as they are", lambda item: f"{item}e-30 1e-30 2e-30", True),
    scaled("values of 1e-45, the least of float32", "the same", lambda item: "1e-45 0 1e-45", True),
    scaled("rows of zeros alone", "the same", lambda item: "0 0 0", True),
    scaled("one row for all items", "the same", lambda item: "1 2 3", True),
    scaled("a value a row", "the same", str, True),
    scaled("values of -0.0 and of 1e8", "the same", lambda item: f"-0.0 {item}e8 1", True),
    scaled("values of 1e15", f"shop.visual: item 'i11' has a value of 1.1e+16, {TOO_LARGE}", lambda item: f"{item}e15 1 2"),
    scaled("values of -1e20", f"shop.visual: item 'i11' has a value of -1.1e+21, {TOO_LARGE}", lambda item: f"-{item}e20 1 2"),
    scaled("the largest of float32 in one row", f"shop.visual: item 'i3' has a value of 3.4e+38, {TOO_LARGE}",
           lambda item: "3.4e38 1 2" if item == 3 else f"{item} 1 2"),
]  # fmt: skip

ROWS = inter().splitlines()[1:]
PARTS = {"train": [row for number, row in enumerate(ROWS) if number % 6 < 4], "valid": ROWS[4::6], "test": ROWS[5::6]}


def splits(names: str = "train valid test", **changed: str) -> dict[str, str]:
    """The parts under other names; some changed, or left out where that is empty."""
    files = {
        f"{name}.inter": changed.get(part, "\n".join([HEADER, *rows]) + "\n")
        for name, (part, rows) in zip(names.split(), PARTS.items(), strict=True)
    }
    return {name: content for name, content in files.items() if content} | {"visual": visual()}


def parted(what: str, outcome: str, files: dict[str, str], expect=None, **settings: Any) -> Case:
    return Case(what, outcome, files, {**LOADED, **settings}, expect, described=False)


def _as_in_files(dataset: Any, test: Any) -> None:
    assert dataset.file_size_list == [len(rows) for rows in PARTS.values()]
    found = test._dataset.inter_feat
    users, items = (dataset.id2token(name, found[name]) for name in ("user_id", "item_id"))
    assert sorted(zip(users, items, strict=True)) == sorted(tuple(row.split("\t")[:2]) for row in PARTS["test"])
    assert dataset.user_num - 1 == N_USERS


SET = {"benchmark_filename": ["train", "valid", "test"]}
SHOWN = "shop.inter is not there, but shop.{}.inter, shop.{}.inter, shop.{}.inter; set benchmark_filename: [{}, {}, {}]"


def _said(*names: str) -> str:
    return SHOWN.format(*names, *names)


SPLITS = [
    parted("`benchmark_filename` in the settings", "its split", splits(), _as_in_files, **SET),
    parted("`benchmark_filename` in `shop.yaml`", "its split",
           {**splits(), "yaml": "benchmark_filename: [train, valid, test]\n"}, _as_in_files),
    parted("order by time in the settings too", "the files' split", splits(), _as_in_files, **SET, **BY_TIME),
    parted("columns in another order in one file", "its split, columns by their names",
           splits(test="\n".join("\t".join(row.split("\t")[::-1]) for row in [HEADER, *PARTS["test"]]) + "\n"),
           _as_in_files, **SET),
    parted("no settings", _said("train", "valid", "test"), splits()),
    parted("`shop.val.inter`, no settings", _said("train", "val", "test"), splits("train val test")),
    parted("`shop.dev.inter`, no settings", _said("train", "dev", "test"), splits("train dev test")),
    parted("two files, no settings", "shop.inter is not there, but shop.train.inter, shop.test.inter; set "
           "benchmark_filename to those of training, validation and test", splits(valid="")),
    parted("two names", "benchmark_filename: ['train', 'test'] is not allowed for VBPR (it names the files of training, "
           "validation and test, in this order); give a list, each a text or nothing (~); Suffixes of interactions that "
           "are split already, such as [train, valid, test].", splits(valid=""), benchmark_filename=["train", "test"]),
    parted("a name without a file", "there are shop.test.inter, shop.train.inter, shop.visual", splits(valid=""), **SET),
    parted("a column that one file lacks", "shop.test.inter, line 1: there is no column 'timestamp', which other splits "
           "have; add it, or leave it out of load_col",
           splits(test="\n".join(row.rpartition("\t")[0] for row in [HEADER, *PARTS["test"]]) + "\n"), **SET),
    parted("no rows in one file", "shop.valid.inter holds no interactions; fill it", splits(valid=HEADER + "\n"), **SET),
    parted("a file called otherwise than its folder", "shop.inter is not there; make it", {"visual": visual()}),
    parted("filters", "user_inter_num_interval: [3,inf) has no effect on data that are split already "
           "(benchmark_filename); filter before they are split, or leave it out", splits(), **SET,
           user_inter_num_interval="[3,inf)"),
]  # fmt: skip
