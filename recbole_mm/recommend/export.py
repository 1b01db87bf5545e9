"""User and item vectors for other systems: a dot product, or an index such as faiss, gives the model's own ranking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from recbole_mm.io.files import check_room, is_occupied, publish_new_folder, temporary_folder
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.recommender import Recommender

VECTORS_FILE, SCORING_FILE = "embeddings.safetensors", "scoring.json"
RULE = "score(user, item) = dot product of the user's row of 'user' and the item's row of 'item'; higher is better"


def export_vectors(opened: OpenedCheckpoint, folder: Path) -> Path:
    """Write the vectors of a checkpoint and their ids into a new folder.

    ``embeddings.safetensors`` holds `user` ``[users, width]`` and `item` ``[items, width]``, without [PAD];
    ``user_ids.txt`` and ``item_ids.txt`` the original id of each row, one a line; ``scoring.json`` the rule, the width,
    the model, its data set and checkpoint. Weights of modalities or items are in the item vectors already.

    Raises ValueError where the folder holds something, or the model's score is not a dot product.
    """
    model = opened.model
    _check_is_dot_product(model)
    check_new_folder(folder)
    with torch.no_grad():
        tables = dict(zip(("user", "item"), model.score_tables(), strict=True))
    vectors = {name: table[1:].detach().cpu().contiguous() for name, table in tables.items()}
    dataset = opened.dataset
    scoring = {
        "score": RULE,
        "width": vectors["item"].shape[1],
        "model": opened.config["model"],
        "dataset": dataset.dataset_name,
        "checkpoint": opened.path.name,
    }
    check_room(folder, sum(table.nbytes for table in vectors.values()))
    with temporary_folder(folder) as temporary:
        save_file(vectors, temporary / VECTORS_FILE, metadata={"score": RULE})
        for name, field in (("user", dataset.uid_field), ("item", dataset.iid_field)):
            ids = "\n".join(dataset.field2id_token[field][1:].astype(str)) + "\n"
            (temporary / f"{name}_ids.txt").write_text(ids, encoding="utf-8")
        (temporary / SCORING_FILE).write_text(json.dumps(scoring, indent=2), encoding="utf-8")
        publish_new_folder(temporary, folder)
    return folder


def check_new_folder(folder: Path) -> None:
    """Raise ValueError where something stands at the folder to write; it may be empty."""
    if is_occupied(folder):
        raise ValueError(f"--out: {folder} holds something already; delete it, or choose another folder")


def _check_is_dot_product(model: Any) -> None:
    is_ours = isinstance(model, Recommender)
    if not is_ours or type(model).full_sort_predict is not Recommender.full_sort_predict:
        raise ValueError(
            f"{type(model).__name__} gives no user and item vectors whose dot product is its score; export needs a "
            f"multimodal model (python -m recbole_mm models), recommend takes any"
        )
