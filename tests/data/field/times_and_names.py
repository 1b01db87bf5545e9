"""Kinds: times and their order; column names, field names and separators of one's own."""

from __future__ import annotations

from tests.data.field.cases import ALL, BY_TIME, HEADER, LOADED, Case, inter, last_by_time, visual, whole

SECONDS = 1_700_000_000
TIMED = {**LOADED, **BY_TIME}


def timed(what: str, outcome: str, time, expect=last_by_time, **form) -> Case:
    return Case(what, outcome, {"inter": inter(time, **form), "visual": visual()}, TIMED, expect, described=False)


def no_time(what: str, outcome: str, time, **form) -> Case:
    return timed(what, outcome, time, None, **form)


def _number(text: str, line: int = 2, date: bool = False) -> str:
    end = ", or write dates as seconds" if date else ""
    return f"shop.inter, line {line}, column timestamp: '{text}' is no finite number; correct it{end}"


TIMES = [
    timed("seconds, the newest first", "the last by time is held out", lambda u, k: str(SECONDS + k), newest_first=True),
    timed("decimals of seconds", "the same", lambda u, k: f"{SECONDS}.{k:03}", newest_first=True),
    timed("`1.700000003e9`", "the same", lambda u, k: f"1.70000000{k}e9", newest_first=True),
    timed("whole numbers and decimals in one column", "the same",
          lambda u, k: str(SECONDS + k) + ".5" * (k % 2), newest_first=True),
    timed("nanoseconds that float64 would round", "the same", lambda u, k: str(SECONDS * 10**9 + k), newest_first=True),
    timed("numbers from 2^53 on, one apart", "the same", lambda u, k: str(2**53 + k), newest_first=True),
    timed("numbers from 2^63 on, one apart", "the same", lambda u, k: str(2**63 - 2 + k), newest_first=True),
    timed("decimals of nanoseconds", "the same", lambda u, k: f"{SECONDS}.00000000{k}", newest_first=True),
    timed("below zero and above", "the same", lambda u, k: str(k - 3), newest_first=True),
    timed("plus signs, leading zeros and blanks around", "the same", lambda u, k: f" +0{SECONDS + k} "),
    no_time("`1,700,000,003`", _number("1,700,000,000"), lambda u, k: f"1,700,000,00{k}"),
    no_time("dates", _number("2024-05-01 10:00:00", date=True), lambda u, k: f"2024-05-01 10:00:0{k}"),
    no_time("dates with points", _number("01.05.2024", date=True), lambda u, k: f"0{k + 1}.05.2024"),
    no_time("`NaT` in one row", _number("NaT", 7), lambda u, k: "NaT" if k == 5 else str(k)),
    no_time("`inf` in one row", _number("inf", 7), lambda u, k: "inf" if k == 5 else str(k)),
    no_time("a gap, where splits go by time",
            "shop.inter, line 7, column timestamp: there is no time, and eval_args: order: TO goes by it; fill it in, or "
            "leave the line out", lambda u, k: "" if k == 5 else str(k)),
    no_time("a column of type token", "eval_args: order: TO goes by 'timestamp', and its type token has no order; name "
            "its column timestamp:float", lambda u, k: str(9 + k), header=HEADER.replace("p:float", "p:token")),
    no_time("a column of type float_seq", "eval_args: order: TO goes by 'timestamp', and its type float_seq has no "
            "order; name its column timestamp:float", lambda u, k: "9", header=HEADER.replace("p:float", "p:float_seq")),
    Case("order by time, and no such column is loaded", "eval_args: order: TO needs TIME_FIELD: 'timestamp' of .inter "
         "is not loaded; add it to load_col: {inter: [..., timestamp]}", {"inter": inter()},
         {**BY_TIME, "load_col": {"inter": ["user_id", "item_id"]}}, model="BPR", described=False),
    Case("order by time, and the column has another name", "eval_args: order: TO needs TIME_FIELD: data set 'shop' has "
         "no column 'timestamp'; it has user_id, item_id, when: set TIME_FIELD to the one that is meant",
         {"inter": inter(header=HEADER.replace("timestamp", "when"))}, {**BY_TIME, **ALL}, model="BPR", described=False),
]  # fmt: skip


