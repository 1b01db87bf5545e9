"""Declared settings: each key with its type, default, bounds and meaning, and one line for a value that is none.

A part (a model, an adapter, a trainer) declares its keys as the fields of a :class:`Settings`, each with a docstring::

    class FreedomSettings(ModelSettings):
        n_layers: Layers = 2
        \"\"\"Layers over the user-item graph.\"\"\"

The ground floor: it knows pydantic, and no key of any part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from recbole_mm.io.names import closest
from recbole_mm.io.numbers import NumberError, literal
from recbole_mm.io.tables import reads_as_number
from recbole_mm.io.yaml_files import parse_yaml
from recbole_mm.settings_text import UNLIMITED, allowed_values, described_fields, is_beyond, shown

_PLAIN = (str, int, float, list, tuple, dict, bool, type(None))


def _no_truth_value(value: Any) -> Any:
    """pydantic takes True for the number 1."""
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    return value


def _as_list(value: Any) -> Any:
    """One value where a list is wanted, and hyperopt's tuples."""
    return list(value) if isinstance(value, (list, tuple)) else value if value is None else [value]


def each_once(values: list[Any]) -> list[Any]:
    """The values, each of which stands there once; raises ValueError."""
    return check_different(values, values)


def check_different(values: list[Any], keys: list[Any]) -> list[Any]:
    """The values, no two of which have the same key; raises ValueError."""
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise ValueError(f"{values[position]} stands there twice")
    return values


def path_setting(value: Any) -> Any:
    """What a key that names a file or folder may be; raises ValueError.

    A number is a slip, but a whole one, as a folder may be called 2024; so is a word that is read as another number.
    """
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if isinstance(value, bool | int | float) and not is_count:
        raise ValueError(f"a number is no name of a file or folder; write './{value}' where one is called so")
    if isinstance(value, str) and reads_as_number(value) and not value.isdigit():
        raise ValueError(f"it is read as a number; write './{value}' where a file or folder is called so")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("no name of a file or folder holds a NUL")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth_value)]
_Real = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]

Count = Annotated[Whole, Field(ge=1, le=UNLIMITED)]
CountOrZero = Annotated[Whole, Field(ge=0, le=UNLIMITED)]
Layers = Annotated[Whole, Field(ge=1, le=100)]
LayersOrZero = Annotated[Whole, Field(ge=0, le=100)]
Width = Annotated[Whole, Field(ge=1, le=2**20)]
Workers = Annotated[Whole, Field(ge=0, le=256)]  # processes of one machine
Few = Annotated[Whole, Field(ge=1, le=10_000)]  # of what is done or kept one by one
Real = _Real
Weight = Annotated[_Real, Field(ge=0)]
Positive = Annotated[_Real, Field(gt=0)]
Share = Annotated[_Real, Field(ge=0, le=1)]
PositiveShare = Annotated[_Real, Field(gt=0, le=1)]
Rate = Annotated[_Real, Field(ge=0, lt=1)]
Place = Annotated[str, BeforeValidator(path_setting), Field(min_length=1)]  # of a file or folder
Names = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(each_once)]
Counts = Annotated[list[Count], BeforeValidator(_as_list), Field(min_length=1)]
Widths = Annotated[list[Width], BeforeValidator(_as_list), Field(min_length=1)]
Weights = Annotated[list[Weight], BeforeValidator(_as_list), Field(min_length=1)]


