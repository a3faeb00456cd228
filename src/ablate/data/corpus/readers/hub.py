"""A data set of the Hugging Face hub, streamed, or a local folder with the same layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ablate.data.corpus.readers.cells import rows_of
from ablate.data.corpus.readers.columns import Columns
from ablate.data.corpus.readers.paths import named_in_utf8
from ablate.data.corpus.readers.reader import Part, Problem, RawDocument
from ablate.errors import FailureError, UsageError

# The hub does not say how large a file is.
_FILE_BYTES = 256_000_000

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Hub(Columns):
    """The data set that `datasets.load_dataset` returns for the same arguments, read as a stream.

    `files` limits the reading to the first so many files.
    """

    path: str
    name: str | None
    data_dir: str | None
    data_files: tuple[str, ...] | None
    split: str
    revision: str | None
    files: int | None

    def parts(self) -> list[Part]:
        """Return each file.

        Raises:
            UsageError: no such data set, split, file or column.
            FailureError: the hub cannot be reached, or requires a login.
        """
        stream = self._stream()
        count = stream.num_shards if self.files is None else min(self.files, stream.num_shards)
        features = self._explained(lambda: stream._resolve_features().features)
        fields = _fields(features)
        # Cells of several types are JSON, whose fields no schema lists.
        fields |= {name: "JSON" for name in self.columns if _is_json(features.get(name.partition(".")[0]))}
        self.check(fields, f"the data set {self.path}")
        root = Path(self.path).expanduser()
        paths = root.rglob("*") if root.is_dir() else ()
        local = tuple(sorted(named_in_utf8(path) for path in paths if path.is_file()))
        size_bytes = sum(path.stat().st_size for path in local) // stream.num_shards if local else _FILE_BYTES
        return [
            Part(f"{number} of {stream.num_shards}", size_bytes, local, (number, number + 1)) for number in range(count)
        ]

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield the documents of a file."""
        stream = self._stream(is_typed=False).with_format("arrow")
        rows = iter(stream.shard(stream.num_shards, part.span[0]))
        row = 0
        place = f"{self.path}, file {part.span[0]}"
        while (table := self._explained(lambda: _next(rows, place))) is not None:
            for values in rows_of(table, self.columns):
                document = self.document(values, f"{place}, row {row}")
                row += 1
                if document is not None:
                    yield document

    def _stream(self, *, is_typed: bool = True) -> Any:
        """Return the rows as a stream; unless typed, each file keeps the types that it has.

        `datasets` casts all columns of all files to the types of the first one, also columns that are not read.
        """
        try:
            import datasets
        except ImportError:
            raise FailureError(
                f"The data set {self.path} needs the package datasets, which is not installed.\n"
                "Install it from a checkout: pip install -e '.[hub]'"
            ) from None
        arguments = {
            "name": self.name,
            "data_dir": self.data_dir,
            "data_files": None if self.data_files is None else list(self.data_files),
            "revision": self.revision,
        }
        arguments = {key: value for key, value in arguments.items() if value is not None}
        root = Path(self.path).expanduser()
        path = str(root) if root.is_dir() else self.path

        def load() -> Any:
            builder = datasets.load_dataset_builder(path, **arguments)
            stream = builder.as_streaming_dataset(split=self.split)
            if not is_typed:
                builder.info.features = stream.info.features = None
            return stream

        return self._explained(load)

    def _explained(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; translate the errors of the hub."""
        from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return call()
        except DatasetNotFoundError as error:
            if "gated" in str(error).lower():
                raise FailureError(
                    f"The data set {self.path} is gated. Accept its terms at\n"
                    f"  https://huggingface.co/datasets/{self.path}\n"
                    "and log in on this machine:  hf auth login   (or HF_TOKEN=… in the environment)."
                ) from None
            raise UsageError(
                f"corpus: the hub has no data set {self.path} (revision {self.revision or 'main'}) that you may read. "
                "Check path= and revision=; a private data set needs a login (hf auth login, or HF_TOKEN=…)."
            ) from None
        except (DataFilesNotFoundError, FileNotFoundError, ValueError) as error:
            raise UsageError(
                f"corpus: the data set {self.path} has nothing for name={self.name} "
                f"data_dir={self.data_dir} data_files={self.data_files} split={self.split}: {error}"
            ) from None
        except HfHubHTTPError as error:
            raise FailureError(
                f"The hub refused the data set {self.path}: {error}. If it requires a login: hf auth login, or "
                "HF_TOKEN=…"
            ) from None
        except OSError as error:
            raise FailureError(
                f"The data set {self.path} cannot be reached ({error}). Run the same command again to resume; "
                "without a network, give path= a folder with the data set's files."
            ) from None


def _next(rows: Iterator[Any], place: str) -> Any:
    """Return the next table, or None. Raises FailureError: a file whose content cannot be read."""
    try:
        return next(rows, None)
    except ValueError as error:
        # UnicodeDecodeError and Arrow's errors are of this type.
        raise FailureError(
            f"{place}: cannot be read ({error}). Fix or leave out the file (data_files=…), or read a copy of it with "
            "corpus=jsonl or corpus=parquet, which name the row and can skip it."
        ) from None


def _is_json(feature: Any) -> bool:
    return type(feature).__name__ == "Json"


def _fields(features: Any) -> dict[str, Any]:
    """Return the columns by name; nested ones as a mapping."""
    return {name: _fields(kind) if isinstance(kind, dict) else kind for name, kind in features.items()}
