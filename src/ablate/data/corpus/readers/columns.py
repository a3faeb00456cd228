"""Turns a row of a table into a document."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.data.corpus.readers.reader import Problem, RawDocument, binary
from ablate.errors import UsageError

_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns. A dot selects a field of a nested column, as in `meta.pile_set_name`.

    Without `language_column`, all rows have `language`. `licence_column` holds one licence or a list. Only rows that
    have one of the listed values in each column of `where` are read.
    """

    text_column: str
    language_column: str | None
    language: str
    licence_column: str | None
    where: dict[str, tuple[str, ...]]

    @property
    def columns(self) -> list[str]:
        """Names of all columns that are read."""
        named = (self.text_column, self.language_column, self.licence_column, *self.where)
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
        if any(str(_value(row, column)) not in values for column, values in self.where.items()):
            return None
        text = _value(row, self.text_column)
        if not isinstance(text, str):
            value = "is missing" if text is _MISSING else f"is {json.dumps(text, default=str)[:40]}"
            columns = f"The row has {', '.join(_names(row))}; set text_column to the one with the text."
            return Problem("no_text", f"{name}: {self.text_column} {value}. {columns}")
        if "\0" in text:
            return binary(name, f"character {text.index(chr(0))}")
        language = _value(row, self.language_column) if self.language_column else self.language
        return RawDocument(name, text, language if isinstance(language, str) else "", self._licences(row))

    def _licences(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        licences = _value(row, self.licence_column) if self.licence_column else None
        if isinstance(licences, str):
            return (licences,)
        return tuple(map(str, licences)) if isinstance(licences, Sequence) else ()


def missing_columns(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the columns that a row or schema does not have."""
    return [column for column in columns if _value(row, column) is _MISSING]


def unknown_column(place: str, column: str, row: Mapping[str, Any]) -> UsageError:
    """Return the error about a column that a row or schema does not have."""
    return UsageError(
        f"{place}: has no column {column}. It has {', '.join(_names(row))}. Set the reader's text_column, "
        "language_column, licence_column or where to one of them."
    )


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return a column's value. A column whose name contains a dot has precedence over a nested one."""
    if column in row:
        return row[column]
    first, dot, rest = column.partition(".")
    below = row.get(first) if dot else None
    return _value(below, rest) if isinstance(below, Mapping) else _MISSING


def _names(row: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, below in row.items():
        if isinstance(below, Mapping) and below:
            yield from _names(below, f"{above}{name}.")
        else:
            yield f"{above}{name}"
