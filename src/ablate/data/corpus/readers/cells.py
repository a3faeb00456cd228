"""Rows of Arrow tables as Python values. Only the wanted columns are converted."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.config.data import ProblemKind

# The type of a column in which `datasets` found values of several types: each cell is JSON.
_JSON = "extension<arrow.json>"


@dataclass(frozen=True)
class Unreadable:
    """A cell without a Python value: the kind of its problem, and the reason."""

    kind: ProblemKind
    reason: str


def rows_of(table: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield each row of an Arrow table or batch with the wanted columns; a cell may be `Unreadable`.

    Args:
        table: a table or record batch.
        columns: names of columns. A dot selects a field of a nested column. Columns that the table lacks are absent.
    """
    arrays = dict(named_array for column in columns if (named_array := _column(table, column)) is not None)
    values = {name: _cells(array) for name, array in arrays.items()}
    for row in range(table.num_rows):
        yield {name: cells[row] for name, cells in values.items()}


def _column(table: Any, column: str) -> tuple[str, Any] | None:
    """Return the column by its name; of a field in cells that are no structs, the column above it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = table.schema.names
    if column in names:
        return column, table.column(column)
    first, _, rest = column.partition(".")
    if first not in names:
        return None
    array = table.column(first)
    if not pa.types.is_struct(array.type):
        return first, array
    while rest:
        fields = [field.name for field in array.type] if pa.types.is_struct(array.type) else []
        # A field whose name has a dot comes before a nested one.
        name = rest if rest in fields else rest.partition(".")[0]
        if name not in fields:
            return None
        array, rest = pc.struct_field(array, [name]), rest[len(name) + 1 :]
    return column, array


def _cells(array: Any) -> list[Any]:
    import pyarrow as pa

    try:
        cells = array.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        # One by one, to find those that have no value.
        cells = [_cell(scalar) for scalar in array]
    if str(array.type) == _JSON:
        return [json.loads(cell) if isinstance(cell, str) else cell for cell in cells]
    return list(cells)


def _cell(scalar: Any) -> Any:
    import pyarrow as pa

    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return Unreadable("not_utf8", f"not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x})")
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable("bad_value", f"a value of type {scalar.type} that cannot be read ({error})")
