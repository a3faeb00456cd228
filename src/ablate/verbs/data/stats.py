"""`data stats`: the contents of a grid's corpora, and how they fill rows."""

from dataclasses import replace

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.config.data import PACKINGS
from ablate.config.trial import TrialConfig
from ablate.data.batches.rows import packed_rows
from ablate.data.batches.stream import Stream
from ablate.data.corpus.corpus import prepared_corpus
from ablate.data.corpus.progress import shown_progress
from ablate.data.tokens.card import CardTable, card, tables
from ablate.data.tokens.shards import Shards
from ablate.grid.grid import Grid
from ablate.verbs.data.prepare import prepared_shards, trials_by_shards


def of_grid(grid: Grid, words: list[str], console: Console) -> int:
    """Print the tables of each corpus; with `--markdown` its data card."""
    for trial in trials_by_shards(grid):
        shards = prepared_shards(trial)
        with shown_progress() as progress:
            corpus = prepared_corpus(trial, progress)
        if words:
            print(card(corpus, trial.tokenizer, shards.facts.fingerprint, shards.facts.statistics), end="")
            continue
        for table in [*tables(corpus, shards.facts.statistics), _packing(shards, trial), _reading(shards, trial)]:
            _show(table, console)
    return 0


def _packing(shards: Shards, trial: TrialConfig) -> CardTable:
    cells = []
    for source in shards.facts.sources:
        # Only shards that are made for it have groups.
        for packing in dict.fromkeys([*PACKINGS[:2], trial.mixture.packing]):
            rows = packed_rows(shards, source, replace(trial.mixture, packing=packing), trial.scale.window_tokens)
            fractions = (f"{rows.padding_fraction:.2%}", f"{rows.split_fraction:.1%}")
            cells.append((source, packing, f"{rows.count:,}", *fractions))
    columns = ("source", "packing", "rows", "padding", "split documents")
    return CardTable(f"Rows of {trial.scale.window_tokens} tokens", 2, columns, tuple(cells))


def _reading(shards: Shards, trial: TrialConfig) -> CardTable:
    reading = Stream(shards, trial).reading(trial.budget_rows)
    rows = tuple((source, f"{fraction:.1%}", f"{epochs:.3g}") for source, (fraction, epochs) in reading.items())
    title = f"Read by a budget of {trial.budget.train_tokens:,} tokens"
    return CardTable(title, 1, ("source", "fraction of rows", "epochs"), rows)


def _show(table: CardTable, console: Console) -> None:
    shown = Table(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(table.columns):
        is_text = number < table.text_columns
        shown.add_column(escape(name), justify="left" if is_text else "right", no_wrap=not is_text)
    for row in table.rows:
        shown.add_row(*map(escape, row))
    console.print(shown)
