"""The one place that turns records into JSON and back.

A record is a frozen dataclass. Its JSON has a key per field, without the optional fields that are null, false or
empty. A record that derives from `Extensible` keeps keys that this version does not know, and writes them back.
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ablate.errors import LedgerError
from ablate.files import read_versioned, write_json

FORMAT = 1
NOUNS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extensible:
    """A record that keeps unknown keys in `extra`."""

    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class SchemaError(ValueError):
    """JSON does not fit a record: the place in it, what is there, what is allowed."""

    def __init__(self, problem: str, *place: str | int) -> None:
        super().__init__(f"{'.'.join(map(str, place))}: {problem}" if place else problem)
        self.problem = problem
        self.place = place

    def inside(self, place: str | int) -> "SchemaError":
        """Return the same error seen from one level up."""
        return SchemaError(self.problem, place, *self.place)


def to_json(record: Any) -> Any:
    """Return a record as plain JSON values. The result shares its containers with the record."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        content = {
            name: to_json(getattr(record, name))
            for name, is_optional in _fields(type(record))
            if not (is_optional and _is_empty(getattr(record, name)))
        }
        return content | dict(getattr(record, "extra", {}))
    if isinstance(record, StrEnum):
        return record.value
    if isinstance(record, Mapping):
        return {key: to_json(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_json(value) for value in record]
    return record


def from_json(cls: type[T], content: Any) -> T:
    """Return the record of type `cls` with this JSON. Raises SchemaError."""
    return cast("T", _reader(cast("Hashable", cls))(content))


def read(path: Path, cls: type[T]) -> T:
    """Return the record in a file.

    Raises:
        FileNotFoundError: there is no file.
        LedgerError: the file is damaged or holds something else.
        NewerFormatError: a newer version of ablate wrote it.
    """
    content = read_versioned(path, FORMAT)
    del content["format"]
    try:
        return from_json(cls, content)
    except SchemaError as error:
        raise LedgerError(f"{path}: is damaged or is not a {cls.__name__}: {error}. Move it away.") from None


def write(path: Path, record: Any) -> None:
    """Write a record to a file, atomically."""
    write_json(path, {"format": FORMAT, **to_json(record)})


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value == () or value == {}


@cache
def _fields(cls: type) -> tuple[tuple[str, bool], ...]:
    """The fields of a dataclass without `extra`, each with whether it has a default."""
    missing = dataclasses.MISSING
    return tuple(
        (field.name, field.default is not missing or field.default_factory is not missing)
        for field in dataclasses.fields(cls)
        if field.name != "extra"
    )


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the function that checks JSON against a type hint and returns the value."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda content: content
    if origin in (Union, UnionType) and NoneType in arguments:
        [inner] = [_reader(argument) for argument in arguments if argument is not NoneType]
        return lambda content: None if content is None else inner(content)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))
    if origin is Mapping:
        return _mapping_reader(arguments[1])
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _record_reader(hint)
    return _enum_reader(hint) if issubclass(hint, StrEnum) else _scalar_reader(hint)


def _scalar_reader(hint: type) -> Callable[[Any], Any]:
    def read_scalar(content: Any) -> Any:
        # True is an int to Python, and W&B turns whole numbers into floats.
        if type(content) is hint:
            return content
        if hint is float and type(content) is int:
            return float(content)
        if hint is int and type(content) is float and content.is_integer():
            return int(content)
        raise SchemaError(f"{content!r} is not {NOUNS[hint]}")

    return read_scalar


def _enum_reader(hint: type[StrEnum]) -> Callable[[Any], Any]:
    members = {str(member): member for member in hint}

    def read_enum(content: Any) -> Any:
        try:
            return members[content]
        except (KeyError, TypeError):
            raise SchemaError(f"{content!r} is none of {', '.join(members)}") from None

    return read_enum


def _tuple_reader(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_tuple(content: Any) -> tuple[Any, ...]:
        if type(content) not in (list, tuple):
            raise SchemaError(f"{content!r} is not a list")
        values: list[Any] = []
        try:
            values.extend(map(inner, content))
        except SchemaError as error:
            raise error.inside(len(values)) from None
        return tuple(values)

    return read_tuple


def _mapping_reader(hint: Any) -> Callable[[Any], Any]:
    inner = _reader(hint)

    def read_mapping(content: Any) -> Any:
        if type(content) is not dict:
            raise SchemaError(f"{content!r} is not an object")
        # Most mappings hold scalars of the right type; a thousand records are read at a time.
        if hint is Any or {hint}.issuperset(map(type, content.values())):
            return content
        key = ""
        values: dict[str, Any] = {}
        try:
            for key, value in content.items():
                values[key] = inner(value)
        except SchemaError as error:
            raise error.inside(key) from None
        return values

    return read_mapping


def _record_reader(cls: type) -> Callable[[Any], Any]:
    hints = get_type_hints(cls)
    readers = {name: _reader(hints[name]) for name, _ in _fields(cls)}
    scalars = {name: hints[name] for name in readers if hints[name] in NOUNS}
    required = {name for name, is_optional in _fields(cls) if not is_optional}

    def read_record(content: Any) -> Any:
        if type(content) is not dict:
            raise SchemaError(f"{content!r} is not an object")
        if not required <= content.keys():
            raise SchemaError(f"{', '.join(sorted(required - content.keys()))}: missing from {cls.__name__}")
        name = ""
        values: dict[str, Any] = {}
        unknown: dict[str, Any] = {}
        try:
            for name, value in content.items():
                # Most fields; faster than a call.
                if type(value) is scalars.get(name):
                    values[name] = value
                elif name in readers:
                    values[name] = readers[name](value)
                else:
                    unknown[name] = value
        except SchemaError as error:
            raise error.inside(name) from None
        if not unknown:
            return cls(**values)
        if not issubclass(cls, Extensible):
            raise SchemaError(f"{', '.join(unknown)}: unknown to {cls.__name__}")
        return cls(**values, extra=unknown)

    return read_record
