"""Problems that flip between two arms: which they are, and how the page shows them."""

import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import pytest

from ablate.lessons.flips import FlipFinder
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ContrastRecord
from ablate.records.ledger import TrialFolder
from ablate.records.ledger_logs import LedgerLogs
from ablate.reports.flipped import MAX_PROBLEMS, flipped, shortened
from ablate.reports.page import page
from tests.support.html import Tags
from tests.support.ledgers import ledger_of, make_grid, with_changes

SUITE = "programs"
# Arm → problem → verdicts on its samples, by seed.
Passes = dict[str, dict[str, list[list[bool]]]]
PASSES: Passes = {
    "causal": {"a": [[False, False]] * 2, "b": [[True, True], [False, True]], "c": [[True, False]] * 2},
    "mixed": {"a": [[False, True], [False, False]], "b": [[False, False]] * 2, "c": [[False, False], [True, False]]},
}


def programs_path(trial: TrialFolder) -> Path:
    return trial.evaluation_path(SUITE).with_suffix(".programs.parquet")


def with_programs(folder: Path, passes: Passes, text: str = "return {arm} {seed} {sample} <b>") -> GridResults:
    """A grid whose arms wrote these programs."""
    results, trials = make_grid(folder, dict.fromkeys(passes, 0.0), seeds=2)
    for arm, problems in passes.items():
        for seed in (0, 1):
            programs, documents = [], []
            for problem, of_seeds in problems.items():
                for sample, has_passed in enumerate(of_seeds[seed]):
                    programs.append(
                        {
                            "problem": problem,
                            "sample": sample,
                            "text": text.format(arm=arm, seed=seed, sample=sample),
                            "prompt": f"def {problem}():",
                            "outcome": "passed" if has_passed else "failed",
                            "reason": "" if has_passed else "AssertionError",
                        }
                    )
                fraction = sum(of_seeds[seed]) / len(of_seeds[seed])
                documents.append(("humaneval_pass@1", "", problem, fraction, 1.0))
            trial = ledger_of(results).trial(trials[arm][str(seed)])
            programs_path(trial).parent.mkdir(parents=True)
            pd.DataFrame(programs).to_parquet(programs_path(trial))
            columns = ["metric", "source", "document", "amount", "units"]
            table = pd.DataFrame(documents, columns=columns)
            table.to_parquet(trial.evaluation_path(SUITE))
            scores = {"humaneval_pass@1": float(table["amount"].mean())}
            trial.update(evaluations={**trial.record().evaluations, SUITE: scores})
    return with_changes(results, suites={**results.grid.suites, "humaneval": SUITE})


def test_a_problem_flips_if_one_arm_solves_it_and_the_other_never(tmp_path: Path) -> None:
    finder = FlipFinder(with_programs(tmp_path, PASSES))
    assert finder.pairs() == [("mixed", "causal")]
    [flips] = finder.of_pair("mixed", "causal", most_programs=5)
    assert [(flip.problem, flip.solver, flip.fraction) for flip in flips.flips] == [
        ("a", "mixed", 0.25),
        ("b", "causal", 0.75),
    ]
    a, b = flips.flips
    assert a.prompt == "def a():"
    assert {arm: attempt.text for arm, attempt in a.attempts.items()} == {
        "mixed": "return mixed 0 1 <b>",
        "causal": "return causal 0 0 <b>",
    }
    assert b.attempts["mixed"].outcome == "failed: AssertionError"
    assert b.attempts["causal"].outcome == "passed"


def test_seeds_that_one_arm_lacks_do_not_count(tmp_path: Path) -> None:
    results = with_programs(tmp_path, PASSES)
    trial = results.trials_of("causal")[0]
    ledger_of(results).trial(trial).evaluation_path(SUITE).unlink()
    [flips] = FlipFinder(results).of_pair("mixed", "causal", most_programs=5)
    assert [(flip.problem, flip.solver, flip.fraction) for flip in flips.flips] == [("b", "causal", 0.5)]


