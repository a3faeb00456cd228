"""The page: one file that needs no other, safe for any label, the same bytes again."""

import re
from html.parser import HTMLParser
from pathlib import Path

from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson, lesson
from ablate.lessons.page import page, write_page
from tests.unit.test_lessons import ledger_of, make_grid

NASTY = '<b>&"x</b>'


def made(tmp_path: Path) -> list[Lesson]:
    """One lesson with all kinds of words and a nasty label, one with nothing to compare."""
    offsets = {"causal": 0.0, NASTY: -0.1, "bad": 0.1, "alike": 0.0, "wild": 0.0, "gone": 0.0}
    results, trials = make_grid(tmp_path / "one", offsets, seeds=5, name="lesson_x", question="Is it <i>good</i>?")
    ledger_of(results).trial(trials["wild"]["1"]).update(status="diverged")
    for trial in trials["gone"].values():
        ledger_of(results).trial(trial).update(status="failed", evaluations={})
    results.grid["looks"] = [
        {"seeds": 3, "is_decided": False, "comparisons": [{"name": "bad", "verdict": "undecided"}]}
    ]
    alone, _ = make_grid(tmp_path / "two", {"causal": 0.0}, seeds=1)
    return [lesson(GridResults(one.logs, one.grid)) for one in (results, alone)]


class Tags(HTMLParser):
    """Every tag, its attributes, and that those that are opened are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "br"):
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


def test_the_page_needs_nothing_else_and_is_the_same_again(tmp_path: Path) -> None:
    lessons = made(tmp_path)
    text = page(lessons)
    assert page(lessons) == text
    tags = Tags(text)
    assert tags.opened == []
    assert not [tag for tag, _, _ in tags.attributes if tag in ("script", "link", "img", "iframe")]
    links = [value for _, name, value in tags.attributes if name in ("href", "src", "xlink:href")]
    assert [link for link in links if not link.startswith("#")] == []
    assert "url(http" not in text
    assert "@import" not in text


def test_every_word_and_gap_is_there(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    for word in ("better", "worse", "equivalent"):
        assert f'<div class="card {word}">' in text, word
    assert "unstable 1/5" in text
    assert "missing, 0/5 done" in text
    assert '<span class="tag">interim</span>' in text
    assert "3 seeds: bad undecided" in text
    assert ">nan<" not in text
    assert "One arm: nothing to compare it with." in text


def test_labels_are_shown_and_not_run(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    assert NASTY not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
    assert "&lt;b&gt;&amp;&#34;x&lt;/b&gt;" in text
    assert "Is it &lt;i&gt;good&lt;/i&gt;?" in text


def test_runs_are_linked_where_there_is_a_link(tmp_path: Path) -> None:
    lessons = made(tmp_path)
    trial = lessons[0].results.trials_of("bad")[0]
    write_page(lessons, tmp_path / "page.html", {trial: "https://wandb.ai/me/lessons/runs/1"})
    assert (
        f'<a href="https://wandb.ai/me/lessons/runs/1"><code>{trial}</code></a>' in (tmp_path / "page.html").read_text()
    )


def test_figures_take_the_page_s_ink(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    assert text.count("<svg role") == 3
    assert "currentColor" in text
    assert "#010203" not in text
