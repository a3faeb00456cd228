"""A lesson as JSON that programs act on; docs/reference/json.md documents it. A field less is a new version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.lessons.tries import error_beside, error_of_tries
from ablate.reports.notes import notes
from ablate.reports.wording import lesson_or_gap, question

VerdictName = Literal["better", "worse", "equivalent", "undecided", "diverged", "missing"]


@dataclass(frozen=True)
class MetricJson:
    """A metric that the lesson has values of; `name` may end in `/SOURCE`."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True)
class ArmJson:
    """An arm.

    Attributes:
        trials: seed → trial id.
        same_as: the arm with the same trials, where there is one.
        means: metric → mean over the seeds that all arms have.
        diverged: how many of its trials diverged, as k/n.
        missing: how many of its trials are scored, as k/n, where some are missing.
    """

    label: str
    options: Mapping[str, str]
    trials: Mapping[str, str]
    same_as: str | None
    means: Mapping[str, float]
    diverged: str | None
    missing: str | None


@dataclass(frozen=True)
class ComparisonJson:
    """A contrast on one metric.

    Attributes:
        contrast: its name; the arm's label where an arm is compared with the baseline.
        weights: arm → weight; they sum to 0.
        difference: in the metric's unit; null without an estimate.
        low: end of the simultaneous interval over seeds and documents; null where the noise is unknown.
        high: the other end.
        low_over_seeds: end of the interval over other seeds on the same documents.
        high_over_seeds: the other end.
        document_error: the standard error that other documents add; null where it is unknown, and then both intervals
            are the same.
        equivalence_margin: the contrast is equivalent within every smallest effect larger than this.
        verdict: null on metrics without a declared contrast.
        qualifiers: what weakens the verdict.
    """

    contrast: str
    metric: str
    weights: Mapping[str, float]
    difference: float | None
    low: float | None
    high: float | None
    low_over_seeds: float | None
    high_over_seeds: float | None
    document_error: float | None
    equivalence_margin: float | None
    seeds: int
    verdict: VerdictName | None
    qualifiers: tuple[str, ...]


@dataclass(frozen=True)
class LadderRowJson:
    """A number of a declared ladder, on the primary metric.

    Attributes:
        fit: `effect`, which is measured, or the declared fit.
        quantity: what the number is.
        value: null where there is none; `note` says why.
        low: end of the interval, which holds for all arms of a fit at once.
        high: the other end.
        verdict: on a predicted effect.
        note: what weakens it, or whether the ranking holds.
    """

    fit: Literal["effect", "slope", "compute", "epochs"]
    arm: str
    quantity: str
    value: float | None
    low: float | None
    high: float | None
    verdict: VerdictName | None
    note: str


