"""How the files of a data set are written: the names of its id columns, what separates cells, and the encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_mm.io.first_line import column_types
from recbole_mm.io.reading import has_file
from recbole_mm.io.yaml_files import read_settings_file

RECBOLE_SUFFIXES = frozenset({"inter", "user", "item", "kg", "link", "net"})
_KEYS = {
    "user_field": "USER_ID_FIELD",
    "item_field": "ITEM_ID_FIELD",
    "separator": "field_separator",
    "seq_separator": "seq_separator",
    "encoding": "encoding",
}


@dataclass(frozen=True)
class FileForm:
    """The settings of RecBole that say how to read files, by default RecBole's own.

    Attributes:
        user_field, item_field: columns of user and item ids.
        separator: between cells, one letter.
        seq_separator: between the values of a sequence.
        encoding: of the files.
    """

    user_field: str = "user_id"
    item_field: str = "item_id"
    separator: str = "\t"
    seq_separator: str = " "
    encoding: str = "utf-8"

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], source: str = "the settings") -> FileForm:
        """The form that settings ask for, of a Config or a file; raises ValueError for one that is no text."""
        found = {name: settings[key] for name, key in _KEYS.items() if key in settings and settings[key] is not None}
        for name, value in found.items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{source}: {_KEYS[name]}: {value!r} is no text")
        form = cls(**found)
        if form.separator == form.seq_separator:
            raise ValueError(
                f"{source}: field_separator and seq_separator are both {form.separator!r}; set one to another"
            )
        return form

    @classmethod
    def of_folder(cls, folder: Path) -> FileForm:
        """What the data set's own settings say, ``NAME/NAME.yaml``, which a run of it picks up.

        Raises:
            ValueError: the file is no settings file.
        """
        file = folder / f"{Path(folder).absolute().name}.yaml"
        return cls.of_settings(read_settings_file(file), str(file)) if has_file(file) else cls()


def check_id_columns(path: Path, there: list[str], wanted: list[str], form: FileForm) -> None:
    """Raise ValueError for a first line of another form, or without the columns of ids: where their names are set."""
    column_types(path, there, form.separator)
    missing = [column for column in wanted if column not in there]
    if missing:
        yaml = path.with_name(f"{path.absolute().parent.name}.yaml")
        raise ValueError(
            f"{path}, line 1: there is no column '{missing[0]}', but {', '.join(there)}; where ids have other names, "
            f"set USER_ID_FIELD and ITEM_ID_FIELD in {yaml}, which runs read too"
        )