class Settings(BaseModel):
    """The keys of one part. Fields are typed and bounded, and have a default and a docstring, which is their meaning.

    Attributes:
        defaults: what this part has as default for keys that others declare, such as ``learning_rate``.
        aliases: earlier names of keys, which stay accepted: ``{"cl_weight": "contrast_weight"}``.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, coerce_numbers_to_str=True, validate_default=True,
        defer_build=True,  # a run reads the settings of few of all parts
    )  # fmt: skip
    defaults: ClassVar[Mapping[str, Any]] = {}
    aliases: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def default_values(cls) -> dict[str, Any]:
        """Every key with its default: the fields' own, then :attr:`defaults`."""
        own = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
        return own | dict(cls.defaults)

    @classmethod
    def read(cls, values: Mapping[str, Any], part: str = "", where: Mapping[str, str] | None = None) -> Self:
        """The settings among `values`; a key that is not there has its default.

        Args:
            values: by key, others' keys included.
            part: whose settings, for the message, such as a model's name.
            where: a key stands, such as ``file x.yaml``, where that is known.

        Raises:
            ValueError: one line with key, value and what is allowed.
        """
        given = {name: values[name] for name in cls.model_fields if name in values}
        for name, value in given.items():
            _check_colons(name, value, where or {})
        try:
            return cls(**given)
        except ValidationError as error:
            raise ValueError(_one_line(cls, error, given, part, where or {})) from error

    @classmethod
    def of(cls, config: Any) -> Self:
        """The settings of a Config of RecBole's, checked when it was made; a key it lacks has its default."""
        return cls.read({name: config[name] for name in cls.model_fields if name in config})

    def changed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as this has them, of those keys whose value is another, such as 64 where 64.0 was given."""
        plain = self.model_dump(exclude_unset=True)
        return {name: value for name, value in plain.items() if name in values and repr(value) != repr(values[name])}


def _check_colons(name: str, value: Any, where: Mapping[str, str]) -> None:
    """Raise ValueError for ``{visual:1}``, which YAML reads as one key without a value."""
    for key, part in value.items() if isinstance(value, Mapping) else ():
        first, colon, rest = key.partition(":") if isinstance(key, str) else ("", "", "")
        if part is None and colon and first and rest:
            place = f"{where[name]}: " if name in where else ""
            raise ValueError(
                f"{place}{name}: {{{key}}} is read as one word; write a blank behind the colon: {first}: {rest}"
            )
        _check_colons(name, part, where)


def _one_line(
    kind: type[Settings], error: ValidationError, given: Mapping[str, Any], part: str, where: Mapping[str, str]
) -> str:
    """Key, value and what is allowed of the first of pydantic's errors."""
    errors = error.errors(include_url=False)
    misspelt = (problem for problem in errors if problem["type"] == "extra_forbidden")
    first = next(misspelt, errors[0])  # what it misspells is missing
    if not first["loc"]:  # of several keys together; the validator names them
        return _own_message(first)
    path, field = _locate(kind, first["loc"], given)
    place = f"{where[path[0]]}: " if path[0] in where else ""
    of_part = f" for {part}" if part else ""
    nested = _nested(field)
    if first["type"] == "extra_forbidden" and nested is not None:
        known = nested.model_fields
        key = str(first["loc"][-1])
        return f"{place}{'.'.join(path)}: unknown key '{key}'{closest(key, known)}; it takes {', '.join(known)}"
    value = given.get(path[0]) if len(path) == 1 else first["input"]
    own_reason = first["type"] == "value_error" and "truth value" not in first["msg"]
    reason = f" ({_own_message(first)})" if own_reason else ""
    allowed = allowed_values(field, beyond=is_beyond(value))
    allowed += first["msg"] if first["type"] == "unknown_name" else ""
    meaning = f"; {field.description.splitlines()[0]}" if field.description else ""
    return f"{place}{'.'.join(path)}: {shown(value)} is not allowed{of_part}{reason}; give {allowed}{meaning}"


def _locate(kind: type[Settings], location: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[list[str], FieldInfo]:
    """The key, and those within its dict, that pydantic's location of an error leads to, and the field of the last."""
    path, field = [str(location[0])], described_fields(kind)[location[0]]
    for part in location[1:]:
        inner = _nested(field)
        values = _dict_values(field)
        if inner is not None and part in inner.model_fields:
            path, field = [*path, str(part)], described_fields(inner)[part]
        elif values is not None and isinstance(given.get(path[0]), Mapping) and part in given[path[0]]:
            path, field = [*path, str(part)], FieldInfo.from_annotation(values)
    return path, field


def _dict_values(field: FieldInfo) -> Any:
    """The type of the values of a field that is a dict by any keys; None of another."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((get_args(kind)[1] for kind in kinds if get_origin(kind) is dict), None)


def _nested(field: FieldInfo) -> type[Settings] | None:
    """The settings that a field's dict consists of, where it does."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)), None)


def _own_message(error: Mapping[str, Any]) -> str:
    return error["msg"].removeprefix("Value error, ")


def plain_value(text: Any, key: str) -> Any:
    """What a setting's text means: a number, a truth value, nothing, a list or dict of such, else the text itself.

    As RecBole reads the strings of a command line, except that nothing is evaluated: RecBole runs ``eval()`` on them.
    Raises ValueError naming the key where a number would be read as another one.
    """
    if not isinstance(text, str):
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text == "~":  # nothing, as in YAML and in what messages say
        return None
    for read in (literal, parse_yaml) if text.startswith(("[", "{")) else (literal,):
        try:
            value = read(text)
        except Exception as error:  # whatever a text may do to a parser: then it is a text
            number = error if isinstance(error, NumberError) else error.__cause__
            if isinstance(number, NumberError):
                raise ValueError(f"{key}: {number}") from error
            continue
        return value if isinstance(value, _PLAIN) else text
    return text


def declared_keys(kinds: Iterable[type[Settings]]) -> set[str]:
    """Names of all keys that some settings declare, earlier names included."""
    return {key for kind in kinds for key in (*kind.model_fields, *kind.aliases)}
