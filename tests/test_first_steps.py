"""docs/first-steps.md: its tables with more rows and a folder of pictures, through its four commands as they stand."""

from __future__ import annotations

import base64
import csv
import datetime
import glob
import html
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer

import recbole_mm_command
from recbole_mm.data.feature_file import read_features
from recbole_mm.encoder import load_image_encoder, open_picture
from recbole_mm.io.tables import read_table
from recbole_mm.load import open_checkpoint
from tests.test_docs import README, ROOT, fenced

PAGE = ROOT / "docs" / "first-steps.md"
TABLES = fenced(PAGE, "csv")
COMMANDS = fenced(PAGE)[0].splitlines()
N_PRODUCTS = 24
NAMES = ["Müsli, 500 g", '5" Pizza', "null", "Smørrebrød", "L'eau", "Reis; lang"]
CUSTOMERS = ["Çelik", "García, José", "von der Au, Ida", "Zoë", "Dvořák", "Łukasz", "Þór", "None", "007", "Ng"]
NO_PICTURE, NO_TEXT = "P005", "P009"


def rows_of(table: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table)))[1:]


def products() -> list[list[str]]:
    """Those of the page, and more: even and odd ones are two kinds."""
    made = rows_of(TABLES[1])
    for number in range(len(made), N_PRODUCTS):
        name = f"{NAMES[number % len(NAMES)]} {number}"
        kind = ("vom Hof, mild", "aus Kräutern, kalt")[number % 2]
        made.append([f"P{number:03}", name, f'{kind} "frisch"', "" if number % 5 == 0 else "Bäcker & Söhne"])
    made[9][1:] = ["", "", ""]
    return made


def purchases() -> list[list[str]]:
    """Those of the page, and more: each customer buys of one kind alone."""
    made, random = rows_of(TABLES[0]), np.random.default_rng(0)
    for place in range(40):
        customer = f"{CUSTOMERS[place % len(CUSTOMERS)]} {place}"
        for month, number in enumerate(random.permutation(np.arange(place % 2, N_PRODUCTS, 2))[:9], 1):
            made.append(
                [customer, f"P{number:03}", str(3 + month % 3), f"2024-{month:02}-0{place % 9 + 1} 10:00:{place:02}"]
            )
    return made


def color(product: str) -> tuple[int, int, int]:
    """Of its picture: a hue for each kind, and every product its own green."""
    number = int(product[1:])
    return (200 * (number % 2), 10 * number, 200 - 200 * (number % 2))


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """A folder in which the four commands were typed."""
    folder = tmp_path_factory.mktemp("first steps")
    for name, table, rows in (("purchases", TABLES[0], purchases()), ("products", TABLES[1], products())):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([table.splitlines()[0].split(","), *rows])
    (folder / "pictures").mkdir()
    for product, *_ in products():
        if product != NO_PICTURE:
            Image.new("RGB", (60, 40), color(product)).save(folder / "pictures" / f"{product}.jpg", quality=95)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["recbole-mm"])
        for command in COMMANDS:
            program, *words = shlex.split(command)
            words = [path for word in words for path in (glob.glob(word) if "*" in word else [word])]
            assert program == "recbole-mm" and recbole_mm_command.main(words) == 0, command
    return folder


def test_they_are_four():
    assert [command.split()[1] for command in COMMANDS] == ["convert", "extract", "run", "report"]
    assert "\n".join(COMMANDS) + "\n" in fenced(README)


def test_every_purchase_and_text_is_that_of_the_csv(shop):
    table = read_table(shop / "dataset_atomic" / "shop" / "shop.inter")
    expected = [
        [user, item, float(stars), datetime.datetime.fromisoformat(f"{date}+00:00").timestamp()]
        for user, item, stars, date in purchases()
    ]
    columns = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    found = zip(*(table[name] for name in columns), strict=True)
    assert [[user, item, float(rating), float(time)] for user, item, rating, time in found] == expected
    texts = read_table(shop / "dataset_atomic" / "shop" / "shop.item")
    assert texts.values.tolist() == [[cell.replace("\n", " ") for cell in row] for row in products()]


def test_features_are_of_each_products_own_picture_and_text(shop):
    folder = shop / "dataset_atomic" / "shop"
    visual, textual = (read_features(folder, "shop", name) for name in ("visual", "textual"))
    ids = [product for product, *_ in products()]
    assert sorted(visual.ids) == [item for item in ids if item != NO_PICTURE]
    assert sorted(textual.ids) == [item for item in ids if item != NO_TEXT]
    encoder = load_image_encoder("histograms")
    for product, row in zip(visual.ids, visual.values, strict=True):
        alone = encoder([open_picture(shop / "pictures" / f"{product}.jpg")])
        np.testing.assert_array_equal(row, alone[0].numpy())
    texts = {product: " ".join(cells) for product, *cells in products()}
    weights = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform([texts[item] for item in textual.ids])
    np.testing.assert_allclose(textual.values @ textual.values.T, (weights @ weights.T).toarray(), atol=1e-5)
    opened = open_checkpoint(
        glob.glob(str(shop / "saved" / "FREEDOM-*.pth"))[0], data_path=str(shop / "dataset_atomic")
    )
    dataset = opened.dataset
    for name, table in (("visual", visual), ("textual", textual)):
        numbers = dataset.token2id("item_id", table.ids)
        np.testing.assert_array_equal(dataset.modality_feature(name)[numbers].numpy(), table.values)


def test_what_comes_then_goes_on_from_there(shop, monkeypatch, capsys):
    monkeypatch.chdir(shop)
    (checkpoint,) = glob.glob("saved/FREEDOM-*.pth")
    for command in fenced(PAGE)[1].splitlines():
        program, *words = shlex.split(command.replace("CHECKPOINT", checkpoint))
        assert program == "recbole-mm" and recbole_mm_command.main(words) == 0, command
    shown = capsys.readouterr()
    assert "users         43" in shown.out and "changes nothing" not in shown.out + shown.err
    assert pd.read_parquet("recs.parquet").groupby("user").size().eq(5).all()
    assert Path("analysis/feature-drift.png").is_file()


def test_the_model_has_learned_which_kind_a_customer_buys(shop):
    text = (shop / "report" / "tables" / "shop-test.csv").read_text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert float(row["recall@10"]) > 0.85  # 12 of a kind, of which 7 or 8 are known; 10 drawn of 16 would find .63


def test_the_page_shows_each_product_by_its_name_and_picture(shop):
    page = (shop / "report" / "report.html").read_text(encoding="utf-8")
    cards = re.findall(r'<div class="card[^"]*">(.*?)</div>', page, flags=re.DOTALL)
    names = {" ".join(row[1].split()) or row[0]: row[0] for row in products()}
    seen = set()
    for card in cards:
        title = re.sub(r"^(\d+\. )?(✓ )?", "", html.unescape(re.sub(r"<[^>]*>", "", card)).strip().splitlines()[0])
        product = names[title]
        pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', card)
        if product == NO_PICTURE:
            assert not pictures
            continue
        (picture,) = pictures
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), dtype=float)
        assert abs(shown.mean(axis=(0, 1)) - color(product)).max() < 4
        seen.add(product)
    assert len(seen) > N_PRODUCTS // 2 and len(re.findall("<h4>User ", page)) == 5
