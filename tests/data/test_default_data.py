"""The default data set: complete or absent, the same bytes each time."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import recbole
import yaml

from recbole_mm.data.default_data import DEFAULT_DATASET, FILES, bag_of_words_features, build_default_data
from recbole_mm.data.feature_file import find_modalities, read_features
from tests.commands import run

ROOT = Path(__file__).resolve().parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build_default_data(tmp_path_factory.mktemp("data"), report=lambda line: None)


def test_it_is_built_in_under_20_seconds_to_the_same_bytes(built, tmp_path):
    lines = []
    start = time.perf_counter()
    again = build_default_data(tmp_path / "new" / "folder", report=lines.append)
    assert time.perf_counter() - start < 20
    assert sorted(contents(again)) == sorted(FILES)
    assert contents(again) == contents(built)
    assert len(lines) == 4 and str(again) in lines[-1]


def test_it_is_built_once(built):
    before = {path: path.stat().st_mtime_ns for path in built.iterdir()}
    lines = []
    assert build_default_data(built.parent, report=lines.append) == built
    assert lines == [] and {path: path.stat().st_mtime_ns for path in built.iterdir()} == before


def test_its_features_cover_the_items(built):
    items = [line.split("\t")[0] for line in (built / f"{DEFAULT_DATASET}.item").read_text().splitlines()[1:]]
    interactions = (built / f"{DEFAULT_DATASET}.inter").read_text().splitlines()
    assert len(interactions) == 100_001 and len(items) == 1_682
    textual = read_features(built, DEFAULT_DATASET, "textual")
    relational = read_features(built, DEFAULT_DATASET, "relational")
    assert textual.ids == items
    assert set(relational.ids) < set(items) and len(relational.ids) == 1_596  # of 1,598 items with an entity
    for table in (textual, relational):
        assert table.values.shape[1] == 128 and table.encoder and table.source
        # float32 rounds each of 128 squares by 6e-8 of itself
        np.testing.assert_allclose(np.linalg.norm(table.values, axis=1), 1, atol=1e-5)


def similarity_of_groups(built: Path, modality: str, group_of: dict[str, str]) -> tuple[float, float]:
    """Mean cosine of two items of one group, and of two items of different groups."""
    table = read_features(built, DEFAULT_DATASET, modality)
    rows = [row for row, item in enumerate(table.ids) if item in group_of]
    groups = np.array([group_of[table.ids[row]] for row in rows])
    cosine = table.values[rows] @ table.values[rows].T
    same = groups[:, None] == groups
    return cosine[same & ~np.eye(len(rows), dtype=bool)].mean(), cosine[~same].mean()


def read_rows(suffix: str) -> list[list[str]]:
    path = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / f"ml-100k.{suffix}"
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def test_textual_features_tell_genres_apart(built):
    genres = {item: words for item, _, _, words in read_rows("item")}
    same, different = similarity_of_groups(built, "textual", genres)
    assert same > 2 * different


def test_relational_features_tell_directors_apart(built):
    director = {head: tail for head, relation, tail in read_rows("kg") if relation == "film.film.directed_by"}
    linked = {item: director[entity] for item, entity in read_rows("link") if entity in director}
    same, different = similarity_of_groups(built, "relational", linked)
    assert same > 2 * different


def test_its_settings_name_its_modalities(built):
    settings = yaml.safe_load((ROOT / "properties" / "dataset" / f"{DEFAULT_DATASET}.yaml").read_text())
    assert sorted(settings["modalities"]) == sorted(find_modalities(built, DEFAULT_DATASET))


def test_a_killed_build_is_not_taken_for_complete(built, tmp_path):
    code = (
        "import os, sys, pathlib; from recbole_mm.data.default_data import build_default_data\n"
        "kill = lambda line: os.kill(os.getpid(), 9) if 'textual' in line else None\n"
        "build_default_data(pathlib.Path(sys.argv[1]), kill)"
    )
    assert run(["-c", code, str(tmp_path)], ROOT).returncode == -9
    (stale,) = tmp_path.iterdir()
    assert stale.name.startswith(f".{DEFAULT_DATASET}.") and (stale / f"{DEFAULT_DATASET}.inter").exists()
    folder = build_default_data(tmp_path, report=lambda line: None)
    assert contents(folder) == contents(built)
    assert not stale.exists()


def test_two_builds_at_once_both_end_well(built, tmp_path):
    """Both are held until each has written everything, so that both come to rename."""
    ready = threading.Barrier(2, timeout=60)
    folders, errors = [], []

    def build():
        try:
            folders.append(
                build_default_data(tmp_path, lambda line: ready.wait() if "relational" in line else None)
            )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and folders == [tmp_path / DEFAULT_DATASET] * 2
    assert contents(folders[0]) == contents(built)
    assert [path.name for path in tmp_path.iterdir()] == [DEFAULT_DATASET]


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(line: str) -> None:
        if "relational" in line:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        build_default_data(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_folder_is_an_error_and_an_empty_one_is_not(built, tmp_path):
    folder = tmp_path / DEFAULT_DATASET
    folder.mkdir()
    (folder / f"{DEFAULT_DATASET}.inter").write_text("user_id:token\titem_id:token\n")
    with pytest.raises(ValueError, match=r"lacks ml-100k-mm\.item, .*delete or rename the folder"):
        build_default_data(tmp_path)
    os.remove(folder / f"{DEFAULT_DATASET}.inter")
    assert contents(build_default_data(tmp_path, report=lambda line: None)) == contents(built)


def test_bags_of_words_keep_their_cosines_and_rare_words_do_not_count():
    """Two kinds of bag span two dimensions: a width of 2 loses nothing, cosines are those of the TF-IDF."""
    bags = [["x", "y", "z"], ["x"], ["x", "y", "z"], ["x"], ["once"]]
    values = bag_of_words_features(bags, 2)
    idf_x, idf_y = np.log(6 / 5) + 1, np.log(6 / 3) + 1  # ln((1 + bags) / (1 + bags with the word)) + 1
    expected = idf_x / np.sqrt(idf_x**2 + 2 * idf_y**2)
    assert values.dtype == np.float32
    # float32 arithmetic on numbers of size 1
    np.testing.assert_allclose(values[0] @ values[1], expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(values[:4], axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(values[0], values[2])
    assert not values[4].any()
