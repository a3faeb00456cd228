"""The terminal, and numbers and lists for it. Imports nothing of ablate."""

import codecs
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# What terminals and files that are not UTF-8 get instead.
PLAIN = {
    "…": "...",
    "−": "-",
    "–": "-",
    "→": "->",
    "×": "x",
    "±": "+/-",
    "─": "-",
    "━": "-",
    "≥": ">=",
    "≤": "<=",
    "•": "*",
}


def make_printable() -> None:
    """Let standard output and error replace what their encoding lacks, instead of raising UnicodeEncodeError."""
    codecs.register_error("ablate", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ablate")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in text), error.end


def make_console(*, stderr: bool = False) -> "Console":
    """Return the terminal; 120 columns wide if the output is a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120, stderr=stderr)


def say(console: "Console", text: str, style: str = "", *, markup: bool = False) -> None:
    """Print text as it is, without highlights. A file gets one line; a terminal breaks it between words."""
    console.print(text, style=style, markup=markup, highlight=False, soft_wrap=not console.is_terminal)


def counted(number: int, noun: str) -> str:
    """1 arm, 2 arms."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(number: float) -> str:
    """1234567 → 1.23M, 2000000000 → 2B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        # What rounds up to 1000 takes the next unit.
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def clock(seconds: float) -> str:
    """83 → 1:23."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def listed(labels: Sequence[str], limit: int = 6) -> str:
    """Labels in a sentence; the first ones where there are many."""
    if len(labels) <= limit:
        return ", ".join(labels)
    return f"{', '.join(labels[: limit - 1])} and {len(labels) - limit + 1:,} more"
