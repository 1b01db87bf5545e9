"""The default data set: MovieLens-100K as RecBole carries it, with two modalities made of its side files.

textual: titles, genres and years of the `.item` file. relational: relations of the linked entity in the `.kg`
file. Both are TF-IDF of a bag of words, reduced by truncated SVD and scaled to norm 1.

The `.link` file of RecBole 1.2.1 numbers films as the larger MovieLens sets do (RUCAIBox/RecSysDatasets#130),
so most films carry the relations of another one: relational says next to nothing about taste.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_mm.data.feature_file import write_arrow
from recbole_mm.io.files import is_occupied, publish_new_folder, temporary_folder

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_DATASET = "ml-100k-mm"
WIDTH = 128
LEAST_ITEMS = 2
ORIGIN = "ml-100k"
FILES = tuple(
    f"{DEFAULT_DATASET}.{suffix}" for suffix in ("inter", "item", "textual.arrow", "relational.arrow")
)


def build_default_data(data_path: Path, report: Callable[[str], None] = print) -> Path:
    """Build `data_path/ml-100k-mm`, unless it is there; returns it. The same input gives the same bytes.

    The folder appears when it is complete, so a build that was killed leaves only a hidden temporary folder,
    which nothing reads. Of two processes that build at once, one wins and both return the complete folder.

    Args:
        data_path: the folder of data sets, such as `dataset_atomic`; made if need be.
        report: told a line at each step.

    Raises:
        FileNotFoundError: RecBole, or its copy of ml-100k, is not installed.
        ValueError: a folder of that name is there but lacks files of it.
    """
    target = data_path / DEFAULT_DATASET
    if _is_complete(target):
        return target
    origin = _find_origin()
    with temporary_folder(target) as folder:
        report(f"Building {target} from {origin}")
        for suffix in ("inter", "item"):
            shutil.copyfile(origin / f"{ORIGIN}.{suffix}", folder / f"{DEFAULT_DATASET}.{suffix}")
        _write_modality(
            folder, "textual", _title_words(origin), f"title, genres and year in {ORIGIN}.item", report
        )
        _write_modality(folder, "relational", _relations(origin), f"{ORIGIN}.kg and {ORIGIN}.link", report)
        _publish(folder, target)
    report(f"Built {target}")
    return target


def _is_complete(target: Path) -> bool:
    if not is_occupied(target):
        return False
    missing = [name for name in FILES if not (target / name).is_file()]
    if missing:
        raise ValueError(
            f"{target} lacks {', '.join(missing)}; delete or rename the folder to have it built anew"
        )
    return True


def _publish(folder: Path, target: Path) -> None:
    try:
        publish_new_folder(folder, target)
    except FileExistsError:
        if not _is_complete(target):  # otherwise another process was faster, and its folder holds the same
            raise


def _find_origin() -> Path:
    spec = find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("RecBole is not installed; type: pip install --no-deps recbole==1.2.1")
    origin = Path(spec.submodule_search_locations[0]) / "dataset_example" / ORIGIN
    for suffix in ("inter", "item", "kg", "link"):
        path = origin / f"{ORIGIN}.{suffix}"
        if not path.is_file():
            raise FileNotFoundError(f"RecBole's copy of {ORIGIN} lacks {path}; install RecBole 1.2.1 again")
    return origin


def _title_words(origin: Path) -> dict[str, list[str]]:
    """Item id to its words: those of the title and the genres, the year and the decade."""
    table = _read(origin / f"{ORIGIN}.item")
    words = {}
    for item, title, year, genres in zip(
        table["item_id"], table["movie_title"], table["release_year"], table["class"], strict=True
    ):
        tokens = [f"title {word.strip(',.:;!?()').lower()}" for word in title.split()]
        tokens += [f"genre {word}" for word in genres.split()]
        words[item] = tokens + ([f"year {year}", f"decade {year[:-1]}"] if year else [])
    return words


def _relations(origin: Path) -> dict[str, list[str]]:
    """Item id to the (relation, tail) pairs of its entity; items without any are absent."""
    triples = _read(origin / f"{ORIGIN}.kg")
    links = _read(origin / f"{ORIGIN}.link")
    triples = triples[triples["head_id"].isin(links["entity_id"])]
    tokens = triples["relation_id"] + " " + triples["tail_id"]
    of_entity = tokens.groupby(triples["head_id"]).agg(list).to_dict()
    words: dict[str, list[str]] = {}
    for item, entity in zip(links["item_id"], links["entity_id"], strict=True):
        if entity in of_entity:
            words.setdefault(item, []).extend(of_entity[entity])
    return words


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.rename(columns=lambda column: column.partition(":")[0])


def _write_modality(
    folder: Path, modality: str, words: dict[str, list[str]], source: str, report: Callable[[str], None]
) -> None:
    values = bag_of_words_features(words.values(), WIDTH)
    filled = np.asarray(values.any(axis=1))
    ids = [item for item, kept in zip(words, filled, strict=True) if kept]
    path = folder / f"{DEFAULT_DATASET}.{modality}.arrow"
    write_arrow(path, ids, values[filled], encoder=f"TF-IDF, truncated SVD {WIDTH}, L2", source=source)
    report(f"  {modality}: {len(ids)} items, width {WIDTH}")


def bag_of_words_features(bags: Iterable[list[str]], width: int) -> np.ndarray:
    """TF-IDF of words that occur in two items or more, truncated SVD, L2: float32 `[n_bags, width]`.

    A bag of no such word is a row of zeros.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    counts = TfidfVectorizer(analyzer=list, min_df=LEAST_ITEMS).fit_transform(bags)
    # ARPACK from a fixed start on one thread: the same sums in the same order; scikit-learn fixes the signs.
    with threadpool_limits(1):
        reduced = TruncatedSVD(width, algorithm="arpack", random_state=0).fit_transform(counts)
    empty = counts.getnnz(axis=1) == 0
    reduced[empty] = 0
    return normalize(reduced).astype(np.float32)
