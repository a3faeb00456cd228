"""The project's Markdown: its pages, their links and headings, and the commands in their blocks of code."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin

ROOT = Path(__file__).parents[2]
# A reason in a comment before a block: why no test runs it.
NOT_RUN = re.compile(r"<!--\s*not run: (?P<reason>.+?)\s*-->", re.DOTALL)
PROGRAM = ("python -m ablate", "ablate")
SHELL = ("", "bash", "sh")


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        line: where its block begins.
        text: as printed, in one line.
        not_run: why no test runs it; "" where one does.
    """

    page: Path
    line: int
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {self.text}"

    @property
    def words(self) -> list[str]:
        """The words after the program, without a comment."""
        words = shlex.split(self.text, comments=True)
        return words[1:] if words[0] == "ablate" else words[3:]

    @property
    def is_ablate(self) -> bool:
        """Whether it calls the program."""
        return self.text.startswith(tuple(f"{program} " for program in PROGRAM)) or self.text in PROGRAM


def pages() -> list[Path]:
    """Every page for users, the README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "analysis" / "README.md"]


def others() -> list[Path]:
    """Pages for those who work on the project."""
    return [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "LOG.md")]


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    """A page's Markdown tokens; headings have the ids that GitHub gives them."""
    parser = MarkdownIt("commonmark").enable("table").use(anchors_plugin, max_level=6)
    return tuple(parser.parse(page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings."""
    return {str(token.attrs["id"]) for token in tokens(page) if token.type == "heading_open"}


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and images."""
    for token in tokens(page):
        for inner in token.children or ():
            if inner.type in ("link_open", "image"):
                yield str(inner.attrs["href" if inner.type == "link_open" else "src"])


def commands(page: Path) -> Iterator[Command]:
    """The commands in a page's blocks of shell."""
    reason = ""
    for token in tokens(page):
        if token.type == "html_block":
            found = NOT_RUN.search(token.content)
            reason = found["reason"] if found else ""
            continue
        if token.type == "code_block" or (token.type == "fence" and token.info.strip() in SHELL):
            # Blocks without a language hold configurations and listings too.
            is_shell = token.type == "fence" and token.info.strip() != ""
            for text in _joined(token.content):
                if is_shell or re.match(r"(python|ablate|make|pip|git|docker|cd)\b|\. ", text):
                    yield Command(page, (token.map or [0])[0] + 1, text, reason)
        if token.nesting >= 0 and token.level == 0 and token.type != "html_block":
            reason = ""


def files(page: Path) -> Iterator[tuple[str, str]]:
    """The files that a page tells a reader to write: a block after a comment with the file's name."""
    name = ""
    for token in tokens(page):
        if token.type == "html_block":
            found = re.fullmatch(r"<!-- file: (\S+) -->", token.content.strip())
            name = found[1] if found else ""
        elif token.type == "fence" and name:
            yield name, token.content
            name = ""


def python_blocks(page: Path) -> Iterator[str]:
    """A page's blocks of Python, without those that are a file or say why they are not run."""
    has_comment = False
    for token in tokens(page):
        if token.type == "html_block":
            has_comment = token.content.strip().endswith("-->")
        elif token.type == "fence" and token.info.strip() == "python" and not has_comment:
            yield token.content
        elif token.nesting >= 0 and token.level == 0:
            has_comment = False


def _joined(block: str) -> list[str]:
    """The lines of a block, with those that end in a backslash joined to the next."""
    lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    return [line.strip() for line in lines if line.strip()]
