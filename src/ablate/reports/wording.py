"""Words that all reports of a lesson share: its question, directions, counts of missing trials."""

import re
from collections.abc import Iterator, Mapping, Sequence

from ablate.console import listed
from ablate.lessons.comparable import IncomparableError
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson


def lesson_or_gap(results: GridResults, stale: Mapping[str, Sequence[str]] | None = None) -> Lesson | str:
    """The lesson, or a sentence that says why there is none."""
    try:
        lesson = Lesson.of(results, stale)
    except IncomparableError as error:
        return str(error)
    return lesson if lesson.metrics else nothing_to_compare(lesson)


def nothing_to_compare(lesson: Lesson) -> str:
    """Why there is no estimate at all."""
    results = lesson.results
    if results.baseline in results.diverged:
        return f"The baseline {results.baseline} diverged: {results.diverged[results.baseline]} of its trials."
    return f"No seed is finished in every arm (finished: {counts(results.missing) or 'all'})."


def question(lesson: Lesson) -> str:
    """The declared question, or one about the factors."""
    declaration = lesson.results.declaration
    if declaration.question:
        return declaration.question
    factors = " and ".join(declaration.factors)
    if not factors:
        return "What does this one arm reach?"
    return f"Does changing {factors} change {declaration.primary_metric}?"


def direction(lesson: Lesson, metric: str) -> str:
    """Which values of a metric are better."""
    return f"{'less' if lesson.results.metric(metric).less_is_better else 'more'} is better"


def unit_and_direction(lesson: Lesson, metric: str) -> str:
    """The unit of a metric, and which values are better."""
    return f"{lesson.results.metric(metric).unit}, {direction(lesson, metric)}"


def counts(of_arms: Mapping[str, str]) -> str:
    """Each arm with its `k/n` trials."""
    return listed([f"{arm} {count}" for arm, count in of_arms.items()])


def typographic(number: str) -> str:
    """A number, or an interval of numbers, with true minus signs."""
    return number.replace("-", "−")


def fold(label: str, width: int) -> Iterator[str]:
    """Yield the lines of a label, broken after spaces and punctuation; in mid-word only where a word is too long."""
    line = ""
    for part in re.split(r"(?<=[\s/=,:])|(?<=\.)(?=[a-z])", label):
        if line and len(line) + len(part.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += part
        while len(line.rstrip()) > width:
            yield line[:width]
            line = line[width:]
    yield line.rstrip()
