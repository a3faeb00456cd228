"""`data prepare`: reads, cleans and tokenizes what a grid's trials read."""

from collections.abc import Iterator

from rich.console import Console

from ablate.config.trial import TrialConfig
from ablate.data.corpus.progress import shown_progress
from ablate.data.tokens.shards import Shards, open_shards, shard_folder
from ablate.errors import UsageError
from ablate.grid.plan import Plan


def each_data(plan: Plan) -> Iterator[TrialConfig]:
    """One trial for each corpus and tokenizer of the grid."""
    yield from {shard_folder(cell.trial): cell.trial for cell in plan.cells}.values()


def made(trial: TrialConfig) -> Shards:
    """The trial's shards, made with a bar where they are missing."""
    with shown_progress() as progress:
        return open_shards(trial, progress)


def of_grid(plan: Plan, names: list[str], console: Console) -> int:
    """Makes what is missing, and says where it is. Raises UsageError."""
    if names:
        raise UsageError(f"data prepare {' '.join(names)}: takes a grid's overrides only, as corpus=wheels.")
    for trial in each_data(plan):
        word = "Already there" if shard_folder(trial).is_dir() else "Made"
        shards = made(trial)
        tokens = ", ".join(f"{source} {shards.source(source).tokens:,}" for source in shards.sources)
        console.print(f"{word}: {shards.folder}", soft_wrap=True, highlight=False)
        console.print(
            f"Tokens to train on, two borders a document among them: {tokens}.", soft_wrap=True, highlight=False
        )
        console.print(f"Data card: {shards.folder}/card.md", soft_wrap=True, highlight=False)
    return 0
