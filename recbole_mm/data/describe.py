"""What is in a data set: its interactions and, for each modality, the quality of its features."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.data.feature_file import FeatureTable, dataset_name, find_modalities, read_features
from recbole_mm.data.feature_table import row_blocks
from recbole_mm.data.file_form import FileForm, check_id_columns
from recbole_mm.data.quality import warnings
from recbole_mm.data.unread_forms import unused_arrays
from recbole_mm.io.files import is_folder
from recbole_mm.io.reading import has_file
from recbole_mm.io.tables import read_table
from recbole_mm.io.yaml_files import read_settings_file

if TYPE_CHECKING:
    import pandas as pd

FIRST_SPLITS = ("train", "valid", "test")


def describe(dataset_dir: Path, form: FileForm | None = None) -> dict[str, Any]:
    """Counts of a data set in atomic files.

    Args:
        dataset_dir: its folder.
        form: names of its columns and the like; those of `NAME.yaml` in the folder where not given.

    Returns:
        `name`, `folder`, `users`, `items`, `interactions`, `sparsity` (share of the user-item pairs without
        interaction), `repeated` (interactions whose pair there was before), `splits` (name to number of
        interactions; empty where the data are not split beforehand), `cold` (see `describe_cold`; None where there
        is no train split), `modalities` (a dictionary each, see `describe_modality`), `warnings` (what costs quality).
        Users and items are those with an interaction.

    Raises:
        FileNotFoundError: there is no such folder, or no `.inter` file in it.
        ValueError: a file cannot be read. Values that are not finite are counted, not refused.
    """
    if not is_folder(dataset_dir):
        raise FileNotFoundError(f"there is no folder {dataset_dir}; give the folder that holds the .inter file")
    name = dataset_name(dataset_dir)
    form = FileForm.of_folder(dataset_dir) if form is None else form
    fields = [form.user_field, form.item_field]
    interactions, splits = _read_tables(dataset_dir, name, fields, form)
    items = set(interactions[form.item_field])
    modalities = [
        describe_modality(modality, read_features(dataset_dir, name, modality, form, allow_non_finite=True), items)
        for modality in find_modalities(dataset_dir, name, form)
    ]
    description = {
        "name": name,
        "folder": str(dataset_dir),
        **_count_interactions(interactions, splits, *fields),
        "modalities": modalities,
    }
    left_out = _left_out(dataset_dir / f"{name}.yaml", [entry["name"] for entry in modalities])
    unused = unused_arrays(dataset_dir, name, form)
    return {**description, "warnings": warnings(description) + left_out + unused}


def _left_out(settings: Path, modalities: list[str]) -> list[str]:
    """Warnings of modalities that the data set's own settings leave out, such as ones made after them."""
    chosen = read_settings_file(settings).get("modalities") if has_file(settings) else None
    if not isinstance(chosen, list):
        return []
    shown = f"modalities: [{', '.join(map(str, chosen))}] in {settings.name}"
    others = [modality for modality in modalities if modality not in chosen]
    reason = f"runs leave it out, as it is not among {shown}; add it there, or delete the key"
    return [f"{name}: {reason}" for name in others]


def _count_interactions(
    interactions: pd.DataFrame, splits: dict[str, pd.DataFrame], user_field: str, item_field: str
) -> dict[str, Any]:
    users, items = (interactions[field].nunique() for field in (user_field, item_field))
    return {
        "users": users,
        "items": items,
        "interactions": len(interactions),
        "sparsity": 1 - len(interactions) / (users * items),
        "repeated": int(interactions.duplicated([user_field, item_field]).sum()),
        "splits": {split: len(rows) for split, rows in splits.items()},
        "cold": describe_cold(splits, user_field, item_field),
    }


def describe_cold(splits: dict[str, pd.DataFrame], user_field: str, item_field: str) -> dict[str, int] | None:
    """What the other splits have that training has not; None without a train split beside others.

    Returns:
        `items` and `users` without an interaction in training, `interactions` of the other splits with such an item,
        `held_out` (all interactions of the other splits), `leaked` (those whose pair is in training too).
    """
    import pandas as pd

    if "train" not in splits or len(splits) < 2:
        return None
    train = splits["train"]
    others = pd.concat([rows for split, rows in splits.items() if split != "train"], ignore_index=True)
    cold = ~others[item_field].isin(train[item_field])
    pairs = pd.MultiIndex.from_frame(others[[user_field, item_field]])
    return {
        "items": int(others.loc[cold, item_field].nunique()),
        "users": int(others.loc[~others[user_field].isin(train[user_field]), user_field].nunique()),
        "interactions": int(cold.sum()),
        "held_out": len(others),
        "leaked": int(pairs.isin(pd.MultiIndex.from_frame(train[[user_field, item_field]])).sum()),
    }


