"""The report: what its tables mark, and a page that is one file, escapes what it shows and draws every figure."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

from recbole_mm.__main__ import main
from recbole_mm.experiment import plots, results
from recbole_mm.experiment.identity import row_name, run_name
from recbole_mm.experiment.latex import latex
from recbole_mm.experiment.record import CurvePoint, Record, RunResult
from recbole_mm.experiment.report import write_report
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.rows import label_of
from recbole_mm.experiment.sections import BEST, SECOND, SHOWN, TIED, Section, sections_of
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from tests.browser import Browser, n_colours

MARKUP = "<script>x</script> & 100%_of"
N_USERS, N_ITEMS, SEEDS = 200, 40, 3


def names(row: str, model: str, seed: int, sweep: dict | None = None, dataset: str = "toy") -> tuple[str, str]:
    """Of a run and its row, as a store calls them."""
    name = row_name(dataset, model, {"of": row, **(sweep or {})}, sweep)
    return run_name(name, seed), name


def result(row: str, label: str, seed: int, level: float, model: str = "", **more) -> RunResult:
    """A run whose users' metrics are around a level."""
    rng = np.random.default_rng([seed, *map(ord, row)])
    values = np.clip(rng.normal(level, 0.05, N_USERS), 0, 1)
    users = [f"u{number}" for number in range(N_USERS)]
    items = [[f"i{item}" for item in rng.permutation(N_ITEMS)[:5]] for _ in users]
    table = pd.DataFrame({"user": users, "recall@5": values, "ndcg@5": values / 2, "items": items})
    metrics = {"recall@5": values.mean(), "ndcg@5": values.mean() / 2}
    sweep = json.loads(more.get("sweep", "{}"))
    record = Record(
        *names(row, model or row, seed, sweep), "toy", label, model or row, seed, json.dumps({"of": row, **sweep}),
        chosen_by="NDCG@5", ended="stopped",
        best_epoch=3, epochs=5, seconds_per_epoch=level, seconds=9.0, peak_memory=500.0, parameters=10, valid=metrics,
        test=metrics, data="hash", versions={"torch": "2"}, hardware="here", **more,
    )  # fmt: skip
    curve = [CurvePoint("", epoch, "valid_ndcg@5", epoch / 10) for epoch in range(5)]
    data = {
        "items": pd.DataFrame({"item": [f"i{n}" for n in range(N_ITEMS)], "training_rows": range(N_ITEMS)}).assign(
            title=[f"<i>no. {n}" for n in range(N_ITEMS)]
        ),
        "train": pd.DataFrame({"user": np.repeat(users, 12), "item": [f"i{n % N_ITEMS}" for n in range(12 * N_USERS)]}),
        "users": pd.DataFrame({"user": users, "training_rows": range(N_USERS)}),
        "test": pd.DataFrame({"user": users, "item": [f"i{n % N_ITEMS}" for n in range(N_USERS)]}),
    }
    return RunResult(record, table, curve, data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three rows: the best, one like it, one that is worse and has markup in its label; sweeps of one key and two."""
    store, runs = Store(tmp_path_factory.mktemp("report") / "store"), []
    for row, label, level in (("good", "good", 0.61), ("same", "same", 0.61), ("bad", MARKUP, 0.4)):
        runs += [result(row, label, seed, level) for seed in range(SEEDS)]
    for number, sweep in enumerate([{"k": 1}, {"k": 2}, {"a": 1, "b": "x"}, {"a": 2, "b": "x"}]):
        model = "one" if len(sweep) == 1 else "two"
        runs.append(result(f"{model}{number}", model, 0, 0.5, model, sweep=json.dumps(sweep)))
    for seed in range(SEEDS):
        for modality, level in (("visual", 0.45), ("textual", 0.61)):
            audit = json.dumps({"row": "good", "modality": modality, "kind": "shuffle"})
            runs.append(result(f"good-{modality}", f"good, {modality} shuffle", seed, level, "good", audit=audit))
    error, failed = "ValueError: <b>no</b>", "failed"
    name = names(failed, failed, 1)
    runs.append(RunResult(Record(*name, "toy", failed, failed, 1, '{"of": "failed"}', ended="error", error=error)))
    for run in runs:
        store.add(run)
    store.write_tables([run.record.run for run in runs])
    return store.folder


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory) -> Path:
    """The report of a copy, with its rows compared with the one that has markup."""
    return write_report(shutil.copytree(folder, tmp_path_factory.mktemp("written") / "store"), [MARKUP])


def test_marks_follow_the_numbers(folder):
    headline = next(sections_of(DatasetResults(read_store(folder), "toy", [MARKUP])))
    rows = list(headline.table["row"])
    assert rows[2] == MARKUP and set(rows[:2]) == {"good", "same"}
    marks = [headline.marks.get((row, "ndcg@5"), set()) for row in range(3)]
    assert marks == [{BEST, SHOWN}, {SECOND, TIED, SHOWN}, set()]
    assert list(headline.table["verdict"]) == ["better", "better", ""]
    *others, itself = headline.table[["p", "p (Wilcoxon)", "effect"]].to_numpy().tolist()
    tables = read_store(folder)
    by_user = tables.per_user.merge(tables.runs[["run", "label"]]).groupby(["label", "user"])["ndcg@5"].mean().unstack()
    found = [by_user.T[row] - by_user.T[MARKUP] for row in rows[:2]]
    tests = [wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue for differences in found]
    corrected = multipletests(tests, method="holm")[1]
    for (p, p_ranks, effect), differences, expected in zip(others, found, corrected, strict=True):
        assert float(p) < 0.05 and float(p_ranks) == pytest.approx(expected, rel=0.05)
        assert float(effect) == pytest.approx(differences.mean() / differences.std(), abs=5e-4)
    assert itself == ["", "", ""]


def test_rows_and_sweeps_show_what_tells_of_a_collapse(folder, monkeypatch):
    """The epoch chosen, and how many places the ten most popular items, i30 to i39, take."""
    monkeypatch.setattr("recbole_mm.experiment.strata.MOST_POPULAR", 10)
    tables = read_store(folder)
    headline, sweep = (
        next(part for part in sections_of(results.DatasetResults(tables, "toy", ["good"])) if part.name == name).table
        for name in ("toy-good", "toy-sweep-one-k")
    )
    assert set(headline["best epoch"]) == set(sweep["best epoch"]) == {"3"}
    runs = [names("good", "good", seed)[0] for seed in range(SEEDS)]
    places = [item for run in runs for ranked in tables.lists_of(run) for item in ranked]
    share = sum(int(item[1:]) >= 30 for item in places) / len(places)
    assert 0.1 < share < 0.4
    assert headline["top share"][list(headline["row"]).index("good")] == f"{share:.0%}"
    assert all(value.endswith("%") for value in sweep["top share"])


@pytest.mark.parametrize(
    "values, shown",
    [
        ([0.1, 1, 0, 0.01], ["0", "0.01", "0.1", "1"]),
        ([10, 9, 100], ["9", "10", "100"]),
        (["literal", "BIN", "WSYM"], ["literal", "BIN", "WSYM"]),
        ([["visual"], ["textual", "visual"]], ["visual", "textual+visual"]),
        ([None, 20, 5], ["None", "20", "5"]),
        ([True, False], ["True", "False"]),
    ],
)
def test_a_sweep_stands_in_the_order_of_its_values(tmp_path, values, shown):
    """Numbers ascend; anything else stands as the plan has it, whatever the names of the runs' files."""
    store, runs = Store(tmp_path / "store"), [names("good", "good", 0)[0]]
    store.add(result("good", "good", 0, 0.6))
    for number, value in enumerate(values):
        point = result(f"{9 - number}k", label_of("good", {"k": value}), 0, 0.5, "good", sweep=json.dumps({"k": value}))
        store.add(point)
        runs.append(point.record.run)
    store.write_tables(runs)
    found = DatasetResults(read_store(store.folder), "toy", ["good"])
    (sweep,) = (part.table for part in sections_of(found) if "-sweep-" in part.name)
    assert list(map(str, sweep["k"])) == shown and len(sweep) == len(values)
    (swept,) = found.sweeps.values()
    (axis,) = plots._sweep(swept, found.metric).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == shown


def test_what_a_modality_is_worth(folder):
    tables = read_store(folder)
    assert set(tables.rows("toy")["label"]) == {"good", "same", MARKUP}  # knock-outs are no rows of the table
    (audit,) = (part for part in sections_of(DatasetResults(tables, "toy", ["good"])) if part.name == "toy-audit")
    found = audit.table.set_index("modality")
    assert list(found["replaced by"]) == ["shuffle"] * 2 and set(found["row"]) == {"good"}
    assert list(found.index) == ["textual", "visual"]
    assert found["verdict"].to_dict() == {"visual": "worse", "textual": "not shown"}
    assert found["real"].nunique() == 1
    ratio = float(found["ndcg@5"]["visual"]) / float(found["real"]["visual"])
    lost = float(found["change"]["visual"].rstrip("%"))
    assert lost == pytest.approx(100 * (ratio - 1), abs=0.1)
    assert lost == pytest.approx(100 * (0.45 - 0.61) / 0.61, abs=2)  # 5 standard errors of a mean of 600 values


def test_the_page_is_one_file_and_shows_texts_as_they_are(page):
    folder, page = page.parent, page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:image/svg|tables/|figures/)""", page)
    assert "<script" not in page and "&lt;script&gt;x&lt;/script&gt; &amp; 100%_of" in page
    assert "<b>no" not in page and "&lt;b&gt;no&lt;/b&gt;" in page
    figures = [base64.b64decode(text).decode() for text in re.findall(r"svg\+xml;base64,([^\"]+)", page)]
    assert len(figures) == 7 and all("<svg" in figure for figure in figures)
    assert re.search(r'<td class="best shown">0\.3\d+ ± ', page)
    assert len(list((folder / "figures").iterdir())) == 3 * 7
    markdown = (folder / "report.md").read_text()
    assert all((folder / target).is_file() for target in re.findall(r"\]\((figures/[^)]+)\)", markdown))
    assert "| **0.3" in markdown and "### Sweep of one" in markdown


@pytest.fixture(scope="module")
def again(folder) -> Counter:
    """Has the command write it into the store's folder; gives how often what is costly was computed."""
    calls: Counter = Counter()

    def counted(name):
        original = getattr(results, name)
        return lambda *arguments, **options: calls.update([name]) or original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("compare", "beyond_accuracy", "item_strata", "user_strata"):
            patch.setattr(results, name, counted(name))
        assert main(["report", str(folder), "--compare_with", "same", "--users", "u1,u41"]) == 0
    return calls


