"""Which column of a table is which: named by the user, or guessed by its name and shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.data.conversion.layout import SourceOptions
from recbole_mm.io.names import closest

LEFT_OUT = "none"

# letters and digits of the name, without case; the first of a list that is there is taken
NAMES = {
    "user": (
        "userid", "user", "uid", "reviewerid", "customerid", "memberid", "accountid", "visitorid", "clientid",
        "profileid", "personid", "readerid", "authorid", "username", "reviewer", "customer", "client", "member",
        "buyerid", "benutzer", "kunde", "kundennummer", "kundennr", "kundenid",
    ),
    "item": (
        "itemid", "item", "iid", "parentasin", "asin", "productid", "product", "movieid", "trackid", "artistid",
        "songid", "videoid", "bookid", "isbn", "newsid", "articleid", "recipeid", "businessid", "gameid", "appid",
        "restaurantid", "photoid", "pinid", "sku", "movie", "track", "artist", "song", "video", "book", "article",
        "recipe", "stockcode", "artikel", "artikelnummer", "artikelnr", "artikelid", "produkt",
    ),
    "rating": (
        "rating", "ratings", "overall", "stars", "starrating", "score", "rate", "grade", "bewertung", "bookrating",
        "userrating",
    ),
    "time": (
        "timestamp", "time", "unixreviewtime", "sorttimestamp", "datetime", "date", "eventtime", "createdat", "created",
        "reviewdate", "reviewtime", "ts", "submitted", "datum", "zeit", "tdat", "dateadded",
        "purchasedate", "orderdate", "ordertime", "invoicedate", "transactiondate", "eventdate", "ratingdate",
        "watchedat", "playedat", "viewedat", "purchasedat", "orderedat", "ratedat", "bestelldatum", "kaufdatum",
    ),
}  # fmt: skip
POSITIONS = ("user", "item", "rating", "time")
_OF_AMAZON_2018 = ("item", "user", "rating", "time")


@dataclass(frozen=True)
class Roles:
    """Columns of a table of interactions; rating and time are None where there is none."""

    user: str
    item: str
    rating: str | None = None
    time: str | None = None

    def read(self) -> list[str]:
        """The columns to read."""
        return [column for column in (self.user, self.item, self.rating, self.time) if column is not None]

    def shown(self) -> str:
        """For the plan, such as ``user = reviewer, item = asin, no rating, time = date``."""
        return ", ".join(
            f"{role} = {column!r}" if column is not None else f"no {role}" for role, column in vars(self).items()
        )


def plain(column: str) -> str:
    """A column's name as names are compared: letters and digits without case, RecBole's type left out."""
    return re.sub(r"[\W_]", "", column.rpartition(":")[0] or column).lower()


def guess(columns: Sequence[str], role: str) -> str | None:
    """The column whose name says that it has this role."""
    by_name = {plain(column): column for column in reversed(columns)}
    return next((by_name[name] for name in NAMES[role] if name in by_name), None)


def is_index(column: str) -> bool:
    """Whether a column is the index of a frame of pandas, which has no name of its own."""
    return re.fullmatch(r"(Unnamed: \d+|__index_level_\d+__)?", column) is not None


def looks_like_header(cells: Sequence[str], named: tuple[str, ...] = ()) -> bool:
    """Whether a first line gives names: one that the user named, or that we know; else if no cell is a number."""
    names = [cell.strip() for cell in cells]
    if any(name in names and not name.isdigit() for name in named) or any(guess(names, role) for role in NAMES):
        return True
    if named and all(name.isdigit() and name not in names for name in named):  # places of columns
        return False
    return not any(re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", name) for name in names)


def positions(cells: Sequence[str]) -> tuple[str, ...]:
    """What the columns of a file without a header are, by its first row: Amazon's of 2018 begin with the item."""
    asin_first = len(cells) > 1 and re.fullmatch("B[0-9A-Z]{9}|[0-9]{9}[0-9X]", cells[0].strip())
    return _OF_AMAZON_2018 if asin_first and re.fullmatch("A[0-9A-Z]{9,}", cells[1].strip()) else POSITIONS


def find_roles(
    path: Path, columns: Sequence[str], options: SourceOptions, positions: Sequence[str] | None = None
) -> Roles:
    """The roles of the columns of a table of interactions.

    Args:
        positions: of a table without a header, the roles of its first columns, where none of another order is named.

    Raises:
        ValueError: a named column is not there; there is no user or item column.
    """
    found: dict[str, str | None] = {}
    places = dict(zip(positions or (), columns, strict=False))
    if any(getattr(options, role) not in (None, LEFT_OUT, column) for role, column in places.items()):
        places = {}  # another order is named, so that the others are in none that is known
    for role in POSITIONS:
        given = getattr(options, role)
        if given is not None and given.lower() == LEFT_OUT and role in ("rating", "time"):
            found[role] = None
        elif given is not None:
            found[role] = _named(path, columns, role, given)
        elif positions is None:
            found[role] = guess(columns, role)
        else:
            found[role] = places.get(role)
    missing = [role for role in ("user", "item") if found[role] is None]
    if missing:
        raise ValueError(
            f"{path}, line 1: no column looks like the {' or the '.join(missing)}; the columns are "
            f"{', '.join(columns)}: say which it is with {' and '.join(f'--{role} COLUMN' for role in missing)}"
        )
    taken = [column for column in found.values() if column is not None]
    if len(set(taken)) < len(taken):
        raise ValueError(f"{path}: one column stands for two of user, item, rating, time: {', '.join(taken)}")
    user, item = found["user"], found["item"]
    assert user is not None and item is not None  # else missing
    return Roles(user, item, found["rating"], found["time"])


def _named(path: Path, columns: Sequence[str], role: str, given: str) -> str:
    for column in columns:
        if given in (column, column.rpartition(":")[0]):
            return column
    raise ValueError(
        f"--{role}: {path} has no column {given!r}{closest(given, columns)}; its columns are {', '.join(columns)}"
    )


def typed_field(column: str) -> str:
    """A column's name as that of a field of the `.item` file, with RecBole's type where it has one."""
    name, _, kind = column.rpartition(":")
    if kind not in ("token", "token_seq", "float"):
        name, kind = column, ""
    field = re.sub(r"[^\w.-]+", "_", name.strip()).strip("_") or "field"
    return f"{field}:{kind}" if kind else field
