"""The page's section on problems that flip between two arms, with both programs."""

from collections.abc import Iterator
from typing import Any

from ablate.lessons.flips import Flip, FlipFinder, Flips
from ablate.lessons.lesson import Lesson

# Of the comparisons of a lesson, and of the problems that each arm alone solves.
MAX_PAIRS, MAX_PROBLEMS = 4, 5
MAX_LINES, MAX_CHARACTERS = 30, 1500


def flipped(lesson: Lesson) -> list[dict[str, Any]]:
    """Return the template's values: one per pair of arms and metric with a flipped problem."""
    finder = FlipFinder(lesson.results)
    return [
        {"metric": flips.metric, "sentences": list(_sentences(flips)), "problems": list(_problems(flips))}
        for arm, other in finder.pairs()[:MAX_PAIRS]
        for flips in finder.of_pair(arm, other, MAX_PROBLEMS)
        if flips.flips
    ]


def _sentences(flips: Flips) -> Iterator[str]:
    for arm, other in ((flips.arm, flips.other), (flips.other, flips.arm)):
        if solved := flips.solved_by(arm):
            count = f"{len(solved)} problem{'' if len(solved) == 1 else 's'}"
            shown = f"; shown are the {MAX_PROBLEMS} that it solves most often" if len(solved) > MAX_PROBLEMS else ""
            yield f"{arm} solves {count} that {other} never solves{shown}."


def _problems(flips: Flips) -> Iterator[dict[str, Any]]:
    for arm, other in ((flips.arm, flips.other), (flips.other, flips.arm)):
        for flip in flips.solved_by(arm)[:MAX_PROBLEMS]:
            yield {
                "name": flip.problem,
                "solver": arm,
                "fraction": f"{flip.fraction:.0%}" if flip.fraction >= 0.01 else "under 1%",
                "prompt": shortened(flip.prompt),
                "attempts": list(_attempts(flip, (arm, other))),
            }


def _attempts(flip: Flip, arms: tuple[str, str]) -> Iterator[dict[str, str]]:
    for number, arm in enumerate(arms):
        if attempt := flip.attempts.get(arm):
            tone = "worse" if number else "better"
            yield {"arm": arm, "outcome": attempt.outcome, "tone": tone, "text": shortened(attempt.text)}


def shortened(text: str) -> str:
    """Return a text of at most so many lines and characters, with an ellipsis where it was cut."""
    lines = text.strip("\n").split("\n")
    short = "\n".join(lines[:MAX_LINES])[:MAX_CHARACTERS]
    return short if short == "\n".join(lines) else f"{short}\n…"