def test_each_thing_is_computed_once_for_tables_and_figures(folder, again):
    n_runs = 3 * SEEDS
    n_swept = sum(map(len, read_store(folder).sweeps("toy").values()))
    # rows against the one compared with, rows against the best, and a row's knock-outs
    assert again == {"compare": 3, "beyond_accuracy": n_runs + n_swept, "item_strata": n_runs,
                     "user_strata": n_runs}  # fmt: skip


def test_examples_are_the_stores_own_lists(folder, again):
    page = (folder / "report.html").read_text()
    tables = re.findall(r'<table class="example">.*?</table>', page, flags=re.DOTALL)
    assert len(tables) == 2 and "<i>" not in page
    lists = read_store(folder).lists.set_index(["run", "user"])["items"]
    for user, table in zip((1, 41), tables, strict=True):
        cells = re.findall(r"<td>(.*?)</td>", table, flags=re.DOTALL)
        history, held_out, *listed = [re.findall(r"no\. (\d+)", cell) for cell in cells]
        assert history == [str(n % N_ITEMS) for n in range(12 * user + 2, 12 * user + 12)] and "last 10 of 12" in table
        assert held_out == ["1"]
        rows = re.findall(r"<th>(.*?)</th>", table)[2:]
        assert rows == ["good", "same", html.escape(MARKUP, quote=False)]
        for row, items in zip(("good", "same", "bad"), listed, strict=True):
            assert [f"i{n}" for n in items] == list(lists[names(row, row, 0)[0], f"u{user}"])
        found = sum("1" in items for items in listed)
        assert table.count("✓") == table.count("card held-out") == found


