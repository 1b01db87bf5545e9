"""Kind: data sets as they are published, a few rows of each in its files' form, through `convert auto raw`."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pyarrow as pa

from tests.data.field.tables import PAIRS, Table, parquet


def rows(row: Any) -> str:
    return "".join(row(user, item, place) + "\n" for place, (user, item) in enumerate(PAIRS))


def objects(make: Any, dump: Any = json.dumps) -> str:
    return rows(lambda user, item, place: dump(make(user, item, place)))


def download(what: str, outcome: str, files: dict[str, str | bytes], expected=None, **more: Any) -> Table:
    stored = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    return Table(what, outcome, b"", expected, folder=stored, **more)


def wanted(*further: tuple[str, list[str]], item: list[list[str]] | None = None) -> dict[str, Any]:
    """The interactions with further columns, and the `.item`."""
    head = ["user_id:token", "item_id:token", *(f"{name}:float" for name, _ in further)]
    cells = [[*pair, *(texts[place] for _, texts in further)] for place, pair in enumerate(PAIRS)]
    return {"inter": [head, *cells], **({} if item is None else {"item": item})}


N = [str(place) for place in range(5)]
SECONDS = [str(1469845000 + place) for place in range(5)]
MOVIES = 'movieId,title,genres\n0,"President, The (1995)",Comedy|Drama\n1,Se7en (1995),Crime\n2,"""X"" (1990)",(no genres listed)\n'
TITLED = [["item_id:token", "title:token_seq", "genres:token_seq"], ["0", "President, The (1995)", "Comedy|Drama"],
          ["1", "Se7en (1995)", "Crime"], ["2", '"X" (1990)', "(no genres listed)"]]  # fmt: skip
RATINGS = "userId,movieId,rating,timestamp\n" + rows(lambda u, i, n: f"{u},{i},{n},{SECONDS[n]}")
PLAIN = "user,item\n" + rows("{},{}".format)
COPIES = "give the one that is meant with --interactions FILE, or name parts of one with a number each"
SEVERAL = "raw holds several tables of interactions which may be copies of one another: {}; " + COPIES
DIFFERENT = "raw holds several tables of interactions with different columns: {}; give the one that is meant with --interactions FILE"
RATED = (("rating", N), ("timestamp", SECONDS))
LISTS = pa.table({"uid": [0, 1], "item_id": [[0, 2], [1]], "timestamp": [[5, 10], [15]]})
EMBEDDED = pa.table({"item_id": [0, 1, 2], "embed": [[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]]})
FLAT = pa.table({"uid": [int(u) for u, _ in PAIRS], "timestamp": [5 * n for n in range(5)], "item_id": [int(i) for _, i in PAIRS]})
LIKES = {**wanted(("timestamp", ["0", "5", "10", "15", "20"])), "embed": {"0": [0.5, 1], "1": [2, 3], "2": [4, 5]}}

