"""`data show`: rows as the model reads them, with bidirectional spans, document segments and targets."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from rich.console import Console
from rich.text import Text

from ablate.console import counted
from ablate.data.batches.batch import Batch
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.grid.cell import Cell
from ablate.grid.grid import Grid
from ablate.verbs.data.prepare import prepared_shards

# The number of rows that are searched for one of each kind.
SEARCHED_ROWS = 400

SPAN, TARGET, SPECIAL, BORDER = "on blue", "green", "bold magenta", "dim"


def of_grid(grid: Grid, numbers: list[str], console: Console) -> int:
    """Show rows of each arm: those with these numbers, or one of each kind."""
    legend = Text.assemble(
        ("has loss", TARGET), "   no loss   ", (" bidirectional ", SPAN), "  ", ("<special>", SPECIAL)
    )
    console.print(legend, "  ── between documents that do not attend to each other", highlight=False)
    cells: dict[str, Cell] = {}
    for cell in grid.cells:
        cells.setdefault(cell.arm.label, cell)
    for cell in cells.values():
        shards = prepared_shards(cell.trial)
        batches = TrainBatches(cell.trial, shards)
        console.rule(cell.label, align="left")
        for row in map(int, numbers) if numbers else _one_of_each_kind(batches):
            _show(row, batches, shards.tokenizer, console, cell.trial.budget_rows)
    return 0


def _one_of_each_kind(batches: TrainBatches) -> Iterator[int]:
    """Yield the first row of each task with, and without, special tokens such as masks."""
    structure = set(batches.transform.special.names()) - {batches.transform.special.end_of_text}
    seen: set[tuple[int, bool]] = set()
    for row in range(SEARCHED_ROWS):
        batch, *_ = batches.batch([row])
        kind = (int(batch.task_B[0]), not structure.isdisjoint(batch.input_ids_BT[0].tolist()))
        if kind not in seen:
            seen.add(kind)
            yield row


def _show(row: int, batches: TrainBatches, tokenizer: Tokenizer, console: Console, budget_rows: int) -> None:
    batch, train_tokens, truncated_tokens = batches.batch([row])
    task = batches.transform.objective.tasks[int(batch.task_B[0])]
    facts = [
        f"row {row}",
        task.label if task.label == task.task.name else f"{task.label} ({task.task.name})",
        batches.stream.sources[int(batch.source_B[0])],
        f"{train_tokens} train tokens",
        f"{int((batch.document_BT > 0).sum())} input tokens",
        f"{int(batch.loss_weight_BT.sum())} loss tokens",
        *([f"{truncated_tokens} truncated"] if truncated_tokens else []),
        *([f"beyond the budget of {counted(budget_rows, 'row')}"] if row >= budget_rows else []),
    ]
    console.print(f"[bold]{' · '.join(facts)}[/]", highlight=False)
    console.print(rendered(batch, tokenizer, console.width), highlight=False)
    console.print()


def rendered(batch: Batch, tokenizer: Tokenizer, width: int) -> Text:
    """Return the first row of a batch as styled text."""
    ids_T, document_T, span_T = (field[0] for field in (batch.input_ids_BT, batch.document_BT, batch.span_BT))
    # A token is the target of the position before it.
    is_target_T = np.concatenate([[False], batch.loss_weight_BT[0, :-1] > 0])
    names = tokenizer.special.names()
    text = Text()
    keys = [
        (int(document), int(span), bool(is_target), names.get(int(token)))
        for document, span, is_target, token in zip(document_T, span_T, is_target_T, ids_T, strict=True)
        if document > 0
    ]
    previous = 1
    for (document, span, is_target, name), run in groupby(enumerate(keys), key=lambda numbered: numbered[1]):
        if document != previous:
            text.append("\n" + "─" * width + "\n", style=BORDER)
            previous = document
        places = [place for place, _ in run]
        if name is None:
            content = b"".join(tokenizer.bytes_of(int(ids_T[place])) for place in places)
            shown, style = content.decode(errors="replace"), TARGET if is_target else ""
        else:
            shown, style = name * len(places), SPECIAL
        text.append(shown, style=f"{style} {SPAN}" if span else style or None)
    return text
