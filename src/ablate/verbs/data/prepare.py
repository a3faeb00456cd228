"""`data prepare`: read, clean and tokenize the text of a grid's trials."""

from collections.abc import Iterator

from rich.console import Console

from ablate.config.trial import TrialConfig
from ablate.data.corpus.progress import shown_progress
from ablate.data.tokens.shards import Shards, open_shards, shard_folder
from ablate.errors import UsageError
from ablate.grid.grid import Grid


def trials_by_shards(plan: Grid) -> Iterator[TrialConfig]:
    """Yield one trial for each corpus and tokenizer of the grid."""
    yield from {shard_folder(cell.trial): cell.trial for cell in plan.cells}.values()


def prepared_shards(trial: TrialConfig) -> Shards:
    """Return the trial's shards; if they are missing, make them behind a progress bar."""
    with shown_progress() as progress:
        return open_shards(trial, progress)


def of_grid(plan: Grid, names: list[str], console: Console) -> int:
    """Make missing shards and print their folders. Raises UsageError."""
    if names:
        raise UsageError(f"data prepare {' '.join(names)}: only overrides are allowed, such as corpus=wheels.")
    for trial in trials_by_shards(plan):
        state = "Already prepared" if shard_folder(trial).is_dir() else "Prepared"
        shards = prepared_shards(trial)
        tokens = ", ".join(f"{source} {shards.source(source).tokens:,}" for source in shards.sources)
        for line in (
            f"{state}: {shards.folder}",
            f"Train tokens, including two <|endoftext|> per document: {tokens}.",
            f"Data card: {shards.folder}/card.md",
        ):
            console.print(line, soft_wrap=True, highlight=False)
    return 0
