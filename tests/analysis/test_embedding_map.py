"""Embedding maps: which users, where they are, and how densely the items lie on the circle."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from recbole.data.interaction import Interaction

from recbole_mm.__main__ import main
from recbole_mm.analysis.embedding_map.density import (
    ANGLES,
    GRID,
    ItemDensity,
    angle_density,
    density_figure,
    plane_density,
    principal_components,
)
from recbole_mm.analysis.embedding_map.entry import map_figure, write_embedding_map
from recbole_mm.analysis.embedding_map.user_map import UserMap, _progress, draw_users, embeddings, tsne
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import write_dataset

LABELS = ["MARGO over POWERec", "POWERec"]
CHOSEN = ["u3", "u8", "u21"]


@pytest.fixture(scope="module")
def checkpoints(margo, train) -> list[Path]:
    return [margo, train("POWERec", n_layers=1)]


@pytest.fixture(scope="module")
def opened(checkpoints):
    return [open_checkpoint(file) for file in checkpoints]


@pytest.fixture(scope="module")
def written(opened, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("written")
    write_embedding_map(opened, out, user_ids=CHOSEN)
    return out


@pytest.fixture(scope="module")
def varied(train, tmp_path_factory):
    """A model of users with 6 to 45 training items, user uN with N of the 50 items."""
    rng = np.random.default_rng(0)
    items = [f"i{number}" for number in range(50)]
    splits: dict[str, list] = {"train": [], "valid": [], "test": []}
    for user in range(6, 46):
        chosen = rng.permutation(items)[: user + 2]
        pairs = [(f"u{user}", str(item)) for item in chosen]
        for split, part in zip(splits, (pairs[:-2], pairs[-2:-1], pairs[-1:]), strict=True):
            splits[split] += part
    features = {"visual": {item: rng.standard_normal(3) for item in items}}
    folder = write_dataset(tmp_path_factory.mktemp("varied"), splits, features)
    return open_checkpoint(train("POWERec", folder, n_layers=1))


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def run(*arguments) -> int:
    return main(["analyse", "embedding-map", *map(str, arguments)])


class TestMap:
    def test_shows_the_users_and_their_training_items(self, written, data_path):
        lines = (data_path / "toy" / "toy.train.inter").read_text().splitlines()[1:]
        expected = sorted(line for line in lines if line.split("\t")[0] in CHOSEN)
        rows = table(written / "embedding-map.csv")
        for label in LABELS:
            mine = [row for row in rows if row["checkpoint"] == label]
            assert [row["user_id"] for row in mine if row["kind"] == "user"] == CHOSEN
            pairs = [f"{row['user_id']}\t{row['item_id']}" for row in mine if row["kind"] == "item"]
            assert sorted(pairs) == expected
            places = np.array([[float(row["x"]), float(row["y"])] for row in mine])
            assert np.isfinite(places).all()
            distinct = {row["item_id"]: (row["x"], row["y"]) for row in mine if row["kind"] == "item"}
            assert len(np.unique(places, axis=0)) == len(distinct) + len(CHOSEN)  # an item has one place

    def test_checkpoints_stand_side_by_side_in_their_order(self):
        points = np.arange(4.0).reshape(2, 2)
        places = {name: np.zeros(2) for name in "ab"}
        histories = [["a", "b"], ["b"]]
        maps = [UserMap(label, ["u", "w"], histories, points, places) for label in ("first", "second")]
        figure = map_figure(maps)
        assert [axis.get_title() for axis in figure.axes] == ["first", "second"]
        *lines, items, star, other = figure.axes[0].collections
        ends = [[tuple(map(tuple, line)) for line in collection.get_segments()] for collection in lines]
        assert ends == [[((0, 1), (0, 0)), ((0, 1), (0, 0))], [((2, 3), (0, 0))]]  # from each user to their items
        assert [tuple(collection.get_offsets()[0]) for collection in (star, other)] == [(0, 1), (2, 3)]
        assert [text.get_text() for text in figure.axes[0].texts] == ["u", "w"]
        assert items.get_facecolors()[:, 3].tolist() == [1, 1, 0]  # the second user's b is a ring
        assert len(np.unique(items.get_edgecolors(), axis=0)) == 2
        assert figure.get_suptitle().startswith("t-SNE of users and their training items")
        assert figure.get_suptitle().endswith("; ring: another user of the item")

    def test_is_the_same_every_time(self, written, checkpoints, tmp_path, capsys):
        assert run(*checkpoints, "--out", tmp_path / "again", "--user-ids", ",".join(CHOSEN)) == 0
        again = [Path(line.removeprefix("wrote ")) for line in capsys.readouterr().out.splitlines()]
        assert sorted(file.name for file in again) == sorted(file.name for file in written.iterdir())
        for file in again:
            assert file.read_bytes() == (written / file.name).read_bytes()

    def test_draws_users_with_10_to_40_items(self, varied):
        drawn = draw_users(varied, 31, seed=0)
        assert set(drawn) == {f"u{number}" for number in range(10, 41)}
        assert draw_users(varied, 5, seed=1) == draw_users(varied, 5, seed=1)
        assert draw_users(varied, 5, seed=1) != draw_users(varied, 5, seed=2)

    def test_too_few_users_to_draw_from(self, varied, checkpoints, capsys):
        with pytest.raises(ValueError, match="31 users of 'toy' have 10 to 40 training items, and 32"):
            draw_users(varied, 32, seed=0)
        assert run(checkpoints[0]) == 2  # its users have 8
        said = capsys.readouterr().err
        assert "0 users of 'toy' have 10 to 40" in said and "--training-items" in said and "--users" not in said
        assert run(checkpoints[0], "--training-items", 8, 8, "--users", 3) == 0

    @pytest.mark.parametrize(
        "users, said",
        [
            ("u3,nobody", "user 'nobody' is not in data set 'toy'"),
            ("[PAD]", "user '[PAD]' is not in data set 'toy'"),
            ("u3,u3", "names a user twice: u3,u3"),
            ("u3,u39", "user 'u39' has no training item"),
        ],
    )
    def test_users_that_cannot_be_shown(self, checkpoints, users, said, capsys):
        assert run(checkpoints[0], "--user-ids", users) == 2
        assert said in capsys.readouterr().err
        assert not Path("analysis").exists()

    @pytest.mark.parametrize(("model", "settings"), [("BPR", {}), ("LightGCN", {"n_layers": 2}), ("NGCF", {})])
    def test_recboles_own_models_of_dot_products(self, train, model, settings):
        opened = open_checkpoint(train(model, **settings), trust_pickle=True)
        users, items = embeddings(opened)
        some = Interaction({"user_id": torch.tensor([1, 7, 20])})
        scores = opened.model.full_sort_predict(some).view(3, -1).detach().numpy()
        np.testing.assert_allclose(users[[1, 7, 20]] @ items.T, scores, rtol=1e-4, atol=1e-6)

    def test_a_map_of_lightgcn_beside_ours(self, checkpoints, train, tmp_path):
        files = (checkpoints[1], train("LightGCN", n_layers=2))
        assert run(*files, "--trust-pickle", "--user-ids", "u3,u8", "--out", tmp_path) == 0
        assert {row["checkpoint"] for row in table(tmp_path / "embedding-map.csv")} == {"POWERec", "LightGCN"}

    def test_models_of_other_scores_are_refused(self, train, capsys):
        assert run(train("NeuMF"), "--trust-pickle", "--user-ids", "u3") == 2
        assert "the scores of NeuMF are no dot products of user and item vectors" in capsys.readouterr().err

    def test_ids_stay_within_the_picture(self):
        """The stars at the corners, with ids as long as a data set's."""
        corners = np.array([[-9.0, -9], [9, -9], [-9, 9], [9, 9]])
        users = [f"A{number}FGHIJKLMNOPQ" for number in range(4)]
        places = {str(number): point / 2 for number, point in enumerate(corners)}
        figure = map_figure([UserMap("one", users, [["0"], ["1"], ["2"], ["3"]], corners, places)])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        (axis,) = figure.axes
        inside = axis.get_window_extent()
        for text in axis.texts:
            box = text.get_window_extent()
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        title, panel = figure._suptitle.get_window_extent(), axis.title.get_window_extent()
        assert title.y0 >= panel.y1

    def test_too_few_points(self):
        with pytest.raises(ValueError, match="there are 3 with 2"):
            tsne(np.eye(3, 2), seed=0)

    def test_embeddings_that_are_not_finite(self, checkpoints):
        opened = open_checkpoint(checkpoints[1])
        opened.model.item_embedding.data[3] = np.nan
        with pytest.raises(ValueError, match="embeddings that are not finite"):
            embeddings(opened)


