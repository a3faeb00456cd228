"""The table of a declared ladder, as text."""

import pandas as pd

from ablate.lessons.ladder import LadderRow
from ablate.lessons.lesson import Lesson

HEADERS = ("fit", "arm", "quantity", "estimate", "interval", "verdict")


def ladder_rows(lesson: Lesson) -> list[tuple[LadderRow, list[str]]]:
    """What the declared fits say, with its cells as text; effects at rungs are in the lesson's own table."""
    rows = lesson.ladder.rows() if lesson.ladder else ()
    return [(row, _cells(row)) for row in rows if row.fit != "effect"]


def ladder_table(lesson: Lesson) -> pd.DataFrame:
    """The same as a table; empty without a declared ladder."""
    return pd.DataFrame([cells for _, cells in ladder_rows(lesson)], columns=list(HEADERS))


def ladder_title(lesson: Lesson) -> str:
    """What the ladder is over, and on which metric."""
    assert lesson.ladder is not None
    ladder = lesson.ladder.ladder
    flops = [rung.flops for rung in ladder.rungs]
    return f"Ladder on {ladder.metric}: {len(flops)} rungs, {min(flops):.2g} to {max(flops):.2g} training FLOPs"


def _cells(row: LadderRow) -> list[str]:
    interval = row.range
    is_effect = row.fit == "slope" or row.quantity.startswith("−")
    sign = "+" if is_effect else ""
    return [
        row.fit,
        row.arm,
        row.quantity,
        "" if interval is None else f"{interval.value:{sign}.4f}",
        "" if interval is None else f"[{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]",
        "; ".join(filter(None, [str(row.verdict or ""), row.note])),
    ]
