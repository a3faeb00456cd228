"""`data stats`: what is in a grid's corpora, and how it fills rows."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.config.trial import PACKINGS, TrialConfig
from ablate.data.batches.stream import Stream
from ablate.data.corpus.corpus import prepared_corpus
from ablate.data.corpus.progress import shown_progress
from ablate.data.tokens.card import CardTable, card, tables
from ablate.data.tokens.shards import Shards
from ablate.errors import UsageError
from ablate.grid.plan import Plan
from ablate.verbs.data.prepare import each_data, made


def of_grid(plan: Plan, names: list[str], console: Console) -> int:
    """Prints the tables of each corpus; with `--markdown` its data card. Raises UsageError."""
    as_markdown = names == ["--markdown"]
    if names and not as_markdown:
        raise UsageError(f"data stats {' '.join(names)}: takes --markdown and a grid's overrides.")
    for trial in each_data(plan):
        shards = made(trial)
        with shown_progress() as progress:
            corpus = prepared_corpus(trial, progress)
        if as_markdown:
            print(card(corpus, trial.tokenizer, shards.fingerprint, shards.counted), end="")
            continue
        for table in [*tables(corpus, shards.counted), _packing(shards, trial), _reading(shards, trial)]:
            show_table(table, console)
    return 0


def _packing(shards: Shards, trial: TrialConfig) -> CardTable:
    """How each way of packing fills the rows of a trial's window."""
    rows = []
    for source in shards.sources:
        for packing in PACKINGS:
            found = shards.rows(source, packing, trial.scale.window_tokens)
            rows.append((source, packing, f"{found.count:,}", f"{found.padding_share:.2%}", f"{found.cut_share:.1%}"))
    columns = ("source", "packing", "rows", "padding", "documents cut")
    return CardTable(f"Rows of {trial.scale.window_tokens} tokens", 2, columns, tuple(rows))


def _reading(shards: Shards, trial: TrialConfig) -> CardTable:
    """How much of each source the trial's mixture takes over the budget, and how often."""
    found = Stream(shards, trial).reading(trial.budget_rows)
    rows = tuple((source, f"{share:.1%}", f"{epochs:.3g}") for source, (share, epochs) in found.items())
    title = f"Read by a budget of {trial.budget.train_tokens:,} tokens"
    return CardTable(title, 1, ("source", "share of rows", "epochs"), rows)


def show_table(table: CardTable, console: Console) -> None:
    """On the terminal."""
    shown = Table(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(table.columns):
        is_text = number < table.texts
        shown.add_column(escape(name), justify="left" if is_text else "right", no_wrap=not is_text)
    for row in table.rows:
        shown.add_row(*map(escape, row))
    console.print(shown)
