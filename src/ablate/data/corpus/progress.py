"""How far a preparation is: a bar with bytes a second and the time left."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


def shown_progress() -> Progress:
    """On the terminal, where standard error is one; gone when done."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:>15}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
