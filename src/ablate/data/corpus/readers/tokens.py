"""Pre-tokenized shards in Megatron's format (see `token_file`). They are read in place, never copied."""

from dataclasses import dataclass
from pathlib import Path

from ablate.data.corpus.readers.paths import named_in_utf8
from ablate.data.corpus.readers.reader import Part
from ablate.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MegatronShards:
    """A `.bin` file with its `.idx`, or all of them in a folder.

    `end_of_document` is the id that ends each document, read as our `<|endoftext|>`; null if there is none.
    """

    path: str
    end_of_document: int | None

    def parts(self) -> list[Part]:
        """Return each shard. Raises UsageError if there is none."""
        root = Path(self.path).expanduser()
        paths = sorted(root.glob("*.bin")) if root.is_dir() else [root.with_suffix(".bin")]
        missing = [path for path in [*paths, *(path.with_suffix(".idx") for path in paths)] if not path.is_file()]
        if missing or not paths:
            raise UsageError(
                f"{missing[0] if missing else root}: no such shard. Give path= a .bin file with its "
                ".idx, as Megatron-LM writes them, or a folder of such files."
            )
        return [
            Part(named_in_utf8(path).name, path.stat().st_size, (path.absolute(), path.with_suffix(".idx").absolute()))
            for path in paths
        ]
