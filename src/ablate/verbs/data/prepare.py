"""`data prepare` and `data verify`: make the text and tokens of a grid's trials, and check that they are unchanged."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from ablate.config.trial import TrialConfig
from ablate.console import say
from ablate.data.corpus.corpus import Corpus
from ablate.data.corpus.progress import shown_progress
from ablate.data.corpus.recipe import corpus_folder
from ablate.data.corpus.token_file import shard_sha256
from ablate.data.tokens.shards import Shards, open_shards, shard_folder
from ablate.errors import FailureError
from ablate.files import file_sha256
from ablate.grid.grid import Grid


def trials_by_shards(grid: Grid) -> Iterator[TrialConfig]:
    """Yield one trial for each corpus and tokenizer of the grid."""
    yield from {shard_folder(cell.trial): cell.trial for cell in grid.cells}.values()


def prepared_shards(trial: TrialConfig) -> Shards:
    """Return the trial's shards; if they are missing, make them behind a progress bar."""
    with shown_progress() as progress:
        return open_shards(trial, progress)


def prepare(grid: Grid, words: list[str], console: Console) -> int:
    """Make missing shards and print their folders."""
    for trial in trials_by_shards(grid):
        state = "Already prepared" if shard_folder(trial).is_dir() else "Prepared"
        shards = prepared_shards(trial)
        tokens = ", ".join(f"{source} {shards.source(source).tokens:,}" for source in shards.facts.sources)
        say(console, f"{state}: {shards.folder}")
        say(console, f"Train tokens, including two <|endoftext|> per document: {tokens}.")
        say(console, f"Data card: {shards.folder}/card.md")
    return 0


def verify(grid: Grid, words: list[str], console: Console) -> int:
    """Compare all prepared files with their checksums. Raises FailureError for a changed file."""
    changed: list[str] = []
    for trial in trials_by_shards(grid):
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
            in_folder = list(_changed(folder, files))
            changed += in_folder
            result = f"{len(in_folder)} of {len(files)} files changed" if in_folder else f"{len(files)} files unchanged"
            say(console, f"{folder}: {result}", "red" if in_folder else "")
    if changed:
        lines = "".join(f"  {line}\n" for line in changed)
        raise FailureError(f"Damaged:\n{lines}Delete these folders and run data prepare; trials keep their ids.")
    return 0


def _changed(folder: Path, checksums: Mapping[str, str]) -> Iterator[str]:
    with shown_progress() as progress:
        paths = {folder / name: sha256 for name, sha256 in checksums.items()}
        sizes = {path: path.stat().st_size for path in paths if path.exists()}
        bar = progress.add_task("verifying", total=sum(sizes.values()))
        for path, sha256 in paths.items():
            if path not in sizes:
                yield f"{path}: missing"
            elif file_sha256(path) != sha256:
                yield f"{path}: changed since it was written"
            progress.advance(bar, sizes.get(path, 0))