def test_a_store_without_titles_or_of_before_there_were_examples_has_none(page, tmp_path):
    """Of one run: the report of it all has the examples, and takes five processor seconds."""
    for name in ("items", "train"):
        older = Store(tmp_path / name)
        older.add(result("good", "good", 0, 0.6))
        older.write_tables()
        file = older.folder / "data" / "hash" / f"{name}.parquet"
        if name == "items":
            pd.read_parquet(file).drop(columns="title").to_parquet(file)
        else:
            file.unlink()
        assert "<h3>Examples" not in write_report(older.folder).read_text()
    assert "<h3>Examples" in page.read_text()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--users=u1,nobody", "--users: toy has no user 'nobody' with held-out items"),
        ("--out=there", "--out is for checkpoints; the report of an experiment is made of its folder, in it"),
        ("--fields=title", "--fields is for checkpoints"),
        ("--data_path=there", "--data_path is for checkpoints"),
    ],
)
def test_what_a_store_does_not_take(folder, option, message, capsys):
    assert main(["report", str(folder), option]) == 2
    assert message in capsys.readouterr().err


def test_latex_by_hand():
    table = pd.DataFrame({"row": ["a_b & 5%", "c"], "ndcg@5": ["0.5000 ± 0.1000", "0.4000"], "word": [r"x\y", None]})
    section = Section("d", "n", "t", "", table, {(0, "ndcg@5"): {BEST, SHOWN}, (1, "ndcg@5"): {SECOND}})
    assert latex(section).splitlines()[2:] == [
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"row & ndcg@5 & word \\",
        r"\midrule",
        r"a\_b \& 5\% & \textbf{0.5000 $\pm$ 0.1000}$^\dagger$ & x\textbackslash{}y \\",
        r"c & \underline{0.4000} &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_the_command_writes_it_again_and_names_rows_that_are_not_there(folder, again, capsys):
    assert "Against same" in (folder / "report.html").read_text()
    assert main(["report", str(folder), "--compare_with", "sane"]) == 2
    assert "there is no row 'sane' (did you mean same?); there is '" in capsys.readouterr().err
    # it is none of the table's rows, and the report was of the best row without a word
    assert main(["report", str(folder), "--compare_with", "good, visual shuffle"]) == 2
    assert "there is no row 'good, visual shuffle'; there is '" in capsys.readouterr().err
    assert main(["report", str(folder / "figures")]) == 2
    assert "holds no results of an experiment" in capsys.readouterr().err


def test_a_browser_shows_it_without_a_network(page, tmp_path):
    browser = Browser(tmp_path)
    pixels = browser.pixels(page)
    assert pixels.shape == (3000, 1200, 3)
    assert n_colours(pixels) > 200  # text, lines and several colours of figures
    assert browser.dom(page).count("<img") == 7


def test_it_prints_all_tables_and_no_heading_alone(folder, page, tmp_path):
    pages = [text.strip().split("\n") for text in Browser(tmp_path).printed(page).split("\f") if text.strip()]
    printed = " ".join(word for lines in pages for line in lines for word in line.split())
    for section in sections_of(DatasetResults(read_store(folder), "toy", [MARKUP])):
        assert section.title in printed
        assert all(word in printed for name in section.table for word in name.split())
    titles = {section.title for section in sections_of(DatasetResults(read_store(folder), "toy", [MARKUP]))}
    assert len(pages) > 1 and not [lines[-1] for lines in pages if lines[-1].strip() in titles]
