"""Which columns of a table make a document."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.data.corpus.readers.reader import Problem, RawDocument, binary
from ablate.errors import UsageError

_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A row's columns by name; a dot leads into one with fields of its own, as in `meta.pile_set_name`.

    `language` is every row's where no `language_column` is named. `licence_column` holds one licence or a list. Rows
    are read of which each column of `where` has one of the given values.
    """

    text_column: str
    language_column: str | None
    language: str
    licence_column: str | None
    where: dict[str, tuple[str, ...]]

    @property
    def columns(self) -> list[str]:
        """All that are read."""
        named = (self.text_column, self.language_column, self.licence_column, *self.where)
        return list(dict.fromkeys(column for column in named if column is not None))

    def check(self, schema: Mapping[str, Any], place: str) -> None:
        """Refuses a table without one of the columns.

        Args:
            schema: something by the name of each column that there is; fields of its own as a mapping.
            place: the table, for people.

        Raises:
            UsageError: names what there is.
        """
        for column in lacking(schema, self.columns):
            raise unknown_column(place, column, schema)

    def document(self, row: Mapping[str, Any], name: str) -> RawDocument | Problem | None:
        """The row as a document; None where it is not one of those wanted."""
        if any(str(_value(row, column)) not in values for column, values in self.where.items()):
            return None
        text = _value(row, self.text_column)
        if not isinstance(text, str):
            found = "is missing" if text is _MISSING else f"is {json.dumps(text, default=str)[:40]}"
            has = f"The row has {', '.join(_names(row))}; text_column says which is the text."
            return Problem("no_text", f"{name}: {self.text_column} {found}. {has}")
        if "\0" in text:
            return binary(name, f"character {text.index(chr(0))}")
        language = _value(row, self.language_column) if self.language_column else self.language
        return RawDocument(name, text, language if isinstance(language, str) else "", self._licences(row))

    def _licences(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        found = _value(row, self.licence_column) if self.licence_column else None
        if isinstance(found, str):
            return (found,)
        return tuple(map(str, found)) if isinstance(found, Sequence) else ()


def lacking(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """The columns that a row, or a schema, has not."""
    return [column for column in columns if _value(row, column) is _MISSING]


def unknown_column(place: str, column: str, row: Mapping[str, Any]) -> UsageError:
    """Of a table that has what this row, or schema, has."""
    return UsageError(
        f"{place}: has no column {column}. It has {', '.join(_names(row))}. Name the right one with the reader's "
        "text_column, language_column, licence_column or where."
    )


def _value(row: Mapping[str, Any], column: str) -> Any:
    """What a row has there; a name with a dot in it goes before a field."""
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
