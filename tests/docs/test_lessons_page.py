"""The tables of docs/lessons.md are those of the archive."""

import pytest

from lessons_archive import DOCS
from lessons_page import filled


@pytest.mark.slow
def test_the_tables_of_the_results_are_those_of_the_archive() -> None:
    page = (DOCS / "lessons.md").read_text(encoding="utf-8")
    assert page == filled(page), "run: python docs/lessons_page.py"