def own(separator: str = ",", values: str = " ", names: str = "uid asin", encoding: str = "utf-8") -> dict[str, str]:
    """Files with other column names and separators, and the settings that say so."""
    user, item = names.split()
    settings = {"USER_ID_FIELD": user, "ITEM_ID_FIELD": item, "field_separator": separator, "seq_separator": values}
    yaml = "".join(f"{key}: '{value}'\n" for key, value in settings.items())
    header = f"{user}:token\t{item}:token\ttimestamp:float"
    return {
        "inter": inter(header=header, separator=separator),
        "visual": visual(
            lambda number: values.join((str(number), "1", "2")),
            header=f"{item}:token\tv:float_seq",
            separator=separator,
        ),
        "yaml": yaml,
    }


def named(what: str, expect=whole, outcome: str = "read as its settings say, by every command", **form) -> Case:
    files = own(**form)
    settings = dict(line.split(": ") for line in files["yaml"].splitlines())
    return Case(what, outcome, files, {**ALL, **{key: value.strip("'") for key, value in settings.items()}}, expect)


def header(what: str, outcome: str, first: str, separator: str = "\t", **more) -> Case:
    return Case(what, f"shop.inter, line 1: {outcome}", {"inter": inter(header=first, separator=separator)},
                ALL, model="BPR", **more)  # fmt: skip


EXPECTED = (
    "it begins with the columns as name:type, such as user_id:token, with one of token, float, token_seq, float_seq"
)
NAMES = [
    named("fields `uid` and `asin`, commas"),
    named("semicolons", separator=";"),
    named("vertical bars, and semicolons between values", separator="|", values=";"),
    named("blanks, and commas between values", separator=" ", values=","),
    named("names with umlauts and points", names="Käufer.id Artikel"),
    named("one separator for cells and values", None,
          "field_separator and seq_separator are both ','; set one to another", values=","),
    named("two letters as separator", None,
          "shop.inter: '::' separates no columns; set field_separator to one letter", separator="::"),
    named("`'\\t'` in single quotes, which is two letters", None,
          'shop.inter: \'\\t\' separates no columns; set field_separator to one letter, such as a tab, "\\t" in double '
          "quotes", separator="\\t"),
    header("no types", f"'user_id' is no column with its type; {EXPECTED}", "user_id\titem_id\ttimestamp"),
    header("MovieLens' first line", "'userId,movieId,timestamp' seems to be separated by ,; set field_separator, or "
           "separate it by tabs", "userId,movieId,timestamp", ","),
    header("MovieLens 1M's separator", "'user_id:token::item_id:token::timestamp:' seems to be separated by ::; separate "
           "it by tabs", HEADER, "::"),
    header("MMRec's first line", "'userID' is of MMRec's own files, which are converted first: recbole-mm convert mmrec",
           "userID\titemID\tx_label"),
    header("a type with a capital", f"'Token' of the column 'user_id:Token' is no type; {EXPECTED}",
           HEADER.replace("token", "Token", 1)),
    header("a blank after a type", f"'token ' of the column 'user_id:token ' is no type; {EXPECTED}",
           HEADER.replace("token", "token ", 1)),
    Case("the index of pandas as first column", f"shop.inter, line 1: '' is no column with its type; {EXPECTED}",
         {"inter": "".join(f"{n - 1 if n else ''}\t{line}\n" for n, line in enumerate(inter().splitlines()))},
         ALL, model="BPR"),
    Case("names with capitals, and no settings", "USER_ID_FIELD: data set 'shop' has no column 'user_id' (did you mean "
         "User_ID?); it has User_ID, Item_ID, timestamp: set USER_ID_FIELD to the one that is meant",
         {"inter": inter(header="User_ID:token\tItem_ID:token\ttimestamp:float")}, ALL, model="BPR", described=False),
]  # fmt: skip
