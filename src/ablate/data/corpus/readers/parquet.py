"""Parquet files: one document per row."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.data.corpus.readers.cells import rows_of
from ablate.data.corpus.readers.columns import Columns
from ablate.data.corpus.readers.paths import PART_BYTES, FilesBelow
from ablate.data.corpus.readers.reader import Part, Problem, RawDocument
from ablate.errors import FailureError

_ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Parquet(FilesBelow, Columns):
    """Parquet files."""

    def parts(self) -> list[Part]:
        """Return parts of row groups; small ones share a part. Raises UsageError: a missing column."""
        return [part for path in self.files() for part in self._parts(path)]

    def _parts(self, path: Path) -> Iterator[Part]:
        file = _opened(path)
        self.check(_fields(file.schema_arrow), str(path))
        sizes = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
        first = size_bytes = 0
        for number, size in enumerate(sizes):
            if number > first and size_bytes + size > PART_BYTES:
                yield Part(f"{path}:{first}", size_bytes, (path,), (first, number))
                first, size_bytes = number, 0
            size_bytes += size
        yield Part(f"{path}:{first}", size_bytes, (path,), (first, len(sizes)))

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield the documents of the part's row groups."""
        import pyarrow as pa

        [path] = part.files
        file = _opened(path)
        row = sum(file.metadata.row_group(number).num_rows for number in range(part.span[0]))
        try:
            for batch in file.iter_batches(_ROWS_AT_ONCE, list(range(*part.span)), self.columns):
                for values in rows_of(batch, self.columns):
                    document = self.document(values, f"{path}, row {row}")
                    row += 1
                    if document is not None:
                        yield document
        except (OSError, pa.ArrowException) as error:
            raise FailureError(f"{path}: cannot be read to its end ({error}). Copy or download it again.") from None


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise FailureError(f"{path}: not a readable Parquet file ({error}). Copy or download it again.") from None


def _fields(parent: Any) -> dict[str, Any]:
    """Return the fields of a schema or struct by name."""
    import pyarrow as pa

    names = [parent.field(number) for number in range(len(parent.names))]
    return {field.name: _fields(field.type) if pa.types.is_struct(field.type) else field.type for field in names}
