"""``report CHECKPOINT ...``: one page of single trained models, with examples, from files that open safely."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recbole_mm.__main__ import main
from recbole_mm.experiment.checkpoint_report import write_checkpoint_report
from recbole_mm.experiment.examples import parse_users
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from tests.browser import Browser

MODELS = {
    "POWERec": {},  # a rating per modality
    "LayerGCN": {"metrics": ["Recall", "MRR"], "topk": [3], "valid_metric": "Recall@3"},  # none, and other metrics
    "MARGO": {"backbone": "POWERec", "two_stage": False},  # ratings with weights of items
}
FEW = {**PRE_SPLIT, "epochs": 8, "learning_rate": 0.01, "topk": [5], "metrics": ["Recall", "NDCG"],
       "valid_metric": "Recall@5", "embedding_size": 8, "gpu_id": ""}  # fmt: skip


def train(model: str, folder: Path, dataset: str = "toy", **settings) -> str:
    run = start(model, folder, dataset, **{**FEW, "checkpoint_dir": str(folder / "saved" / model), **settings})
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    return trainer.saved_model_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("report"), {"visual": 6, "textual": 4})
    lines = ["item_id:token\ttitle:token_seq\tplot:token_seq"]
    lines += [f"i{number}\t<b>Title</b> {number}\tA plot of {number}" for number in range(30)]
    (folder / "toy" / "toy.item").write_text("\n".join(lines) + "\n")
    images = folder / "toy" / "images"
    images.mkdir()
    for number in range(30):
        Image.new("RGB", (300, 150), (8 * number, 200, 30)).save(images / f"i{number}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoints(folder) -> dict[str, str]:
    return {model: train(model, folder, **own) for model, own in MODELS.items()}


@pytest.fixture(scope="module")
def page(checkpoints, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("page") / "out"
    given = [checkpoints[model] for model in MODELS]
    assert main(["report", *given, "--fields", "title,plot", "--users", "3", "--out", str(out)]) == 0
    return (out / "report.html").read_text()


def test_the_page_is_one_file_and_shows_texts_as_they_are(page):
    assert not re.search(r"""(src|href)=["'](?!data:image/|tables/|figures/)""", page)
    assert "<b>Title" not in page and "&lt;b&gt;Title&lt;/b&gt; 3" in page and "A plot of 3" in page
    assert page.count("<h4>User ") == 3
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert {Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures} == {(96, 48)}


def test_all_are_tested_in_the_metrics_of_any(page):
    columns = re.findall(r"<th>(\w+@\d)</th>", page)
    assert columns == [f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in (3, 5)]


def test_lists_are_the_models_own_and_what_they_find_is_marked(folder, checkpoints, tmp_path):
    opened = open_checkpoint(checkpoints["POWERec"])
    user = str(opened.dataset.id2token("user_id", int(opened.test_data.uid_list[0])))
    text = write_checkpoint_report([opened], tmp_path / "out", [user])[0].read_text()
    history, held_out, listed = _columns(text)
    rows = {name: pd.read_csv(folder / "toy" / f"toy.{name}.inter", sep="\t", dtype=str) for name in _SPLITS}
    own = {name: list(table["item_id:token"][table["user_id:token"] == user]) for name, table in rows.items()}
    assert [item for item, _ in history] == own["train"][-10:] and [item for item, _ in held_out] == own["test"]
    assert not any(marked for _, marked in history + held_out)
    scores = opened.model.full_sort_predict({"user_id": torch.tensor([int(opened.test_data.uid_list[0])])})
    ids = [str(opened.dataset.id2token("item_id", int(item))) for item in scores.argsort(descending=True)[:-1]]
    best = [item for item in ids if item not in own["train"] + own["valid"]][:5]
    assert listed == [(item, item in own["test"]) for item in best]


_SPLITS = ("train", "valid", "test")


def _columns(page: str) -> list[list[tuple[str, bool]]]:
    """Items of the one example's columns, and whether each is marked as found; the title's number is the id's."""
    (table,) = re.findall(r'<table class="example">.*?</table>', page, flags=re.DOTALL)
    card = re.compile(r'<div class="card( held-out)?">.*?Title&lt;/b&gt; (\d+)', flags=re.DOTALL)
    cells = re.findall(r"<td>(.*?)</td>", table, flags=re.DOTALL)
    return [[(f"i{number}", bool(marked)) for marked, number in card.findall(cell)] for cell in cells]


@pytest.mark.parametrize("model", ["POWERec", "MARGO"])
@torch.no_grad()
def test_parts_of_a_score_add_up_to_it(checkpoints, model):
    opened = open_checkpoint(checkpoints[model])
    assert (model == "MARGO") == (opened.model.item_weights() is not None)
    users, items = (torch.arange(1, 20), torch.arange(20, 1, -1))
    parts = opened.model.score_parts(users, items)
    assert parts.shape == (19, len(opened.model.rated_modalities)) and len(parts[0]) > 1
    torch.testing.assert_close(parts.sum(dim=1), opened.model.predict({"user_id": users, "item_id": items}))