class TestDensity:
    def test_table_of_items_places_them_on_the_circle(self, written, opened):
        rows = table(written / "embedding-items.csv")
        assert len(rows) == 2 * 30
        columns = ("component_1", "component_2", "circle_x", "circle_y", "angle")
        values = np.array([[float(row[key]) for key in columns] for row in rows])
        np.testing.assert_allclose(np.hypot(*values[:, 2:4].T), 1, rtol=1e-5)  # six digits
        np.testing.assert_allclose(np.arctan2(values[:, 1], values[:, 0]), values[:, 4], rtol=1e-4)
        items = embeddings(opened[0])[1][1:]
        expected = principal_components(items)
        np.testing.assert_allclose(values[:30, :2], expected, rtol=1e-4, atol=1e-7)

    def test_principal_components_are_those_of_the_singular_value_decomposition(self):
        vectors = np.random.default_rng(0).standard_normal((20, 5)) * [3, 1, 1, 2, 1] + 4
        left, singular, _ = np.linalg.svd(vectors - vectors.mean(axis=0))
        components = principal_components(vectors)
        np.testing.assert_allclose(np.abs(components), np.abs(left[:, :2] * singular[:2]), rtol=1e-9)
        np.testing.assert_allclose(principal_components(vectors[:, ::-1]), components, rtol=1e-9)

    def test_plane_density_is_a_sum_of_gaussians(self):
        points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
        covariance = np.cov(points.T) * (4 ** (-1 / 6)) ** 2  # Scott: n^(-1/(d + 4))
        y, x = 30, 11
        offsets = np.array([GRID[x], GRID[y]]) - points
        kernels = np.exp(-0.5 * np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(covariance), offsets))
        expected = kernels.mean() / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
        np.testing.assert_allclose(plane_density(points)[y, x], expected, rtol=1e-9)

    def test_angle_density_closes_around_the_circle(self):
        angles = np.random.default_rng(0).vonmises(0, 3, 200)
        density = angle_density(angles)
        np.testing.assert_allclose(density[:-1].sum() * (ANGLES[1] - ANGLES[0]), 1, rtol=1e-6)
        np.testing.assert_allclose(density[0], density[-1], rtol=1e-9)
        turned = angle_density(angles + ANGLES[300] - ANGLES[0])  # the cut is now amid the points
        np.testing.assert_allclose(turned[:-1], np.roll(density[:-1], 300), rtol=1e-6, atol=1e-12)

    def test_tables_hold_the_densities(self, written, opened):
        density = ItemDensity.of(embeddings(opened[1])[1][1:], np.arange(30), "x")
        for name, expected in (("density", density.plane), ("angle-density", density.angle)):
            rows = table(written / f"embedding-{name}.csv")
            values = [float(row["density"]) for row in rows if row["checkpoint"] == LABELS[1]]
            np.testing.assert_allclose(values, expected.ravel(), rtol=1e-5, atol=1e-12)  # six digits

    def test_axes_of_the_figure_are_named(self):
        vectors = np.random.default_rng(0).standard_normal((9, 4))
        figure = density_figure([ItemDensity.of(vectors, np.arange(9), "mine")])
        upper, lower, _ = figure.axes
        assert (upper.get_xlabel(), upper.get_ylabel()) == ("component 1", "component 2")
        assert (lower.get_xlabel(), lower.get_ylabel()) == ("angle in radians", "density")
        assert "principal components" in figure.get_suptitle()

    @pytest.mark.parametrize("vectors", [np.ones((9, 4)), np.outer(np.arange(9.0), [1, 2]), np.eye(9)[:, :1]])
    def test_items_on_a_line_have_none(self, vectors):
        with pytest.raises(ValueError, match="vectors of mine lie on a line or in a point"):
            ItemDensity.of(vectors, np.arange(9), "mine")


def test_progress_is_shown_once_it_takes_long(capsys):
    with _progress("quick", after=30):
        pass
    with _progress("slow", after=0.01):
        time.sleep(0.1)
    shown = capsys.readouterr().err
    assert "slow: 00:00" in shown
    assert "quick" not in shown