def read_interactions(
    folder: Path, name: str, fields: list[str], form: FileForm
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Some fields of each interaction, and the number of interactions in each split that has a file.

    Raises:
        FileNotFoundError: there is no `.inter` file.
        ValueError: it is no table with these fields as tokens, or empty; an interaction has no id.
    """
    table, splits = _read_tables(folder, name, fields, form)
    return table, {split: len(rows) for split, rows in splits.items()}


def _read_tables(
    folder: Path, name: str, fields: list[str], form: FileForm
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """All interactions, and those of each split that has a file."""
    import pandas as pd

    whole = folder / f"{name}.inter"
    paths = {path.name[len(name) + 1 : -len(".inter")]: path for path in folder.glob(f"{name}.*.inter")}
    if not has_file(whole) and not paths:
        raise FileNotFoundError(f"there is no {name}.inter, nor {name}.train.inter and the like, in {folder}")
    order = [split for split in FIRST_SPLITS if split in paths]
    order += sorted(paths.keys() - set(order))
    splits = {split: _read_pairs(paths[split], fields, form) for split in order}
    table = _read_pairs(whole, fields, form) if whole.is_file() else pd.concat(splits.values(), ignore_index=True)
    if table.empty:
        raise ValueError(f"{whole if whole.is_file() else folder} holds no interactions; fill it")
    return table, splits


def _read_pairs(path: Path, fields: list[str], form: FileForm) -> pd.DataFrame:
    columns = [f"{field}:token" for field in fields]
    table = read_table(path, separator=form.separator, encoding=form.encoding)
    check_id_columns(path, list(table.columns), columns, form)
    for column in columns:
        if (empty := table[column].str.strip() == "").any():
            field = column.removesuffix(":token")
            raise ValueError(f"{path}, line {empty.idxmax()}: there is no {field}; correct or delete the line")
    return table.rename(columns=dict(zip(columns, fields, strict=True)))


def describe_modality(name: str, table: FeatureTable, items: set[str]) -> dict[str, Any]:
    """Counts of one feature file.

    Args:
        items: ids of the items with an interaction.

    Returns:
        `name`, `file`, `form` (arrow or text), `width`, `dtype`, `rows`, `present` (items with a row),
        `missing` (items without one), `without_interactions` (rows of no such item), `zero` (rows of zeros),
        `duplicate` (other rows equal to an earlier one), `non_finite` (values), `norms` (least, median and
        greatest L2 norm of the finite rows, None where there are none), `mean_cosine` (mean cosine of all pairs of
        different items with interactions, of rows that are finite and not zero; None for fewer than two), `size_mb`
        (10^6 bytes), `encoder`.
    """
    present = len(items.intersection(table.ids))
    return {
        "name": name,
        "file": table.path.name,
        "form": "arrow" if table.path.suffix == ".arrow" else "text",
        "width": table.values.shape[1],
        "dtype": str(table.values.dtype),
        "rows": len(table.ids),
        "present": present,
        "missing": len(items) - present,
        "without_interactions": len(table.ids) - present,
        **_count_rows(table),
        "mean_cosine": _mean_cosine(table, items),
        "size_mb": table.path.stat().st_size / 1e6,
        "encoder": table.encoder,
    }


def _count_rows(table: FeatureTable) -> dict[str, Any]:
    zero = non_finite = 0
    norms: list[np.ndarray] = []
    distinct: set[bytes] = set()
    for _, block in row_blocks(table.values):
        block = (
            block.astype(np.float64) + 0.0
        )  # the sum turns -0.0 into 0.0, so that equal rows have equal bytes
        filled = block.any(axis=1)
        finite = np.isfinite(block)
        zero += int((~filled).sum())
        non_finite += int((~finite).sum())
        distinct.update(blake2b(row, digest_size=16).digest() for row in block[filled])
        norms.append(np.linalg.norm(block[finite.all(axis=1)], axis=1))
        table.release()
    norm = np.concatenate(norms)
    return {
        "zero": zero,
        "duplicate": len(table.ids) - zero - len(distinct),
        "non_finite": non_finite,
        "norms": (float(norm.min()), float(np.median(norm)), float(norm.max())) if len(norm) else None,
    }


def _mean_cosine(table: FeatureTable, items: set[str]) -> float | None:
    """Of all pairs at once: the sum of n unit vectors has the squared length n + n (n - 1) times the mean cosine."""
    total = np.zeros(table.values.shape[1])
    count = 0
    for start, block in row_blocks(table.values):
        mine = [item in items for item in table.ids[start : start + len(block)]]
        rows = block[mine].astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        total += (rows[usable] / lengths[usable, None]).sum(axis=0)
        count += int(usable.sum())
        table.release()
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else None