def test_only_scores_of_problems_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = with_programs(tmp_path, PASSES)
    suites: list[str] = []
    read = LedgerLogs.documents

    def recorded(logs: LedgerLogs, trial: str, of_suites: Collection[str]) -> pd.DataFrame | None:
        suites.extend(of_suites)
        return read(logs, trial, of_suites)

    monkeypatch.setattr(LedgerLogs, "documents", recorded)
    list(FlipFinder(results).of_pair("mixed", "causal", most_programs=5))
    assert set(suites) == {SUITE}


def test_contrasts_of_more_arms_have_no_flips(tmp_path: Path) -> None:
    contrasts = (
        ContrastRecord("m", "bpb_full", {"mixed": 1.0, "causal": -0.5, "psm": -0.5}),
        ContrastRecord("effect", "bpb_full", {"causal": -1.0, "mixed": 1.0}),
    )
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1, "psm": 0.0}, contrasts=contrasts)
    finder = FlipFinder(results)
    assert finder.pairs() == [("mixed", "causal")]
    assert list(finder.of_pair("mixed", "causal", most_programs=5)) == []


def test_the_page_shows_both_programs_and_runs_neither(tmp_path: Path) -> None:
    results = with_programs(tmp_path, PASSES)
    text = page([Lesson.of(results)])
    assert Tags(text).opened == []
    assert "mixed solves 1 problem that causal never solves." in text
    [first, second] = re.findall(r'<details class="flip">.*?</details>', text, re.DOTALL)
    assert '<summary>a <span class="quiet">25% of the tries of mixed</span></summary>' in first
    assert "return mixed 0 1 &lt;b&gt;" in first
    assert '<span class="outcome">failed: AssertionError</span>' in first
    assert "def b():" in second
    without, _ = make_grid(tmp_path / "none", {"causal": 0.0, "mixed": 0.1})
    assert "Flipped problems" not in page([Lesson.of(without)])


def test_problems_and_programs_are_capped(tmp_path: Path) -> None:
    names = [f"p{number:02}" for number in range(12)]
    passes: Passes = {
        "causal": {name: [[False], [False]] for name in names},
        "mixed": {name: [[True], [number % 2 == 0]] for number, name in enumerate(names)},
    }
    results = with_programs(tmp_path, passes, text="x = 1\n" * 200)
    [group] = flipped(Lesson.of(results))
    assert [problem["name"] for problem in group["problems"]] == ["p00", "p02", "p04", "p06", "p08"]
    assert group["sentences"] == [
        f"mixed solves 12 problems that causal never solves; shown are the {MAX_PROBLEMS} that it solves most often."
    ]
    assert all(len(attempt["text"]) < 250 for problem in group["problems"] for attempt in problem["attempts"])


@pytest.mark.parametrize(
    ("text", "shown"), [("\na\nb\n", "a\nb"), ("x" * 2000, "x" * 1500 + "\n…"), ("a\n" * 40, "a\n" * 30 + "…")]
)
def test_long_texts_end_in_an_ellipsis(text: str, shown: str) -> None:
    assert shortened(text) == shown


def test_exact_matches_flip_without_programs(tmp_path: Path) -> None:
    results = with_programs(tmp_path, PASSES)
    for trial in results.records:
        path = ledger_of(results).trial(trial).evaluation_path(SUITE)
        pd.read_parquet(path).assign(metric="humaneval_single_line_exact").to_parquet(path)
    text = page([Lesson.of(results)])
    assert '<p class="flip">a <span class="quiet">25% of the tries of mixed</span></p>' in text
    assert '<details class="flip">' not in text
    assert "Flipped problems <small>humaneval_single_line_exact</small>" in text


def test_damaged_programs_are_left_out_and_named(tmp_path: Path) -> None:
    results = with_programs(tmp_path, PASSES)
    for trial in results.records:
        programs_path(ledger_of(results).trial(trial)).write_bytes(b"torn")
    text = page([Lesson.of(results)])
    assert '<p class="flip">a ' in text
    assert any("programs.parquet: is damaged" in problem for problem in results.logs.problems)
