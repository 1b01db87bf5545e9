"""Playlists: a user, a colon and the songs in the order they were heard, a line."""

from __future__ import annotations

from recbole_mm import Converter, Interactions, Items, register_converter


@register_converter("playlists", help="a user, a colon and songs a line; titles in titles.txt beside")
class Playlists(Converter):
    """Files that end with `.playlists`."""

    @classmethod
    def recognise(cls, source):
        """The file, by its name."""
        return source.name if source.suffix == ".playlists" else None

    def interactions(self):
        """The songs of each user, with their positions as times."""
        for number, line in enumerate(self.source.read_text(encoding="utf-8").splitlines(), 1):
            user, colon, songs = line.partition(":")
            if not colon:
                raise ValueError(f"{self.source}, line {number}: expected a user, a colon and songs, found {line!r}")
            heard = songs.split()
            yield Interactions([user] * len(heard), heard, self.source, timestamps=range(len(heard)))

    def items(self):
        """The titles."""
        titles = self.source.with_name("titles.txt")
        rows = [line.split(" ", 1) for line in titles.read_text(encoding="utf-8").splitlines()]
        yield Items([song for song, _ in rows], {"title": [title for _, title in rows]}, titles)
