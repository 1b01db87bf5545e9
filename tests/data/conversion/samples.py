"""A small source in each layout, made in its format of the same interactions, features and texts."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

N_USERS, N_ITEMS, EACH = 20, 12, 6
SPLITS = ("train", "valid", "test")
LABELS = (0, 0, 0, 0, 1, 2)


def _pairs() -> list[tuple[int, int, int]]:
    """User, item and label of each interaction."""
    random = np.random.default_rng(0)
    chosen = [random.choice(N_ITEMS, EACH, replace=False) for _ in range(N_USERS)]
    return [(user, int(item), LABELS[k]) for user, items in enumerate(chosen) for k, item in enumerate(items)]


PAIRS = _pairs()
VISUAL = np.random.default_rng(1).standard_normal((N_ITEMS, 5)).astype(np.float32)
TEXTUAL = np.random.default_rng(2).standard_normal((N_ITEMS, 3)).astype(np.float16)
TITLES = [f'Titel {i}: "Ü", 5" groß, N/A' for i in range(N_ITEMS)]
TITLES[3] = "NA"


@dataclass
class Sample:
    """What a conversion of a source must give.

    Attributes:
        source: the folder or file.
        pairs: user, item and split (None where the source is not split) of each interaction.
        features: by modality, the vector of each item.
        titles: by item.
        options: of the command line.
    """

    source: Path
    pairs: list[tuple[str, str, str | None]]
    features: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()


def pairs(user: str = "{}", item: str = "{}", split: bool = True) -> list[tuple[str, str, str | None]]:
    return [(user.format(u), item.format(i), SPLITS[label] if split else None) for u, i, label in PAIRS]


def vectors(values: np.ndarray, item: str = "{}") -> dict[str, np.ndarray]:
    return {item.format(i): row for i, row in enumerate(values)}


def titles(item: str = "{}") -> dict[str, str]:
    return {item.format(i): title for i, title in enumerate(TITLES)}


def _arrays(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    np.save(folder / "image_feat.npy", VISUAL)
    np.save(folder / "text_feat.npy", TEXTUAL)
    return {"visual": vectors(VISUAL), "textual": vectors(TEXTUAL)}


def _of(label: int) -> list[tuple[int, int]]:
    return [(user, item) for user, item, given in PAIRS if given == label]


def mmrec(folder: Path) -> Sample:
    lines = [f"{u}\t{i}\t{label}" for u, i, label in PAIRS]
    (folder / "toys.inter").write_text("\n".join(["userID\titemID\tx_label", *lines]))
    features = _arrays(folder)
    mapping = "".join(f"B{i:03d}\t{i}\n" for i in range(N_ITEMS))
    (folder / "i_id_mapping.csv").write_text("asin\titemID\n" + mapping)
    renamed = {modality: {f"B{int(i):03d}": row for i, row in rows.items()} for modality, rows in features.items()}
    return Sample(folder, pairs(item="B{:03d}"), renamed, options=("--name", "toys"))


def hkuds(folder: Path) -> Sample:
    for label, name in enumerate(("trnMat", "valMat", "tstMat")):
        rows, columns = np.array(_of(label)).T
        matrix = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(N_USERS, N_ITEMS))
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(matrix.tocsr() if label else matrix))
    return Sample(folder, pairs(), _arrays(folder))


def _json_splits(folder: Path, name: str = "{}.json") -> None:
    for label, split in enumerate(("train", "val", "test")):
        listed: dict[str, list[int]] = {}
        for user, item in _of(label):
            listed.setdefault(str(user), []).append(item)
        (folder / name.format(split)).write_text(json.dumps(listed))


def mmssl(folder: Path) -> Sample:
    _json_splits(folder)
    return Sample(folder, pairs(), _arrays(folder))


def lattice(folder: Path) -> Sample:
    (folder / "5-core").mkdir()
    _json_splits(folder, "5-core/{}.json")
    return Sample(folder, pairs(), _arrays(folder))


def _item_files(folder: Path, values: np.ndarray, item: str) -> None:
    folder.mkdir(parents=True)
    for i, row in enumerate(values):
        np.save(folder / f"{item.format(i)}.npy", row[None])


def elliot(folder: Path) -> Sample:
    for label, split in enumerate(("train", "val", "test")):
        (folder / f"{split}.tsv").write_text("".join(f"{u}\t{i}\t1.0\n" for u, i in _of(label)))
    _item_files(folder / "visual_embeddings", VISUAL, "{}")
    return Sample(folder, pairs(), {"visual": vectors(VISUAL)})


def ducho(folder: Path) -> Sample:
    _item_files(folder / "visual_embeddings" / "torch" / "ResNet50" / "avgpool", VISUAL, "B{}")
    _item_files(folder / "textual_embeddings" / "sentence_transformers" / "mini" / "1", TEXTUAL, "B{}")
    (folder / "reviews.tsv").write_text("USER_ID\tITEM_ID\n" + "".join(f"u{u}\tB{i}\n" for u, i, _ in PAIRS))
    features = {"visual": vectors(VISUAL, "B{}"), "textual": vectors(TEXTUAL, "B{}")}
    return Sample(folder, pairs("u{}", "B{}", split=False), features)


def microlens(folder: Path) -> Sample:
    lines = "".join(f"{u},{i},{1_580_000_000_000 + u}\r\n" for u, i, _ in PAIRS)
    (folder / "MicroLens-50k_pairs.csv").write_text("user,item,timestamp\r\n" + lines, newline="")
    doubled = [title.replace('"', '""') for title in TITLES]
    rows = "".join(f'{i},"{title}"\n' for i, title in enumerate(doubled))
    (folder / "MicroLens-50k_titles.csv").write_text("item,title\n" + rows, encoding="utf-8-sig")
    (folder / "MicroLens-50k_covers").mkdir()
    return Sample(folder, pairs(split=False), titles=titles())


def amazon2014(folder: Path) -> Sample:
    with gzip.open(folder / "reviews_Toys_5.json.gz", "wt") as file:
        for u, i, _ in PAIRS:
            review = {"reviewerID": f"A{u}", "asin": f"B{i:09d}", "overall": 5.0, "unixReviewTime": 1_400_000_000 + u}
            file.write(json.dumps(review) + "\n")
    with gzip.open(folder / "meta_Toys.json.gz", "wt") as file:
        for i, title in enumerate(TITLES):
            file.write(repr({"asin": f"B{i:09d}", "title": title, "imUrl": f"http://x/{i}.jpg"}) + "\n")
    wide = np.random.default_rng(3).standard_normal((N_ITEMS + 1, 4096)).astype("<f4")  # one of no interaction
    with (folder / "image_features_Toys.b").open("wb") as file:
        for i, row in enumerate(wide):
            file.write(f"B{i:09d}".encode() + row.tobytes())
    features = {"visual": vectors(wide[:N_ITEMS], "B{:09d}")}
    return Sample(folder, pairs("A{}", "B{:09d}", split=False), features, titles("B{:09d}"))


def amazon2023(folder: Path) -> Sample:
    with gzip.open(folder / "Toys.jsonl.gz", "wt") as file:
        for u, i, _ in PAIRS:
            review = {"rating": 5.0, "title": "ok", "images": [], "asin": f"C{i}", "parent_asin": f"B{i}"}
            file.write(json.dumps({**review, "user_id": f"A{u}", "timestamp": 1_588_687_728_923 + u}) + "\n")
    with gzip.open(folder / "meta_Toys.jsonl.gz", "wt") as file:
        for i, title in enumerate(TITLES):
            images = [{"thumb": "t", "large": f"http://x/{i}.jpg", "hi_res": None}, {"large": "http://x/second.jpg"}]
            file.write(json.dumps({"parent_asin": f"B{i}", "title": title, "price": None, "images": images}) + "\n")
    return Sample(folder, pairs("A{}", "B{}", split=False), titles=titles("B{}"))


def huggingface(folder: Path) -> Sample:
    (folder / "data").mkdir()
    for label, split in enumerate(("train", "validation", "test")):
        users, items = zip(*_of(label), strict=True)
        table = pa.table({"user_id": pa.array(users, pa.int64()), "item_id": items, "score": [4.5] * len(users)})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    ids = list(range(N_ITEMS))
    vectors_ = pa.FixedSizeListArray.from_arrays(pa.array(VISUAL.reshape(-1)), VISUAL.shape[1])
    pq.write_table(pa.table({"item_id": ids, "title": TITLES, "image_embedding": vectors_}), folder / "items.parquet")
    return Sample(folder, pairs(), {"visual": vectors(VISUAL)}, titles())


def table(folder: Path) -> Sample:
    lines = "".join(f"2024-05-{1 + u:02d} 10:00:00;Käufer {u};{i};3,5\n" for u, i, _ in PAIRS)
    (folder / "käufe.csv").write_text("Datum;Kunde;Artikel;Preis\n" + lines, encoding="utf-8-sig")
    doubled = [title.replace('"', '""') for title in TITLES]
    rows = "".join(f'{i};"{title}";"a;b\nc"\n' for i, title in enumerate(doubled))
    (folder / "artikel.csv").write_text("Artikel;Titel;Text\n" + rows, encoding="utf-8")
    options = ("--user", "Kunde", "--item", "Artikel")
    return Sample(folder, pairs("Käufer {}", split=False), titles=titles(), options=options)


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    made.__name__: made
    for made in (
        mmrec, hkuds, mmssl, lattice, elliot, ducho, microlens, amazon2014, amazon2023, huggingface, table
    )
}  # fmt: skip


def make(layout: str, parent: Path) -> Sample:
    """The sample of a layout, in a new folder."""
    folder = parent / f"raw-{layout}"
    folder.mkdir(parents=True)
    return SAMPLES[layout](folder)
