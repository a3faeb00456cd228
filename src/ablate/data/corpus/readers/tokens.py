"""Tokens made elsewhere, in Megatron's format (see `token_file`): served where they lie, never copied."""

from dataclasses import dataclass
from pathlib import Path

from ablate.data.corpus.readers.reader import Part
from ablate.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MegatronShards:
    """A `.bin` with its `.idx` beside it, or all of them in a folder.

    `end_of_document` is the id that ends each document in them, read as our `<|endoftext|>`; null where there is none.
    """

    path: str
    end_of_document: int | None

    def parts(self) -> list[Part]:
        """Each shard. Raises UsageError where there is none."""
        root = Path(self.path).expanduser()
        paths = sorted(root.glob("*.bin")) if root.is_dir() else [root.with_suffix(".bin")]
        missing = [path for path in [*paths, *(path.with_suffix(".idx") for path in paths)] if not path.is_file()]
        if missing or not paths:
            raise UsageError(
                f"{missing[0] if missing else root}: no such shard. Give path= a pair of Megatron's files, "
                "<name>.bin and <name>.idx, or a folder of them."
            )
        return [
            Part(path.name, path.stat().st_size, (path.absolute(), path.with_suffix(".idx").absolute()))
            for path in paths
        ]
