"""A benchmark's rows, from a file or from the Hugging Face hub, and what identifies their content."""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ablate.errors import FailureError, UsageError
from ablate.files import replacing

Rows = Iterable[dict[str, Any]]
# By their suffix, below which .gz may stand.
FORMATS = (".parquet", ".jsonl", ".json")


class Named(Protocol):
    """Something that a benchmark's rows describe."""

    @property
    def name(self) -> str:
        """Unique in its benchmark."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True)
class HubSplit:
    """A split of a data set of the hub."""

    path: str
    split: str
    name: str | None = None

    def file(self, folder: Path, key: str) -> Path:
        """Return the split as a file of `folder`; fetch it where it is missing.

        Args:
            key: of the configuration, by which a user names a copy.

        Raises:
            FailureError: it cannot be fetched.
        """
        file = folder / f"{self.path.replace('/', '--')}-{self.split}.jsonl"
        if file.exists():
            return file
        try:
            import datasets
        except ImportError:
            raise FailureError(
                f"{self.path}: is fetched by the package datasets, which is not installed. Install it from a checkout "
                f"(pip install -e '.[hub]'), or type the path of a copy: {key}=PATH."
            ) from None
        try:
            rows = datasets.load_dataset(self.path, self.name, split=self.split)
        except Exception as error:  # The hub's clients raise errors of many libraries.
            raise FailureError(
                f"{self.path}: the hub does not give it ({type(error).__name__}: {error}). Run the same command again, "
                f"or type the path of a copy: {key}=PATH."
            ) from None
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as scratch:
            rows.to_json(scratch, force_ascii=False)
        return file

    def file_in(self, folder: Path) -> Path:
        """Return the file of this split in a folder that has the layout of the hub. Raises UsageError."""
        files = sorted(
            file
            for file in folder.rglob("*")
            if self.split in file.name and Path(file.name.removesuffix(".gz")).suffix in FORMATS
        )
        if len(files) != 1:
            names = ", ".join(str(file.relative_to(folder)) for file in files) or "none"
            raise UsageError(
                f"{folder}: needs one file of the split {self.split} ({', '.join(FORMATS)}), and has {names}. "
                "Type the path of a file."
            )
        return files[0]


def named_file(path: str) -> Path:
    """Return the file of a path. Raises UsageError: there is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file. Give the benchmark's file ({', '.join(FORMATS)}, also .gz).")
    return file


def content_id(file: Path) -> str:
    """Return what identifies a file's content, wherever it lies."""
    stat = file.stat()
    return _content_sha256(file, stat.st_mtime_ns, stat.st_size)


@lru_cache
def _content_sha256(file: Path, modified_ns: int, size_bytes: int) -> str:
    """Return the digest of a file's content. A grid asks for it with every trial's id of the suite."""
    content = file.read_bytes()
    with suppress(OSError, EOFError):
        # gzip stores a time.
        content = gzip.decompress(content)
    return hashlib.sha256(content).hexdigest()


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file, or of JSON lines, which may be compressed by gzip.

    Raises:
        FailureError: the file is not what it should be.
    """
    try:
        if file.suffix == ".parquet":
            import pyarrow.parquet

            return list(pyarrow.parquet.read_table(file).to_pylist())
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        form = "Parquet" if file.suffix == ".parquet" else "lines of JSON"
        raise FailureError(f"{file}: cannot be read as {form} ({error}). Fetch the file again.") from None


def items(make: Callable[[Rows], Iterator[N]], file: Path, noun: str) -> list[N]:
    """Return what a benchmark's function makes of its file's rows.

    Raises:
        FailureError: as `read_rows`; also a row without a field that it should have.
    """
    try:
        return list(make(read_rows(file)))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError, SyntaxError) as error:
        raise FailureError(
            f"{file}: a row is not a {noun} of {make.__name__} ({type(error).__name__}: {error}). "
            "Give the file of this benchmark."
        ) from None


def by_hash(all_items: Sequence[N]) -> list[N]:
    """Return the items in the order of the hashes of their names."""
    return sorted(all_items, key=lambda item: hashlib.sha256(item.name.encode()).digest())


def chosen(all_items: Sequence[N], count: int | None) -> list[N]:
    """Return so many of the items, in their order. They are the first by hash: fewer are part of more."""
    names = {item.name for item in by_hash(all_items)[:count]}
    return [item for item in all_items if item.name in names]