def test_shares_stand_where_the_model_has_them(page):
    (example, *_) = re.findall(r'<table class="example">.*?</table>', page, flags=re.DOTALL)
    cells = re.findall(r"<td>(.*?)</td>", example, flags=re.DOTALL)
    found = [re.findall(r"<small>\w+ -?\d+%, .*?</small>", cell) for cell in cells]
    assert [len(captions) for captions in found] == [0, 0, 5, 0, 5]  # history, held out, POWERec, LayerGCN, MARGO
    for caption in found[2]:
        shares = [abs(int(text)) for text in re.findall(r"(-?\d+)%", caption)]
        assert sum(shares) == pytest.approx(100, abs=len(shares))


def test_difference_and_interval_by_hand(checkpoints, tmp_path):
    opened = [open_checkpoint(checkpoints[model]) for model in ("POWERec", "LayerGCN")]
    write_checkpoint_report(opened, tmp_path / "out")
    tables = tmp_path / "out" / "tables"
    test = pd.read_csv(tables / "toy-test.csv").set_index("row")
    own = pd.read_csv(tables / "toy-POWERec.csv").iloc[0]
    difference = test["recall@5"]["LayerGCN"] - test["recall@5"]["POWERec"]
    assert float(own["difference of recall@5"].split()[0]) == pytest.approx(difference, abs=2e-4)
    low, high = (float(text) for text in re.findall(r"\d\.\d+", test["interval of recall@5"]["POWERec"]))
    assert low < test["recall@5"]["POWERec"] < high


@pytest.fixture(scope="module")
def others(folder, checkpoints) -> dict[str, str]:
    """A checkpoint of another data set, one of another split, and a pickle without its safe pair."""
    write_planted(folder, {"visual": 6, "textual": 4}, name="other")
    pickle = folder / "alone.pth"
    shutil.copy(checkpoints["LayerGCN"], pickle)
    return {
        **checkpoints,
        "other": train("LayerGCN", folder, "other"),
        "pickle": str(pickle),
        "folder": str(folder),
    }


@pytest.mark.parametrize(
    "given, message",
    [
        (["{LayerGCN}", "{other}"], "is of data set 'other', and .* 'toy'; one report is of one data set"),
        (["{LayerGCN}", "{LayerGCN}"], "is given twice"),
        (["{LayerGCN}", "--users=nobody,"], "--users: toy has no user 'nobody'.* with held-out items"),
        (["{LayerGCN}", "--users=0"], "--users: 0 must be at least 1"),
        (["{LayerGCN}", "--users=,"], "--users: ',' names no user"),
        (["{LayerGCN}", "--fields=title,plott"], "--fields: the .item file of 'toy' has no field 'plott'; title, plot"),
        (["{LayerGCN}", "--images=nowhere"], "--images: there is no folder nowhere"),
        (["{LayerGCN}", "--compare_with=Layer"], r"--compare_with: there is no checkpoint 'Layer' \(did you mean"),
        (["{folder}", "{LayerGCN}"], "is a folder; give one experiment's alone, or files of checkpoints"),
        (["{pickle}"], "--trust-pickle"),
        (["nothing.pth"], "nothing.pth"),
    ],
)
def test_bad_input(others, given, message, capsys):
    assert main(["report", *(text.format(**others) for text in given)]) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])
    assert not Path("report").exists()


def test_unreadable_pictures_are_listed(folder, checkpoints, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(30):
        (images / f"i{number}.png").write_bytes(b"no picture")
    assert main(["report", checkpoints["LayerGCN"], "--images", str(images), "--users", "1"]) == 0
    out = capsys.readouterr().out
    named = set(re.search(r"unreadable pictures, left out: (.*)", out)[1].split(", "))
    text = Path("report/report.html").read_text()
    shown = {item for column in _columns(text) for item, _ in column}
    assert named == {f"{item}.png" for item in shown}
    assert all(name in html.unescape(text) for name in named) and "data:image/jpeg" not in text


@pytest.mark.parametrize("text, users", [("3", 3), ("3,", ["3"]), ("a, b,a", ["a", "b"])])
def test_users_by_number_or_id(text, users):
    assert parse_users(text) == users


def test_drawn_users_are_the_same_each_time(checkpoints, tmp_path):
    opened = [open_checkpoint(checkpoints["LayerGCN"])]
    pages = [write_checkpoint_report(opened, tmp_path / name, 2)[0].read_text() for name in "ab"]
    users = [re.findall(r"<h4>User (\w+)", text) for text in pages]
    assert users[0] == users[1] and len(np.unique(users[0])) == 2


def test_checkpoints_that_leave_other_items_out_of_their_lists_do_not_compare(folder, checkpoints, tmp_path, capsys):
    other = train("LayerGCN", folder, eval_history="train", checkpoint_dir=str(tmp_path / "other"))
    assert main(["report", checkpoints["LayerGCN"], other, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "eval_history: train and train_valid" in line and "do not compare" in line


def test_a_browser_shows_and_prints_the_pictures_of_all_lists(page, tmp_path):
    """Of 3 users in 3 models' lists of 5, and what the figures add; the cards' pictures are of (8 n, 200, 30)."""
    file, browser = tmp_path / "report.html", Browser(tmp_path)
    file.write_text(page)
    pixels = browser.pixels(file, height=6000).astype(int)
    is_poster = (abs(pixels[..., 1] - 200) < 6) & (abs(pixels[..., 2] - 30) < 12)
    assert is_poster.mean() > 0.02
    assert browser.dom(file).count("<img") == page.count("<img") >= 3 * 3 * 5
    printed = browser.printed(file)
    assert printed.count("A plot of") == page.count("A plot of") and printed.count("User ") >= 3
