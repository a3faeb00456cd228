"""Markdown of the reference pages: tables, and the parts of a docstring."""

import inspect
import re
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by `python docs/reference.py`. Do not edit: change the code or the YAML that it reads. -->"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code(text: object) -> str:
    """Text as code; nothing for an empty text."""
    return f"`{text}`" if str(text) else ""


def summary(described: object) -> str:
    """The text of a docstring before its sections and examples, one line per paragraph."""
    text = inspect.getdoc(described) or ""
    text = re.split(r"\n\n(?=[A-Z]\w+:\n|>>>)", text)[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def attributes(described: object) -> dict[str, str]:
    """The meaning of each attribute, from the section `Attributes:` of a docstring."""
    text = inspect.getdoc(described) or ""
    section = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section[1], re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
