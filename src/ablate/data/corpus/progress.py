"""The progress bar of a preparation: bytes per second and time left."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


def shown_progress() -> Progress:
    """Return a bar on standard error if that is a terminal; it disappears when the work is done."""
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
