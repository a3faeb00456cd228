"""How numbers are printed."""

import io

import pytest
from rich.console import Console

from ablate.console import clock, counted, say, short


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (12.34, "12.3"), (999.4, "999"), (999.6, "1k"), (1234567, "1.23M"), (2e9, "2B"), (999_999_999, "1B")],
)
def test_large_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text
    assert short(-number) == (f"-{text}" if number else text)


def test_durations_and_counts_read_naturally() -> None:
    assert [clock(seconds) for seconds in (0, 83, 3599.6, 36000)] == ["0:00", "1:23", "1:00:00", "10:00:00"]
    assert [counted(number, "arm") for number in (1, 2, 1234)] == ["1 arm", "2 arms", "1,234 arms"]


def test_a_terminal_breaks_lines_between_words_and_a_file_gets_one_line() -> None:
    text = "finished  1/4  causal, seed 0  1ef346613ccb [x]"
    lines = []
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), width=40, force_terminal=is_terminal, color_system=None)
        say(console, text)
        assert isinstance(console.file, io.StringIO)
        lines.append(console.file.getvalue().splitlines())
    assert [line.rstrip() for line in lines[0]] == ["finished  1/4  causal, seed 0", "1ef346613ccb [x]"]
    assert lines[1] == [text]