DOWNLOADS = [
    download("MovieLens 25M's `ratings.csv` and `movies.csv`", "its ratings, times and titles",
             {"ratings.csv": RATINGS, "movies.csv": MOVIES}, wanted(*RATED, item=TITLED)),
    download("MovieLens 25M's folder with `tags.csv`", DIFFERENT.format("ratings.csv, tags.csv"),
             {"ratings.csv": RATINGS, "movies.csv": MOVIES, "tags.csv": "userId,movieId,tag,timestamp\n0,1,funny,5\n"}),
    download("the same with `--interactions raw/ratings.csv --items raw/movies.csv`", "its ratings, times and titles",
             {"ratings.csv": RATINGS, "movies.csv": MOVIES, "tags.csv": "userId,movieId,tag,timestamp\n0,1,funny,5\n"},
             wanted(*RATED, item=TITLED), words=("--interactions", "raw/ratings.csv", "--items", "raw/movies.csv"),
             said="not read: tags.csv"),
    download("Goodreads' objects a line, packed, with its dates", "its ratings, times and titles",
             {"goodreads_interactions_poetry.json.gz": gzip.compress(objects(lambda u, i, n: {
                 "user_id": u, "book_id": i, "is_read": True, "rating": n,
                 "date_added": f"Fri Jul 29 19:16:4{n} -0700 2016"}).encode()),
              "goodreads_books_poetry.json.gz": gzip.compress(b'{"book_id": "0", "title": "A"}\n{"title": "B", "book_id": "2"}\n')},
             wanted(("rating", N), ("timestamp", [str(1469845000 + n) for n in range(5)]),
                    item=[["item_id:token", "title:token_seq"], ["0", "A"], ["2", "B"]])),
    download("Amazon 2018's `All_Beauty_5.json.gz` and its metadata", "its ratings, times and texts",
             {"All_Beauty_5.json.gz": gzip.compress(objects(lambda u, i, n: {
                 "overall": float(n), "reviewerID": u, "asin": i, "reviewTime": "05 1, 2014", "unixReviewTime": int(SECONDS[n])
             }).encode()),
              "meta_All_Beauty.json.gz": gzip.compress(b'{"asin": "0", "title": "A", "description": ["x", "y"]}\n{"asin": "1"}\n')},
             wanted(("rating", [f"{n}.0" for n in N]), ("timestamp", SECONDS),
                    item=[["item_id:token", "title:token_seq", "description:token_seq"], ["0", "A", "x y"], ["1", "", ""]])),
    download("Amazon 2018's ratings without a header, item first", "users and items as they are",
             {"All_Beauty.csv": "B00004U9V2,A1TPOYZVT6UEFS,5.0,1463505600\n0123456789,A1TPOYZVT6UEFA,4.0,1463505601\n"},
             {"inter": [["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
                        ["A1TPOYZVT6UEFS", "B00004U9V2", "5.0", "1463505600"],
                        ["A1TPOYZVT6UEFA", "0123456789", "4.0", "1463505601"]]},
             file="All_Beauty.csv"),
    download("Steam's Python dictionaries", "its users, products and dates",
             {"steam_reviews.json": objects(lambda u, i, n: {"username": u, "product_id": i, "date": f"2017-12-1{n}", "text": "ü"}, repr)},
             wanted(("timestamp", [str(1512864000 + 86400 * n) for n in range(5)]))),
    download("Steam's reviews within users", "raw/r.json, line 1: no column looks like the item; the columns are user_id, "
             "reviews: say which it is with --item COLUMN",
             {"r.json": "{'user_id': 'u0', 'reviews': [{'item_id': 'i0', 'recommend': True}]}\n"}, words=("--user", "user_id"), layout="table"),
    download("code in a dictionary's place", "raw/r.json, line 1: no JSON object (nor a Python dictionary of plain values; code is not "
             "run); correct or delete it", {"r.json": "{'user_id': print(1)}\n"}, layout="table"),
    download("Yelp's reviews and businesses", "its stars, dates and names",
             {"review.json": objects(lambda u, i, n: {"review_id": "r", "user_id": u, "business_id": i, "stars": n, "date": f"2018-07-07 22:09:1{n}", "text": "a\nb"}),
              "business.json": '{"business_id": "0", "name": "A", "hours": {"Monday": "8:0-9:0"}}\n'},
             wanted(("rating", N), ("timestamp", [str(1531001350 + n) for n in range(5)]),
                    item=[["item_id:token", "name:token_seq", "hours:token_seq"], ["0", "A", '{"Monday": "8:0-9:0"}']])),
    download("numbers of 20 digits and vectors in objects", "the file's digits, and a modality",
             {"r.jsonl": objects(lambda u, i, n: {"user": u, "item": i, "rating": 0.1 + n}),
              "i.jsonl": '{"item": 0, "taste": [0.5, 1e-3]}\n{"item": 12345678901234567890}\n{"item": 2, "taste": null}\n'},
             {**wanted(("rating", ["0.1", "1.1", "2.1", "3.1", "4.1"])), "taste": {"0": [0.5, 1e-3]}}),
    download("one JSON array", "raw/r.json is one JSON array; write an object a line, such as with jq -c '.[]'", {"r.json": "[]"}, layout="table"),
    download("a line that is cut short", 'raw/r.json, line 2: no JSON object (nor a Python dictionary of plain values; code is not run); '
             "correct or delete it", {"r.json": '{"user": "a", "item": "b"}\n{"user": "a", "it'}),
    download("Book-Crossing's semicolons and marks", "its ratings",
             {"BX-Book-Ratings.csv": '"User-ID";"ISBN";"Book-Rating"\n' + rows('"{}";"{}";"{}"'.format)}, wanted(("rating", N))),
    download("Book-Crossing's titles in latin-1", "raw/BX-Books.csv, line 2, byte 21: not UTF-8 text (invalid start byte); save the file as UTF-8",
             {"BX-Book-Ratings.csv": '"User-ID";"ISBN";"Book-Rating"\n' + rows('"{}";"{}";"{}"'.format),
              "BX-Books.csv": '"ISBN";"Title"\n"0";"M\xfcller"\n'.encode("latin-1")}),
    download("Book-Crossing's marks behind backslashes", "raw/BX-Books.csv, line 2: a quotation mark is opened here and does not end a "
             "cell; double the marks inside a cell, and put marks around it",
             {"BX-Book-Ratings.csv": '"User-ID";"ISBN";"Book-Rating"\n' + rows('"{}";"{}";"{}"'.format),
              "BX-Books.csv": '"ISBN";"Title";"Author"\n"0";"The \\"X\\"";"a"\n'}),
    download("H&M's transactions and articles", "its dates, ids with their zeros, and texts",
             {"transactions_train.csv": "t_dat,customer_id,article_id,price\n" + rows(lambda u, i, n: f"2018-09-2{n},{u},066{i},0.05"),
              "articles.csv": 'article_id,detail_desc\n0660,"Jersey, top"\n',
              "sample_submission.csv": "customer_id,prediction\n0,0660 0661\n"},
             {"inter": [["user_id:token", "item_id:token", "timestamp:float"],
                        *([u, f"066{i}", str(1537401600 + 86400 * n)] for n, (u, i) in enumerate(PAIRS))],
              "item": [["item_id:token", "detail_desc:token_seq"], ["0660", "Jersey, top"]]}, said="not read: sample_submission.csv"),
    download("KuaiRec's big and small matrix", SEVERAL.format("big_matrix.csv, small_matrix.csv"), {"big_matrix.csv": PLAIN, "small_matrix.csv": PLAIN}),
    download("Tenrec's clicks", "its users and items", {"ctr_data_1M.csv": "user_id,item_id,click,like,gender\n" + rows("{},{},1,0,{}".format)},
             wanted(), said="not read: click, like, gender"),
    download("Yambda's likes and embeddings", "its times, and a modality", {"likes.parquet": parquet(FLAT), "embeddings.parquet": parquet(EMBEDDED)}, LIKES),
    download("Yambda's lists of a user", "raw/likes.parquet, row 1: the item ids are list<element: int64>; ids are texts or integers: give each a row of its own",
             {"likes.parquet": parquet(LISTS)}),
    download("Last.fm 1K without a header, named by place", "its times", {"t.tsv": rows(lambda u, i, n: f"{u}\t2009-05-04T23:08:5{n}Z\tx\tDeep Dish\t\t{i}")},
             wanted(("timestamp", [str(1241478530 + n) for n in range(5)])), words=("--user", "1", "--item", "6", "--time", "2"), file="t.tsv"),
    download("Last.fm 360K, whose third column is a name", "raw/t.tsv, line 1: the rating is 'name', which is no number; correct it, or leave the "
             "column out with --rating none", {"t.tsv": rows("{}\t{}\tname\t{}".format)}, file="t.tsv"),
    download("Netflix's films", "raw/combined_data_1.txt, line 1: no column looks like the user and the item; found 1:: in Netflix's form a line is "
             "not an interaction; write lines of user,item,rating,date", {"combined_data_1.txt": "1:\n1488844,3,2005-09-06\n"}, file="combined_data_1.txt"),
    download("MIND's logs", "raw/behaviors.tsv, line 1: no column looks like the user and the item; found 0, u0, 11/11/2019 9:05:58 AM, N1 N2, N3-1 N4-0: "
             "say which they are with --user COLUMN --item COLUMN, of a file without a header by their places, such as --user 1 --item 2",
             {"behaviors.tsv": "0\tu0\t11/11/2019 9:05:58 AM\tN1 N2\tN3-1 N4-0\n"}, file="behaviors.tsv"),
    download("pickles", "raw/pinterest.pkl is no table; load it where you trust it, and save a row for each interaction as CSV or Parquet",
             {"pinterest.pkl": b"\x80\x04N."}, file="pinterest.pkl"),
    *(download(f"`ratings.csv` and `{name}`", SEVERAL.format(", ".join(sorted(["ratings.csv", name]))), {"ratings.csv": PLAIN, name: content})
      for name, content in {"ratings_old.csv": PLAIN, "ratings (1).csv": PLAIN, "Kopie von ratings.csv": PLAIN,
                            "ratings.csv.gz": gzip.compress(PLAIN.encode())}.items()),
    download("`train.csv` and `train_old.csv` beside other splits", SEVERAL.format("train.csv, train_old.csv"),
             {"train.csv": PLAIN, "train_old.csv": PLAIN, "valid.csv": PLAIN, "test.csv": PLAIN}),
    download("parts with numbers", "one table", {"part-00000.csv": PLAIN, "part-00001.csv": "user,item\n7,7\n"},
             {"inter": [*wanted()["inter"], ["7", "7"]]}),
]  # fmt: skip
