"""`python -m recbole_mm recommend`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray.data  # noqa: F401  its absence would fail the job's tests late
import torch
from ray import tune

from recbole_mm.__main__ import main
from recbole_mm.load import open_checkpoint
from recbole_mm.recommend.ranking import Ranker


def recommend(file: str, *more: str) -> pd.DataFrame:
    assert main(["recommend", file, "--out", "recs.parquet", *more]) == 0
    return pd.read_parquet("recs.parquet")


def refused(capsys, *arguments: str) -> str:
    assert main(["recommend", *arguments]) == 2
    return capsys.readouterr().err.splitlines()[-1].removeprefix("error: ")


def expected(opened, k: int, without_seen: bool) -> dict[str, list[tuple[str, float]]]:
    """Per user the best items and scores, from the model's scores by plain sorting."""
    dataset = opened.dataset
    with torch.no_grad():
        users = {"user_id": torch.arange(dataset.user_num)}
        scores = opened.model.full_sort_predict(users).view(-1, dataset.item_num).numpy().copy()
    seen = set(zip(dataset.inter_feat["user_id"].tolist(), dataset.inter_feat["item_id"].tolist(), strict=True))
    ranking = {}
    for user in range(1, dataset.user_num):
        items = [item for item in range(1, dataset.item_num) if not (without_seen and (user, item) in seen)]
        items = sorted(items, key=lambda item: -scores[user, item])[:k]
        tokens = dataset.id2token("item_id", items)
        ranking[dataset.id2token("user_id", user)] = list(zip(tokens, scores[user, items], strict=True))
    return ranking


def assert_ranks(table: pd.DataFrame, ranking: dict[str, list[tuple[str, float]]]) -> None:
    assert list(dict.fromkeys(table["user"])) == list(ranking)
    for user, rows in table.groupby("user"):
        assert rows["rank"].tolist() == list(range(1, len(ranking[user]) + 1))
        assert rows["item"].tolist() == [item for item, _ in ranking[user]]
        # one is a product of a block of users, the other of all: float32 rounding of sums of a few dozen terms
        np.testing.assert_allclose(rows["score"], [score for _, score in ranking[user]], rtol=1e-5, atol=1e-6)


def test_scores_that_overflow_are_refused_and_not_left_out(checkpoint):
    """Finite weights whose products are not."""
    opened = open_checkpoint(checkpoint("BM3"))
    with torch.no_grad():
        for value in opened.model.parameters():
            value.fill_(3e38)
    with pytest.raises(ValueError, match="scores of user '.*' are not finite; train BM3 again"):
        Ranker(opened, 3, exclude_seen=False).rank(np.array([1, 2]))


@pytest.mark.parametrize("model", ["POWERec", "MARGO", "BM3", "BPR", "LightGCN"])
def test_the_models_own_ranking_with_original_ids(checkpoint, opened, model):
    table = recommend(checkpoint(model), "--k=7", "--trust-pickle")
    assert list(table.columns) == ["user", "rank", "item", "score"]
    assert len(table) == 40 * 7
    assert_ranks(table, expected(opened(model), 7, without_seen=False))


def test_seen_items_are_left_out(checkpoint, opened):
    """A user has interacted with 11 of the 30 items, u39 with 3: fewer than 25 are left of most."""
    table = recommend(checkpoint("POWERec"), "--k=25", "--exclude=seen")
    ranking = expected(opened("POWERec"), 25, without_seen=True)
    assert {user: len(items) for user, items in ranking.items()} == {f"u{u}": 19 if u < 39 else 25 for u in range(40)}
    assert_ranks(table, ranking)


def test_some_users_in_the_order_of_the_file(checkpoint, opened):
    Path("users.txt").write_text("u7\n\nu3\nu7\nu39\n")
    table = recommend(checkpoint("POWERec"), "--k=3", "--users=users.txt")
    ranking = expected(opened("POWERec"), 3, without_seen=False)
    assert_ranks(table, {user: ranking[user] for user in ("u7", "u3", "u39")})


def test_blocks_bound_the_number_of_users_at_a_time(opened):
    """31 items with [PAD], 12 bytes each: 3720 bytes hold ten users."""
    ranker, users = Ranker(opened("POWERec"), 5), np.arange(1, 41)
    whole = next(ranker.blocks(users, 1 << 20))
    assert whole.num_rows == 200
    blocks = list(ranker.blocks(users, 3720))
    assert [block.num_rows for block in blocks] == [50] * 4
    assert [item for block in blocks for item in block["item"].to_pylist()] == whole["item"].to_pylist()
    assert len(list(ranker.blocks(users[:3], 1))) == 3


