"""The page: one file that needs no other, safe for any label, the same bytes again."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ComparisonRecord, ContrastRecord, LookRecord
from ablate.records.provenance import Provenance
from ablate.records.trial import Status
from ablate.reports.page import page, write_page
from tests.support.html import Tags, table
from tests.support.ledgers import ledger_of, make_grid, verdicts, with_changes

NASTY, MARKUP = '<b>&"x #0072b2 $\\frac$ id="a_1"', "&lt;b&gt;&amp;"


def made(tmp_path: Path) -> list[Lesson]:
    """One lesson with all kinds of verdicts and a nasty label, one with nothing to compare."""
    offsets = {"causal": 0.0, NASTY: -0.1, "bad": 0.1, "alike": 0.0, "wild": 0.0, "gone": 0.0}
    results, trials = make_grid(tmp_path / "one", offsets, seeds=5, name="lesson_x", question="Is it <i>good</i>?")
    ledger_of(results).trial(trials["wild"]["1"]).update(status=Status.DIVERGED)
    for trial in trials["gone"].values():
        ledger_of(results).trial(trial).update(status=Status.FAILED, evaluations={})
    look = LookRecord(3, False, (ComparisonRecord("bad", "bpb_full", 0.09, "undecided", -0.01, 0.19),))
    results = with_changes(results, known_before=(trials["causal"]["0"], trials["alike"]["0"]), looks=(look,))
    alone, _ = make_grid(tmp_path / "two", {"causal": 0.0}, seeds=1)
    stale = {trials["bad"]["0"]: ["data 2 → 3"]}
    return [Lesson.of(GridResults(results.logs, results.grid), stale), Lesson.of(GridResults(alone.logs, alone.grid))]


def card(text: str, name: str) -> str:
    """The card of a contrast."""
    cards = re.findall(r'<li class="card.*?</li>', text, re.DOTALL)
    [found] = [one for one in cards if f"<h3>{name}</h3>" in one]
    assert isinstance(found, str)
    return found


def test_the_page_needs_nothing_else_and_is_the_same_again(tmp_path: Path) -> None:
    lessons = made(tmp_path)
    text = page(lessons)
    assert page(lessons) == text
    again = [Lesson.of(GridResults(one.results.logs, one.results.grid), one.stale) for one in lessons]
    assert page(again) == text
    tags = Tags(text)
    assert tags.opened == []
    assert not {tag for tag, _, _ in tags.attributes} & {"script", "link", "img", "iframe", "object", "image"}
    assert not re.search(r"<script|<image|@import|//", text), "not even the address of a namespace"
    names = Counter(value for _, name, value in tags.attributes if name == "id")
    assert max(names.values()) == 1
    used = [value for _, name, value in tags.attributes if name in ("href", "src", "aria-labelledby")]
    used += re.findall(r"url\((.*?)\)", text)
    assert {one.removeprefix("#") for one in used} <= set(names)
    drawn = {name.rpartition("-")[0] for name in names}
    assert {"lesson-1-comparisons", "lesson-1-curves-0"} <= drawn


def test_every_verdict_and_gap_is_shown(tmp_path: Path) -> None:
    lessons = made(tmp_path)
    assert set(verdicts(lessons[0]).values()) == {
        *("interim: better", "stale: interim: worse", "interim: post hoc: equivalent"),
        *("diverged 1/5", "missing, 0/5 done"),
    }
    text = page(lessons)
    for name, kind, tags in (
        (MARKUP, "better", ["interim"]),
        ("bad", "worse", ["stale", "interim"]),
        ("alike", "equivalent", ["interim", "post hoc"]),
        ("wild", "diverged", ["1/5 diverged"]),
        ("gone", "missing", ["0/5 done"]),
    ):
        [found] = [one for one in re.findall(r'<li class="card.*?</li>', text, re.DOTALL) if f"<h3>{name}" in one]
        assert found.startswith(f'<li class="card {kind}">')
        assert re.search(rf'<p class="verdict">(<span class="tag">[a-z ]+</span> )*{kind}', found), "qualifiers first"
        assert re.findall(r'<span class="tag">(.*?)</span>', found) == tags
        assert ('class="interval"' in found) == (kind in ("better", "worse", "equivalent"))
    assert table(text, "looks")[-1] == ["bad", "+0.0900", "[−0.0100, +0.1900]", "undecided"]
    assert ">nan<" not in text
    assert "One arm: nothing to compare it with." in text


def test_the_verdict_of_a_contrast_of_several_arms_has_tags(tmp_path: Path) -> None:
    contrasts = (
        ContrastRecord("effect: b − a", "bpb_full", {"b: 1": 1.0, "a": -0.5, "c": -0.5}),
        ContrastRecord("plain", "bpb_full/code", {"c": 1.0, "a": -1.0}),
    )
    results, trials = make_grid(tmp_path, {"a": 0.0, "b: 1": 0.1, "c": 0.0}, name="l", contrasts=contrasts)
    ledger_of(results).trial(trials["b: 1"]["1"]).update(status=Status.DIVERGED)
    results = with_changes(results, other_declarations=("an earlier one",))
    text = page([Lesson.of(GridResults(results.logs, results.grid))])
    diverged = card(text, "effect: b − a")
    assert '<li class="card diverged">' in diverged
    assert 'diverged <span class="tag">b: 1 1/3 diverged</span>' in diverged
    assert "b: 1 − 0.5 × a − 0.5 × c" in diverged
    plain = card(text, "plain")
    assert '<span class="tag">exploratory</span> equivalent' in plain
    assert "bpb_full/code" in plain
    assert ">nan<" not in text
    assert "<details><summary>Single sources" not in text, "what something was declared on is not hidden"


def test_labels_are_shown_and_not_run(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    assert "<b>&" not in text
    assert "<i>good" not in text
    label, figure = "".join(f"{NASTY} − causal".split()), "".join(Tags(text).text.split())
    assert figure.count(label) == 1, "in the figure, as it is spelled"
    assert "Is it &lt;i&gt;good&lt;/i&gt;?" in text


def test_a_lesson_without_a_finished_or_begun_trial_is_shown(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1})
    for of_arm in trials.values():
        for trial in of_arm.values():
            ledger_of(results).trial(trial).metrics_path.unlink()
            (ledger_of(results).trial(trial).path / "record.json").unlink()
    text = page([Lesson.of(GridResults(results.logs, results.grid))])
    assert 'missing <span class="tag">0/3 done</span>' in text
    assert "No seed is finished in every arm" in text
    assert "<svg" not in text
    assert "pending" in text


def test_a_suite_without_scores_hides_no_interval_of_another(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1})
    text = page([Lesson.of(with_changes(results, suites={**results.grid.suites, "humaneval": "unscored"}))])
    assert 'missing <span class="tag">0/3 done</span>' in text
    assert "Comparisons" in text


def test_an_interval_beyond_the_drawing_is_an_arrow(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "near": -0.05, "far": 3.0})
    text = page([Lesson.of(results)])
    assert 'class="beyond right"' in card(text, "far")
    places = [float(place) for place in re.findall(r"(?:left|width):([\d.-]+)%", text)]
    assert all(0 <= place <= 100 for place in places)
    near = re.search(r'class="line" style="left:([\d.]+)%;width:([\d.]+)%"', card(text, "near"))
    assert near
    left, width = map(float, near.groups())
    band = re.search(r'class="band" style="left:([\d.]+)%', card(text, "near"))
    assert band
    assert 0 < left < left + width < float(band[1]) == pytest.approx(45), "as ten smallest effects are half of it"


def with_fields(results: GridResults, trials: dict[str, str], **fields: Any) -> None:
    for trial in trials.values():
        ledger_of(results).trial(trial).update(semantic={"data_seed": int(trial[-1]), **fields})


def test_only_fields_that_differ_are_shown_and_an_arm_to_come_makes_none_differ(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1, "new": 0.1})
    prefix: list[Any] = ["prefix", 0.5, None, {"fraction_min": 0.0}, {"prefix": 2}]
    span: list[Any] = ["span_corruption", 0.25, "[NLU]", {"noise": {"ratio": 0.15}}, {"span_corruption": 2}]
    other: list[Any] = ["span_corruption", 0.25, "[S2S]", {"noise": {"ratio": 0.5}}, {"span_corruption": 2}]
    psm: list[Any] = ["psm", 0.5, "token", "document", {}, {"psm": 1}]
    with_fields(
        results, trials["causal"], infill=None, objective=[["causal", 1.0, None, {}, {}]], block={"kind": "gptj"}
    )
    with_fields(results, trials["bad"], infill=psm, objective=[prefix, span, other], block={"kind": "gptj"})
    for trial in trials["new"].values():
        (ledger_of(results).trial(trial).path / "record.json").unlink()
    rows = table(page([Lesson.of(GridResults(results.logs, results.grid))]), "differing")
    assert [[row[0].replace("<wbr>", ""), *row[1:]] for row in rows] == [
        ["field", "causal", "bad", "new"],
        ["objective", "causal", "bad", "new"],
        ["tasks.causal", "100%", "50%", "50%"],
        ["tasks.prefix.fraction_min", "", "0.0", ""],
        ["tasks.span_corruption", "", "50%", "50%"],
        ["tasks.span_corruption[1].mode", "", "[NLU]", ""],
        ["tasks.span_corruption[1].noise.ratio", "", "0.15", ""],
        ["tasks.span_corruption[2].mode", "", "[S2S]", ""],
        ["tasks.span_corruption[2].noise.ratio", "", "0.5", ""],
        ["infill.format", "none", "psm", ""],
        ["infill.rate", "", "0.5", ""],
        ["infill.level", "", "token", ""],
        ["infill.scope", "", "document", ""],
    ]


def test_lessons_with_one_question_are_told_apart(tmp_path: Path) -> None:
    lessons = []
    for name, words in (("one", "init_seed=0"), ("two", "init_seed=1")):
        results, _ = make_grid(tmp_path / name, {"causal": 0.0, "bad": 0.1}, name=name, question="What changes?")
        lessons.append(Lesson.of(with_changes(results, command=f"python -m ablate -m {words} data_seed=0,1")))
    text = page(lessons)
    index = text[text.index("<nav") : text.index("</nav>")]
    for name, words in (("one", "init_seed=0"), ("two", "init_seed=1")):
        assert f"1970-01-01 · {name} · 2 arms: causal, bad · <code>{words}</code>" in index
    assert index.count('<span class="chip worse">worse</span> bad') == 2
    assert "<code>" not in page([*lessons[:1], *made(tmp_path)[1:]]).partition("</nav>")[0]


def test_caveats_stand_apart_from_the_glossary(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    caveats = text[text.index('<aside class="caveats"') : text.index("</aside>")]
    glossary = text[text.index('<dl class="glossary"') :]
    assert "Interim: trials are missing" in caveats
    assert "bits per byte of whole held-out passages" not in caveats
    assert "<dt><code>bpb_full</code></dt><dd>bits per byte of whole held-out passages" in glossary


def test_what_was_read_and_where_it_comes_from(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1})
    for number, trial in enumerate(trials["bad"].values()):
        provenance = Provenance(
            ablate="0.1.0",
            git_commit="c0ffee",
            git_diff="d.diff" if number else None,
            python="3.11",
            versions={"torch": f"2.{number}"},
            machine="a machine",
        )
        ledger_of(results).trial(trial).update(provenance=provenance)
    text = page([Lesson.of(GridResults(results.logs, results.grid))])
    assert table(text, "accounting")[1] == ["causal", "1,000", "1,000", "990", "0", "1e+09", "10", "1"]
    assert "<dt>commit</dt><dd>c0ffee and c0ffee with uncommitted changes (d.diff)</dd>" in text
    assert "<dt>versions</dt><dd>ablate 0.1.0, python 3.11, torch 2.0 and 2.1 and 2.2</dd>" in text
    assert table(text, "trials")[1] == ["causal", "0", f"<code>{trials['causal']['0']}</code>", "finished"]


def test_runs_are_linked_where_there_is_a_link(tmp_path: Path) -> None:
    lessons = made(tmp_path)
    trial = lessons[0].results.trials_of("bad")[0]
    write_page(lessons, tmp_path / "page.html", {trial: "https://wandb.ai/me/lessons/runs/1"})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f'<a href="https://wandb.ai/me/lessons/runs/1"><code>{trial}</code></a>' in text
    assert text.count("https://") == 1


def test_figures_are_in_the_page_s_colours(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        drawn = "".join(re.findall(r"<[^>]*>", figure))
        assert "currentColor" in drawn
        assert not re.findall(r"(?:fill|stroke): #\w+", drawn), "a colour of its own is lost on a dark page"
        assert "font-family" not in drawn
        assert "<text" in drawn
    used = set(re.findall(r"var\((--[\w-]+)\)", text)) - {"--tone", "--width"}
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    assert used <= set(re.findall(r"(--[\w-]+):", light))
    # What is said once is the ink of either.
    assert used - set(re.findall(r"(--[\w-]+):", dark)) <= {"--arm-6"}
