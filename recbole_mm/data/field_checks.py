"""The columns that settings name, against those that a data set's files have: before they are filtered and split.

RecBole passes over a column that it does not find, or ends in a KeyError of pandas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recbole.utils import FeatureType, ModelType

from recbole_mm.data.label_checks import check_labels
from recbole_mm.io.names import closest
from recbole_mm.io.reading import has_file
from recbole_mm.io.tables import header_of
from recbole_mm.run_settings import evaluation_modes

_OWN_SUFFIXES = ("inter", "user", "item", "kg", "link")
_LISTS = (
    *("alias_of_user_id", "alias_of_item_id", "alias_of_entity_id", "alias_of_relation_id", "normalize_field"),
    *("numerical_features", "selected_features"),  # the latter of GRU4RecF, SASRecF and FDSA
)
FILTERS = {
    "user_inter_num_interval": "[0,inf)", "item_inter_num_interval": "[0,inf)", "val_interval": None,
    "rm_dup_inter": None,
}  # fmt: skip
_DICTS = ("seq_len", "val_interval", "threshold", "discretization")


def check_files_there(dataset: Any) -> None:
    """Raise ValueError for a setting that names a file which is not there."""
    config, name, folder = dataset.config, dataset.dataset_name, Path(dataset.dataset_path)
    splits = ((f"{name}.{split}.inter", "benchmark_filename") for split in config["benchmark_filename"] or ())
    others = ((f"{name}.{suffix}", "additional_feat_suffix") for suffix in config["additional_feat_suffix"] or ())
    for file, key in (*splits, *others):
        if folder.is_dir() and not (folder / file).is_file():
            there = sorted(path.name for path in folder.iterdir() if path.name.startswith(f"{name}."))
            shown = ", ".join(there) or "none of this name"
            raise ValueError(f"{key}: there is no {file} in {folder}{closest(file, there)}; there are {shown}")
    if not config["benchmark_filename"]:
        _check_whole(folder, name)


def _check_whole(folder: Path, name: str) -> None:
    """RecBole says of split files, whose settings are not given, that the whole one does not exist."""
    file = folder / f"{name}.inter"
    if not folder.is_dir() or has_file(file):
        return
    splits = [path.name.removeprefix(f"{name}.").removesuffix(".inter") for path in folder.glob(f"{name}.*.inter")]
    if splits:
        order = sorted(splits, key=lambda split: (_place_of(split), split))
        are_three = [_place_of(split) for split in order] == [0, 1, 2]
        remedy = f"set benchmark_filename: [{', '.join(order)}]" if are_three else (
            "set benchmark_filename to those of training, validation and test"
        )  # fmt: skip
        shown = ", ".join(f"{name}.{split}.inter" for split in order)
        raise ValueError(f"{file} is not there, but {shown}; {remedy}")
    others = sorted(path.name for path in folder.glob("*.inter"))
    remedy = f"rename {others[0]}, as files are called as their folder" if others else "make it"
    raise ValueError(f"{file} is not there; {remedy}")


def _place_of(split: str) -> int:
    """Training, validation, test, or something else."""
    words = (("train", "training"), ("valid", "validation", "val", "dev"), ("test",))
    return next((place for place, names in enumerate(words) if split.lower() in names), len(words))


def nothing_left(config: Any) -> str:
    """What to do where filters leave no interaction, or no user or item of a table."""
    filters = {key: config[key] for key, default in FILTERS.items() if config[key] not in (None, default)}
    reasons = ", ".join(f"{key}: {value}" for key, value in filters.items()) or "the ids of .user and .item"
    return f"the filters of data set '{config['dataset']}' leave nothing ({reasons}); let more through"


def check_fields(dataset: Any) -> None:
    """Raise ValueError for a setting that names a column which is not there, or is not loaded.

    Args:
        dataset: RecBole's, or ours, right after it has read its files.
    """
    config = dataset.config
    if dataset.uid_field == dataset.iid_field:
        raise ValueError(f"USER_ID_FIELD and ITEM_ID_FIELD are both '{dataset.uid_field}'; set one to another column")
    _check_columns_to_load(dataset)
    for key, field in (("USER_ID_FIELD", dataset.uid_field), ("ITEM_ID_FIELD", dataset.iid_field)):
        if field is not None and field not in dataset.inter_feat:
            raise ValueError(_missing(dataset, key, field))
    loaded = {field for feat in _tables(dataset) for field in feat.columns}
    for key, field in _named_fields(config):
        if field not in loaded:
            raise ValueError(_missing(dataset, key, field))
    _check_time(dataset)
    _check_splits_alike(dataset)
    if reads_labels(config) and config["threshold"] is None and dataset.label_field not in dataset.inter_feat:
        raise ValueError(
            f"{_missing(dataset, f'{config.model} and labelled rows need LABEL_FIELD', dataset.label_field)}; or make "
            f"labels of a column of numbers, such as threshold: {{rating: 3}}"
        )
    if reads_labels(config):
        check_labels(dataset)


def _check_splits_alike(dataset: Any) -> None:
    """Where a split lacks a column that is loaded of another, RecBole goes on with numbers that are not there."""
    headers = {
        f"{dataset.dataset_name}.{split}.inter": _header(
            Path(dataset.dataset_path) / f"{dataset.dataset_name}.{split}.inter", dataset.config
        )
        for split in dataset.config["benchmark_filename"] or ()
    }
    for field in dataset.inter_feat.columns:
        lacking = [file for file, columns in headers.items() if field not in columns]
        if lacking:
            raise ValueError(
                f"{Path(dataset.dataset_path) / lacking[0]}, line 1: there is no column '{field}', which other splits "
                "have; add it, or leave it out of load_col"
            )


def _check_time(dataset: Any) -> None:
    """Where splits go by time there are times, and not classes of them."""
    config, field = dataset.config, dataset.time_field
    evaluation = config["eval_args"]
    needs = "order: TO" if evaluation.get("order") == "TO" else "split: TS" if "TS" in evaluation["split"] else None
    if needs is None or config["benchmark_filename"]:
        return
    if field not in dataset.inter_feat:
        raise ValueError(_missing(dataset, f"eval_args: {needs} needs TIME_FIELD", field))
    if dataset.field2type[field] != FeatureType.FLOAT:
        kind = dataset.field2type[field].value
        raise ValueError(
            f"eval_args: {needs} goes by '{field}', and its type {kind} has no order; name its column {field}:float"
        )
    if field in (config["discretization"] or ()):
        raise ValueError(
            f"discretization: '{field}' is what eval_args: {needs} goes by, and classes of times have no order; "
            f"take it out of discretization"
        )


def _check_columns_to_load(dataset: Any) -> None:
    config = dataset.config
    suffixes = {*_OWN_SUFFIXES, *(config["additional_feat_suffix"] or ())}
    for key in ("load_col", "unload_col", "unused_col"):
        for suffix, columns in (config[key] or {}).items():
            if suffix not in suffixes:
                raise ValueError(
                    f"{key}: there is no kind of file '{suffix}'{closest(suffix, suffixes)}; there are "
                    f"{', '.join(sorted(suffixes))}"
                )
            there = _columns(dataset, suffix)
            unknown = [column for column in columns if there and columns != "*" and column not in there]
            if key == "unused_col" and {dataset.uid_field, dataset.iid_field} & set(columns):
                raise ValueError(f"unused_col: {suffix}: batches need the ids of users and items; leave them out of it")
            if unknown and key != "unused_col":
                raise ValueError(
                    f"{key}: {suffix}: no file of data set '{dataset.dataset_name}' has a column '{unknown[0]}'"
                    f"{closest(unknown[0], there)}; there are {', '.join(there)}"
                )


def _named_fields(config: Any) -> Iterator[tuple[str, str]]:
    for key in _LISTS:
        yield from ((key, field) for field in config[key] or ())
    if config["item_attribute"]:  # of S3Rec
        yield "item_attribute", config["item_attribute"]
    for pair in (config["preload_weight"] or {}).items():
        yield from (("preload_weight", field) for field in pair)
    for key in _DICTS:
        yield from ((key, field) for field in config[key] or () if isinstance(config[key], Mapping))


def reads_labels(config: Any) -> bool:
    """Whether a model, or its metrics, make something of labels."""
    if "labeled" in evaluation_modes(config):
        return True
    sampling = config["train_neg_sample_args"]
    samples = sampling and sampling.get("distribution", "uniform") not in (None, "none")
    return config["MODEL_TYPE"] == ModelType.CONTEXT and not samples


def _tables(dataset: Any) -> list[Any]:
    names = ("inter_feat", "user_feat", "item_feat", "kg_feat", "link_feat")
    further = (f"{suffix}_feat" for suffix in dataset.config["additional_feat_suffix"] or ())
    tables = (getattr(dataset, name, None) for name in (*names, *further))
    return [table for table in tables if hasattr(table, "columns")]


def _missing(dataset: Any, key: str, field: str) -> str:
    """What to do about a column that is not loaded."""
    there = {suffix: _columns(dataset, suffix) for suffix in _OWN_SUFFIXES}
    holding = next((suffix for suffix, columns in there.items() if field in columns), None)
    if holding is not None:
        return f"{key}: '{field}' of .{holding} is not loaded; add it to load_col: {{{holding}: [..., {field}]}}"
    known = list(dict.fromkeys(column for columns in there.values() for column in columns))
    return (
        f"{key}: data set '{dataset.dataset_name}' has no column '{field}'{closest(field, known)}; it has "
        f"{', '.join(known)}: set {key.split()[-1].partition(':')[0]} to the one that is meant"
    )


def _columns(dataset: Any, suffix: str) -> list[str]:
    """Names of the columns in the first lines of the files of one kind; none where there is no such file."""
    splits = dataset.config["benchmark_filename"] or ()
    names = [f"{dataset.dataset_name}.{split}.inter" for split in splits] if suffix == "inter" and splits else []
    found: dict[str, None] = {}
    for name in names or [f"{dataset.dataset_name}.{suffix}"]:
        found |= dict.fromkeys(_header(Path(dataset.dataset_path) / name, dataset.config))
    return list(found)


def _header(file: Path, config: Any) -> list[str]:
    if not has_file(file):
        return []
    columns = header_of(file, config["field_separator"], config["encoding"] or "utf-8")
    return [column.rpartition(":")[0] or column for column in columns]
