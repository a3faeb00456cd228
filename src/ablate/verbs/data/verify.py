"""`data verify`: check that prepared files are unchanged, byte for byte."""

from pathlib import Path

from rich.console import Console

from ablate.data.corpus.corpus import Corpus, corpus_folder
from ablate.data.corpus.progress import shown_progress
from ablate.data.corpus.token_file import shard_sha256
from ablate.data.tokens.shards import Shards, shard_folder
from ablate.errors import FailureError, UsageError
from ablate.files import file_sha256
from ablate.grid.grid import Grid
from ablate.verbs.data.prepare import trials_by_shards


def of_grid(plan: Grid, names: list[str], console: Console) -> int:
    """Read every file of the grid's corpora and shards. Raises UsageError; FailureError: a changed file."""
    if names:
        raise UsageError(f"data verify {' '.join(names)}: only overrides are allowed, such as corpus=wheels.")
    changed: list[str] = []
    for trial in trials_by_shards(plan):
        shards = Shards(shard_folder(trial), trial.tokenizer)
        if not shards.folder.is_dir():
            raise FailureError(f"{shards.folder}: not prepared. Run data prepare with the same overrides.")
        checksums = {shards.folder: shards.facts.checksums}
        corpus = Corpus(corpus_folder(trial))
        if corpus.folder.is_dir():
            checksums[corpus.folder] = corpus.facts.checksums
            changed += [
                f"{part.path}, or its .idx: changed since the corpus was prepared"
                for part in corpus.facts.token_parts
                if shard_sha256(Path(part.path)) != part.sha256
            ]
        for folder, files in checksums.items():
            in_folder = _changed(folder, files)
            changed += in_folder
            result = f"{len(in_folder)} of {len(files)} files changed" if in_folder else f"{len(files)} files unchanged"
            console.print(f"{folder}: {result}", soft_wrap=True, highlight=False, style="red" if in_folder else "")
    if changed:
        raise FailureError(
            "Damaged:\n" + "\n".join(f"  {line}" for line in changed) + "\nDelete these folders and run data prepare; "
            "trials keep their ids."
        )
    return 0


def _changed(folder: Path, checksums: dict[str, str]) -> list[str]:
    changed = []
    with shown_progress() as progress:
        paths = {folder / name: sha256 for name, sha256 in checksums.items()}
        sizes = {path: path.stat().st_size for path in paths if path.exists()}
        bar = progress.add_task("verifying", total=sum(sizes.values()))
        for path, sha256 in paths.items():
            if path not in sizes:
                changed.append(f"{path}: missing")
            elif file_sha256(path) != sha256:
                changed.append(f"{path}: changed since it was written")
            progress.advance(bar, sizes.get(path, 0))
    return changed
