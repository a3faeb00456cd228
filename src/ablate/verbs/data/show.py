"""`data show`: real rows as a model reads them, with bidirectional spans, segments and loss."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from rich.console import Console
from rich.text import Text

from ablate.data.batches.batch import Batch
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.errors import UsageError
from ablate.grid.plan import Plan
from ablate.verbs.data.prepare import made

# How many rows are looked through for one of each kind.
LOOKED_THROUGH = 400

SPAN, ASKED, SPECIAL, QUIET = "on blue", "green", "bold magenta", "dim"


def of_grid(plan: Plan, names: list[str], console: Console) -> int:
    """Shows rows of each arm: those with the given numbers, or one of each kind that an arm has. Raises UsageError."""
    if not all(number.isdecimal() for number in names):
        raise UsageError(f"data show {' '.join(names)}: takes numbers of rows and a grid's overrides.")
    legend = Text.assemble(
        ("asked for", ASKED),
        "   not asked for",
        (" ", ""),
        "  ",
        (" read both ways ", SPAN),
        "  ",
        ("<special>", SPECIAL),
    )
    console.print(legend, "  ── between documents that do not see each other", highlight=False)
    shown: set[str] = set()
    for cell in plan.cells:
        if cell.arm.label in shown:
            continue
        shown.add(cell.arm.label)
        shards = made(cell.trial)
        steps = TrainBatches(cell.trial, shards)
        console.rule(f"{cell.label}", align="left")
        for row in [int(number) for number in names] or list(_one_of_each_kind(steps)):
            _show(row, steps, shards.tokenizer, console)
    return 0


def _one_of_each_kind(steps: TrainBatches) -> Iterator[int]:
    """The first row of each task, and of each task the first that holds structure (a middle, masks)."""
    structure = set(steps.transform.special.names()) - {steps.transform.special.end_of_text}
    seen: set[tuple[int, bool]] = set()
    for row in range(LOOKED_THROUGH):
        batch, *_ = steps.batch([row])
        kind = (int(batch.task_B[0]), not structure.isdisjoint(batch.input_ids_BT[0].tolist()))
        if kind not in seen:
            seen.add(kind)
            yield row


def _show(row: int, steps: TrainBatches, tokenizer: Tokenizer, console: Console) -> None:
    batch, train_tokens, truncated_tokens = steps.batch([row])
    task = steps.transform.objective.tasks[int(batch.task_B[0])]
    tokens = int((batch.document_BT > 0).sum())
    asked = int(batch.loss_weight_BT.sum())
    facts = [
        f"row {row}",
        task.label if task.label == task.task.name else f"{task.label} ({task.task.name})",
        steps.stream.sources[int(batch.source_B[0])],
        f"{train_tokens} source tokens",
        f"{tokens} in the row",
        f"{asked} asked for",
        *([f"{truncated_tokens} cut"] if truncated_tokens else []),
    ]
    console.print(f"[bold]{' · '.join(facts)}[/]", highlight=False)
    console.print(rendered(batch, tokenizer, console.width), highlight=False)
    console.print()


def rendered(batch: Batch, tokenizer: Tokenizer, width: int) -> Text:
    """The first row of a batch."""
    ids_T, document_T, span_T = (part[0] for part in (batch.input_ids_BT, batch.document_BT, batch.span_BT))
    # A token is asked for at the position before it.
    has_loss_T = np.concatenate([[False], batch.loss_weight_BT[0, :-1] > 0])
    names = tokenizer.special.names()
    text = Text()
    keys = [
        (int(document), int(span), bool(asked), names.get(int(token)))
        for document, span, asked, token in zip(document_T, span_T, has_loss_T, ids_T, strict=True)
        if document > 0
    ]
    previous = 1
    for (document, span, asked, name), run in groupby(enumerate(keys), key=lambda numbered: numbered[1]):
        if document != previous:
            text.append("\n" + "─" * width + "\n", style=QUIET)
            previous = document
        places = [place for place, _ in run]
        if name is None:
            content = b"".join(tokenizer.bytes_of(int(ids_T[place])) for place in places)
            shown, style = content.decode(errors="replace"), ASKED if asked else ""
        else:
            shown, style = name * len(places), SPECIAL
        text.append(shown, style=f"{style} {SPAN}" if span else style or None)
    return text
