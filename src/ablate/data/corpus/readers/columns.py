"""Turns a row of a table into a document."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from ablate.data.corpus.readers.cells import Unreadable
from ablate.data.corpus.readers.reader import Problem, RawDocument, binary
from ablate.errors import UsageError

_MISSING = object()


def _spelled(value: object) -> object:
    """Return a number or boolean as text, and other values as they are.

    5 and 5.0 are equal, because a null turns a column of whole numbers into floats.
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value) if isinstance(value, int | float) else value


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Values = Annotated[tuple[Annotated[str, BeforeValidator(_spelled)], ...], BeforeValidator(_listed)]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns. A dot selects a field of a nested column, as in `meta.pile_set_name`.

    Without `language_column`, all rows have `language`. `licence_column` holds one licence or a list. Only rows that
    have one of the listed values (texts, numbers, booleans) in each column of `where` are read; null reads all. Rows
    with the same value in `group_column`, a repository or a site, are in one split.
    """

    text_column: str
    language_column: str | None
    language: str
    licence_column: str | None
    where: dict[str, Values] | None
    group_column: str | None = None

    @property
    def columns(self) -> list[str]:
        """Names of all columns that are read."""
        named = (self.text_column, self.language_column, self.licence_column, self.group_column, *(self.where or ()))
        return list(dict.fromkeys(column for column in named if column is not None))

    def check(self, schema: Mapping[str, Any], place: str) -> None:
        """Check that a table has all columns.

        Args:
            schema: the table's columns by name; a nested column is a mapping.
            place: of the table, for people.

        Raises:
            UsageError: a missing column.
        """
        for column in missing_columns(schema, self.columns):
            raise unknown_column(place, column, schema)

    def document(self, row: Mapping[str, Any], name: str) -> RawDocument | Problem | None:
        """Return the row as a document, or None if `where` excludes it."""
        for column, values in (self.where or {}).items():
            value = _value(row, column)
            if isinstance(value, Unreadable):
                return _unreadable(value, name, column)
            if str(_spelled(value)) not in values:
                return None
        for column in self.columns:
            if isinstance(value := _value(row, column), Unreadable):
                return _unreadable(value, name, column)
        text = _value(row, self.text_column)
        if not isinstance(text, str):
            value = "is missing" if text is _MISSING else f"is {json.dumps(text, default=str)[:40]}"
            names = ", ".join(_names(row)) or "no column that is read"
            columns = f"The row has {names}; set text_column to the one with the text."
            return Problem("no_text", f"{name}: {self.text_column} {value}. {columns}")
        if "\0" in text:
            return binary(name, f"character {text.index(chr(0))}")
        language = _value(row, self.language_column) if self.language_column else self.language
        group = _value(row, self.group_column) if self.group_column else ""
        spelled = str(_spelled(group)) if group not in (None, _MISSING) else ""
        return RawDocument(name, text, language if isinstance(language, str) else "", self._licences(row), spelled)

    def _licences(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        licences = _value(row, self.licence_column) if self.licence_column else None
        if isinstance(licences, str):
            return (licences,)
        return tuple(map(str, licences)) if isinstance(licences, Sequence) else ()


def _unreadable(cell: Unreadable, name: str, column: str) -> Problem:
    return Problem(cell.kind, f"{name}, column {column}: {cell.reason}. Fix or remove the row.")


def missing_columns(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the columns that a row or schema does not have."""
    return [column for column in columns if _value(row, column) is _MISSING]


def unknown_column(place: str, column: str, row: Mapping[str, Any]) -> UsageError:
    """Return the error about a column that a row or schema does not have."""
    return UsageError(
        f"{place}: has no column {column}. It has {', '.join(_names(row))}. Set the reader's text_column, "
        "language_column, licence_column, group_column or where to one of them."
    )


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return a column's value. A column whose name contains a dot has precedence over a nested one."""
    if column in row:
        return row[column]
    first, dot, rest = column.partition(".")
    below = row.get(first) if dot else None
    if isinstance(below, Unreadable):
        return below
    return _value(below, rest) if isinstance(below, Mapping) else _MISSING


def _names(row: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, below in row.items():
        if isinstance(below, Mapping) and below:
            yield from _names(below, f"{above}{name}.")
        else:
            yield f"{above}{name}"