@pytest.mark.skipif(not hasattr(tune, "RunConfig"), reason="this ray is older than the job asks for")
def test_a_ray_data_job_gives_the_same_file(checkpoint, capsys):
    here = recommend(checkpoint("POWERec"), "--k=5", "--exclude=seen")
    there = recommend(checkpoint("POWERec"), "--k=5", "--exclude=seen", "--ray_address=local")
    pd.testing.assert_frame_equal(here, there)
    assert "200 rows of 40 users" in capsys.readouterr().out


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--k=0"], "--k and --block_mb must be at least 1"),
        (["--users=none.txt"], "--users: none.txt does not exist"),
        (["--users=wrong.txt"], "wrong.txt, line 2: user 'u99' is not in data set 'toy'"),
        (["--users=empty.txt"], "--users: empty.txt names no user; write one id a line"),
        (["--ray_address=127.0.0.1:1"], r"--ray_address: nothing answers at 127.0.0.1:1 \(.*"),
    ],
)
def test_bad_input_leaves_no_file(checkpoint, capsys, arguments, message):
    Path("wrong.txt").write_text("u1\nu99\n")
    Path("empty.txt").write_text("\n")
    assert re.fullmatch(message, refused(capsys, checkpoint("POWERec"), "--out=new/recs.parquet", *arguments))
    assert not list(Path("new").glob("*"))


@pytest.mark.parametrize("name", ["recs.csv", "RECS.CSV", "recs.pq", "recs"])
def test_the_form_is_that_of_the_name(checkpoint, name):
    in_parquet = recommend(checkpoint("VBPR"), "--k=5")
    assert main(["recommend", checkpoint("VBPR"), "--k=5", "--out", name]) == 0
    read = pd.read_csv(name) if name.lower().endswith("csv") else pd.read_parquet(name)
    pd.testing.assert_frame_equal(read, in_parquet, check_dtype=False)


@pytest.mark.parametrize("name", ["recs.xlsx", "recs.txt", "recs.parquet.zip"])
def test_another_form_is_refused(checkpoint, capsys, name):
    message = refused(capsys, checkpoint("VBPR"), "--out", name)
    assert message == f"--out: {name} is written as its name says; end it in .parquet or .csv"
    assert not Path(name).exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".json", ".pth"])
@pytest.mark.parametrize("form", ["same", "link", "roundabout"])
def test_a_file_of_the_checkpoint_is_not_written_over(checkpoint, capsys, tmp_path, suffix, form):
    file = Path(checkpoint("VBPR")).with_suffix(suffix)
    before = file.read_bytes()
    roundabout = file.parent / ".." / file.parent.name / file.name
    out = {"same": file, "link": tmp_path / "out", "roundabout": roundabout}[form]
    if form == "link":
        out.symlink_to(file)
    message = refused(capsys, str(file.with_suffix(".json")), "--out", str(out))
    assert message == f"--out: {out} is a file that this command reads; choose another name"
    assert file.read_bytes() == before


def test_the_list_of_users_is_not_written_over(checkpoint, capsys):
    Path("users.txt").write_text("u1\n")
    assert "users.txt is a file that this command reads" in refused(
        capsys, checkpoint("VBPR"), "--users=users.txt", "--out=users.txt"
    )
    assert Path("users.txt").read_text() == "u1\n"


def test_a_checkpoint_without_its_data(checkpoint, folder, capsys):
    file = checkpoint("POWERec")
    (folder / "toy").rename(folder / "moved")
    try:
        error = refused(capsys, file, "--out=recs.parquet")
    finally:
        (folder / "moved").rename(folder / "toy")
    assert error.startswith(f"checkpoint {file} was trained on data set 'toy', which is not in {folder} or ")
    assert "give --data_path the folder that toy/ is in now" in error


def test_data_path_names_the_folder_that_the_data_are_in_now(checkpoint, folder, tmp_path):
    here = recommend(checkpoint("POWERec"), "--k=5")
    (tmp_path / "moved").mkdir()
    (folder / "toy").rename(tmp_path / "moved" / "toy")
    try:
        there = recommend(checkpoint("POWERec"), "--k=5", f"--data_path={tmp_path / 'moved'}")
    finally:
        (tmp_path / "moved" / "toy").rename(folder / "toy")
    pd.testing.assert_frame_equal(here, there)


def test_a_bare_pickle_needs_trust(checkpoint, capsys):
    message = refused(capsys, checkpoint("BPR"), "--out=recs.parquet")
    assert "RecBole's own models have none: pass --trust-pickle to open" in message
    assert "restore" not in message  # there never was another file
