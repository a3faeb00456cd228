"""The sentences of a lesson: its question, how certain its table is, and what the arms read."""

from collections.abc import Iterator, Mapping, Sequence

from ablate.lessons.critical_values import POWER
from ablate.lessons.estimate import Estimate
from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.lessons.lesson import Lesson
from ablate.lessons.variance import VarianceComponents
from ablate.reports.noise_tables import variance_fractions
from ablate.reports.tuning_notes import tuning_notes

# With fewer seeds, intervals allow for a baseline twice as noisy as the arms, and more noise would not be noticed.
ENOUGH_SEEDS_FOR_ANY_NOISE = 5
# Contrasts whose variance components are computed: each reads the documents of every trial.
MAX_VARIANCE_CONTRASTS = 8


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
    return f"No seed is finished in every arm (finished: {_counts(results.missing) or 'all'})."


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


def listed(labels: Sequence[str], limit: int = 6) -> str:
    """Labels in a sentence; the first ones where there are many."""
    if len(labels) <= limit:
        return ", ".join(labels)
    return f"{', '.join(labels[: limit - 1])} and {len(labels) - limit + 1:,} more"


def notes(lesson: Lesson) -> list[str]:
    """All sentences below the table."""
    return [
        *(f"{arm.label} is the same trial as {arm.same_as}." for arm in lesson.results.all_arms if arm.same_as),
        *_certainty_notes(lesson),
        *tuning_notes(lesson),
        *_task_notes(lesson),
        *_reading_notes(lesson),
        *(f"`{name}`: {lesson.results.metric(name).meaning}" for name in _metrics_without_source(lesson)),
        *_unigram_notes(lesson),
    ]


def _metrics_without_source(lesson: Lesson) -> list[str]:
    return list(dict.fromkeys(name.split("/")[0] for name in lesson.metrics))


def _counts(counts: Mapping[str, str]) -> str:
    return listed([f"{arm} {count}" for arm, count in counts.items()])


def _tasks(tasks: Mapping[str, float]) -> str:
    return ", ".join(f"{probability:.0%} {task}" for task, probability in tasks.items())


def _task_notes(lesson: Lesson) -> list[str]:
    """The arms with other tasks than the baseline."""
    arms = {arm.label: arm for arm in lesson.results.arms}
    baseline = arms[lesson.results.baseline]
    by_tasks: dict[str, list[str]] = {}
    for arm in arms.values():
        if arm.tasks != baseline.tasks:
            by_tasks.setdefault(_tasks(arm.tasks), []).append(arm.label)
    if not by_tasks:
        return []
    return [
        f"Trained on other tasks: {'; '.join(f'{listed(labels)} ({tasks})' for tasks, labels in by_tasks.items())}; "
        f"the baseline {baseline.label} is {_tasks(baseline.tasks)}. What such an arm loses here may be the price of "
        "an ability that these metrics do not measure (filling in a middle, reading a prefix in both directions): "
        "worse here is not worse at everything."
    ]


def _reading_notes(lesson: Lesson) -> list[str]:
    """What the arms read of each source, and how often."""
    by_reading: dict[str, list[str]] = {}
    for arm, reading in lesson.results.reading().items():
        text = ", ".join(
            f"{fraction:.1%} {source} ({epochs:.2f} epoch{'' if epochs == 1 else 's'})"
            for source, (fraction, epochs) in sorted(reading.items())
        )
        by_reading.setdefault(text, []).append(arm)
    if len(by_reading) == 1:
        return [f"Read: {next(iter(by_reading))}."]
    texts = [f"{listed(arms)}: {text}" for text, arms in by_reading.items()]
    return [f"Read: {'; '.join(texts)}."] if texts else []


def _unigram_notes(lesson: Lesson) -> list[str]:
    """How far the baseline is from a model without context."""
    baseline = lesson.results.baseline
    estimate = lesson.declared.get("bpb_full") or lesson.explored.get("bpb_full")
    unigram = lesson.results.unigram().get(baseline)
    if estimate is None or unigram is None or baseline not in estimate.means:
        return []
    fraction = 1 - estimate.means[baseline] / unigram
    place = f"{fraction:.1%} below it" if fraction > 0 else f"{-fraction:.1%} above it: it has learned next to nothing"
    return [f"A unigram model of the training mixture reaches bpb_full {unigram:.4f}; {baseline} is {place}."]


def _certainty_notes(lesson: Lesson) -> list[str]:
    """How certain the table is, and what would make it more certain."""
    if lesson.primary is None:
        return [nothing_to_compare(lesson)]
    if not lesson.results.contrasts:
        return ["One arm: nothing to compare it with. Sweep something, e.g. -m objective=causal,prefix,mixed."]
    estimates = [note for name, estimate in lesson.declared.items() for note in _estimate_notes(lesson, name, estimate)]
    return [*estimates, *_gap_notes(lesson), *_qualifier_notes(lesson), *_look_notes(lesson)]


def _varied_by_seeds(lesson: Lesson) -> str:
    seeds = [seed.split("/") for seed in lesson.results.arms[0].trials]
    if len({init for init, *_ in seeds}) == 1:
        return "order of the data; the initial values are fixed"
    if len({data for *_, data in seeds}) == 1:
        return "initial values; the order of the data is fixed"
    return "initial values and order of the data"