@dataclass(frozen=True)
class LessonJson:
    """A grid's lesson.

    Attributes:
        no_lesson: why there is no estimate; null where there is one.
        is_complete: whether no trial is missing.
        is_decided: whether no declared comparison is undecided.
        looks: the declared numbers of seeds at which verdicts may be given.
        try_number: how often its questions have been asked in this ledger, with this time.
        error_of_tries: the probability of a false verdict in any of these tries.
        error_beside: the same over all grids that made comparisons with its baseline's trials, and this one.
        ladder: what the declared fits over sizes and budgets say; empty without a ladder.
        notes: caveats, as sentences.
    """

    grid_id: str
    name: str | None
    question: str | None
    command: str
    no_lesson: str | None
    is_complete: bool
    is_decided: bool
    primary_metric: str
    smallest_effect: float
    confidence: float
    matched_on: str
    baseline: str
    looks: tuple[int, ...]
    try_number: int
    error_of_tries: float
    error_beside: float
    metrics: tuple[MetricJson, ...]
    arms: tuple[ArmJson, ...]
    comparisons: tuple[ComparisonJson, ...]
    ladder: tuple[LadderRowJson, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LessonsJson:
    """What `lessons --json` prints; `problems` names what could not be read."""

    schema: Literal["ablate/lessons"]
    version: Literal[1]
    lessons: tuple[LessonJson, ...]
    problems: tuple[str, ...]


def lesson_json(results: GridResults, stale: Mapping[str, Sequence[str]]) -> LessonJson:
    """Return a grid's lesson as JSON types; one without an estimate says why."""
    lesson_or_reason = lesson_or_gap(results, stale)
    lesson = None if isinstance(lesson_or_reason, str) else lesson_or_reason
    declaration = results.declaration
    return LessonJson(
        grid_id=results.grid_id,
        name=declaration.name,
        question=question(lesson) if lesson else declaration.question,
        command=results.grid.command,
        no_lesson=lesson_or_reason if isinstance(lesson_or_reason, str) else None,
        is_complete=not results.missing,
        is_decided=lesson is not None and lesson.is_decided,
        primary_metric=declaration.primary_metric,
        smallest_effect=declaration.smallest_effect,
        confidence=declaration.confidence,
        matched_on=declaration.matched_on,
        baseline=results.baseline,
        looks=declaration.looks,
        try_number=results.try_number,
        error_of_tries=error_of_tries(results),
        error_beside=error_beside(results),
        metrics=tuple(_metrics(results, lesson)),
        arms=tuple(_arms(results, lesson)),
        comparisons=tuple(_comparisons(lesson)) if lesson else (),
        ladder=tuple(_ladder(lesson)) if lesson else (),
        notes=tuple(notes(lesson)) if lesson else (),
    )


def _metrics(results: GridResults, lesson: Lesson | None) -> list[MetricJson]:
    names = lesson.metrics if lesson else []
    return [MetricJson(name, results.metric(name).unit, results.metric(name).direction.value) for name in names]


def _arms(results: GridResults, lesson: Lesson | None) -> list[ArmJson]:
    means: dict[str, dict[str, float]] = {}
    for row in lesson.rows() if lesson else ():
        if row.arm is not None and row.mean is not None:
            means.setdefault(row.arm, {})[row.metric] = row.mean
    return [
        ArmJson(
            label=arm.label,
            options=arm.options,
            trials=arm.trials,
            same_as=arm.same_as,
            means=means.get(arm.same_as or arm.label, {}),
            diverged=results.diverged.get(arm.same_as or arm.label),
            missing=results.missing.get(arm.same_as or arm.label),
        )
        for arm in results.all_arms
    ]


def _comparisons(lesson: Lesson) -> list[ComparisonJson]:
    comparisons = []
    weights = {contrast.name: contrast.weights for contrast in lesson.results.contrasts}
    for row in lesson.rows():
        if row.contrast is None:
            continue
        estimate, verdict = row.comparison, row.verdict
        name: VerdictName | None = verdict.verdict.value if verdict else None  # type: ignore[assignment]
        comparisons.append(
            ComparisonJson(
                contrast=row.contrast,
                metric=row.metric,
                weights=weights[row.contrast],
                difference=estimate.difference if estimate else None,
                low=estimate.low if estimate else None,
                high=estimate.high if estimate else None,
                low_over_seeds=estimate.low_over_seeds if estimate else None,
                high_over_seeds=estimate.high_over_seeds if estimate else None,
                document_error=estimate.document_error if estimate else None,
                equivalence_margin=estimate.margin if estimate else None,
                seeds=estimate.seeds if estimate else row.estimate.seeds,
                verdict=name,
                qualifiers=verdict.qualifiers if verdict else (),
            )
        )
    return comparisons


def _ladder(lesson: Lesson) -> list[LadderRowJson]:
    return [
        LadderRowJson(
            fit=row.fit,  # type: ignore[arg-type]
            arm=row.arm,
            quantity=row.quantity,
            value=row.range.value if row.range else None,
            low=row.range.low if row.range else None,
            high=row.range.high if row.range else None,
            verdict=row.verdict.value if row.verdict else None,  # type: ignore[arg-type]
            note=row.note,
        )
        for row in (lesson.ladder.rows() if lesson.ladder else ())
    ]