def _estimate_notes(lesson: Lesson, name: str, estimate: Estimate) -> Iterator[str]:
    """What the intervals on a metric cover, and what they can detect."""
    declaration, contrasts = lesson.results.declaration, lesson.results.contrasts
    if estimate.seeds == 1:
        yield "One seed shows no noise, so nothing can be decided. Run more: replicates=3."
        return
    if not estimate.comparisons:
        yield f"{name}: no declared comparison has all its arms."
        return
    if estimate.noise is None or estimate.minimum_detectable_effect is None:
        yield f"{name}: every seed gave the same value, so the noise is unknown and there is no interval."
        return
    family = f"all {len(contrasts)} declared comparisons" if len(contrasts) > 1 else "it"
    family += f" and the looks at {', '.join(map(str, declaration.looks))} seeds" if len(declaration.looks) > 1 else ""
    yield (
        f"{declaration.confidence:.0%} intervals on {name}, paired by seed over {estimate.seeds} seeds "
        f"({_varied_by_seeds(lesson)}), hold simultaneously for {family}."
    )
    correlation = (
        "" if estimate.correlation is None else f" Arms under one seed correlate at {estimate.correlation:.2f}."
    )
    required = lesson.required_seeds if name == lesson.results.primary_metric else None
    yield (
        f"One trial's noise: {estimate.noise:.4f} {lesson.results.metric(name).unit}.{correlation} Detectable: "
        f"{estimate.minimum_detectable_effect:.4f} with {POWER:.0%} power; declared as mattering: "
        f"{lesson.results.smallest_effect(name):g}."
        + (f" That takes about {required} seeds." if required and required > estimate.seeds else "")
    )
    variances = {
        comparison.contrast.name: variance
        for comparison in estimate.comparisons[:MAX_VARIANCE_CONTRASTS]
        if (variance := lesson.variance(comparison.contrast)) is not None
    }
    yield _variance_note(variances, estimate.seeds)
    if estimate.noise_ratio is not None and estimate.seeds < ENOUGH_SEEDS_FOR_ANY_NOISE:
        yield (
            f"{estimate.seeds} seeds hardly show which arms are noisier (here up to {estimate.noise_ratio:.1f} times): "
            "the intervals allow for a baseline twice as noisy as the arms, not for more."
        )


def _variance_note(variances: Mapping[str, VarianceComponents], seeds: int) -> str:
    """What the intervals cover, with the variance components of the contrast with the largest variance."""
    if not variances:
        return "The intervals cover other seeds on these documents. Scores of single documents are not in these logs."
    name, variance = max(variances.items(), key=lambda item: item[1].total)
    seed, document, interaction = variance_fractions(variance).values()
    return (
        f"The intervals cover other seeds on these documents. With other documents too, the standard error of {name} "
        f"over {seeds} seeds would be {variance.total**0.5:.4f}, not {variance.of_seeds**0.5:.4f}: of that variance, "
        f"seeds {seed:.0%}, documents {document:.0%}, seed × document {interaction:.0%}."
    )


def _gap_notes(lesson: Lesson) -> Iterator[str]:
    """What is not in the table."""
    results = lesson.results
    if results.missing:
        yield f"Interim: trials are missing (done: {_counts(results.missing)}), so no verdict is final."
    if results.diverged:
        yield f"Diverged: {_counts(results.diverged)}; these arms are left out of all comparisons and means."
    for arm, seed, name in results.not_finite():
        yield f"{arm}, seed {seed}: {name} is not a number, so that seed is left out of {name} for all arms."
    for contrast in results.contrasts:
        estimate = lesson.declared.get(contrast.metric)
        absent = [arm for arm in contrast.weights if estimate is None or arm not in estimate.means]
        if absent and not set(absent) & {*results.missing, *results.diverged}:
            yield f"{contrast.name} can't be compared: {listed(absent)} has no {contrast.metric}."


def _qualifier_notes(lesson: Lesson) -> Iterator[str]:
    """What weakens the verdicts."""
    results = lesson.results
    if not results.is_declared:
        yield (
            f"Exploratory: {results.declaration.name} was declared differently before "
            f"(grid {listed(results.grid.other_declarations)}). For a declared lesson, choose another lesson.name=… "
            "and seeds that nobody has seen."
        )
    if post_hoc := [contrast.name for contrast in results.contrasts if results.is_post_hoc(contrast)]:
        yield (
            f"Post hoc ({listed(post_hoc)}): trials of these arms were scored before the lesson was declared. Asking "
            "again with more seeds or another smallest effect errs more often than the intervals say. max_replicates "
            "adds seeds at declared looks; seeds that nobody has seen, e.g. seed=10,11,12, give a final verdict."
        )
    if lesson.stale:
        changes = listed(list(dict.fromkeys(change for of_trial in lesson.stale.values() for change in of_trial)))
        yield f"Stale: {len(lesson.stale)} trials ran with other code ({changes}). Run the grid again."


def _look_notes(lesson: Lesson) -> Iterator[str]:
    """Whether there is another interim look."""
    results = lesson.results
    looks, seeds = results.declaration.looks, results.seeds
    if len(looks) == 1 or results.missing:
        return
    later = [look for look in looks if look > seeds]
    if lesson.is_decided:
        yield f"Every comparison was decided at {seeds} seeds" + (", so no more were added." if later else ".")
    elif later:
        yield f"Some comparisons are undecided at {seeds} seeds; the same command looks again at {later[0]}."
    else:
        yield f"No look is left: at most {seeds} seeds were declared."
