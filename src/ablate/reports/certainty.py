"""Sentences about how certain a lesson's verdicts are: what the intervals cover, noise, power, looks."""

from collections.abc import Iterator, Sequence

from ablate.console import listed
from ablate.lessons.critical_values import POWER
from ablate.lessons.estimate import Comparison, Estimate
from ablate.lessons.lesson import Lesson
from ablate.lessons.verdict import Verdict
from ablate.reports.noise_tables import variance_fractions

# Comparisons whose interval over seeds alone is written in a note; lesson.csv has all.
MAX_WRITTEN = 6


def certainty_notes(lesson: Lesson) -> Iterator[str]:
    """What the intervals cover, what the seeds can detect, and whether there is another interim look."""
    for name, estimate in lesson.declared.items():
        if estimate.comparisons and estimate.noise is not None and estimate.minimum_detectable_effect is not None:
            yield _interval_note(lesson, name, estimate)
            yield _noise_note(lesson, name, estimate, estimate.noise, estimate.minimum_detectable_effect)
            yield from _document_notes(lesson, estimate)
    if wide := [each.contrast.name for each in lesson.comparisons if _is_equivalent_beyond(lesson, each)]:
        yield (
            f"Equivalent though the interval reaches beyond the smallest effect ({listed(wide)}): equivalence is "
            "tested on one side, which takes less evidence than a two-sided interval."
        )
    yield from _look_notes(lesson)


def _interval_note(lesson: Lesson, name: str, estimate: Estimate) -> str:
    declaration, contrasts = lesson.results.declaration, lesson.results.contrasts
    family = f"all {len(contrasts)} declared comparisons" if len(contrasts) > 1 else "the declared comparison"
    looks = f" and the looks at {', '.join(map(str, declaration.looks))} seeds" if len(declaration.looks) > 1 else ""
    return (
        f"The {declaration.confidence:.0%} intervals on {name} are paired by seed over {_seeds(estimate)} seeds "
        f"({_varied_by_seeds(lesson)}) and hold simultaneously for {family}{looks}."
    )


def _is_equivalent_beyond(lesson: Lesson, comparison: Comparison) -> bool:
    effect = lesson.results.smallest_effect(comparison.contrast)
    ends = [abs(end) for end in (comparison.low, comparison.high) if end is not None]
    return lesson.verdict(comparison) is Verdict.EQUIVALENT and max(ends) >= effect


def _seeds(estimate: Estimate) -> str:
    counts = {comparison.seeds for comparison in estimate.comparisons}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _varied_by_seeds(lesson: Lesson) -> str:
    seeds = [seed.split("/") for seed in lesson.results.arms[0].trials]
    if len({init for init, *_ in seeds}) == 1:
        return "order of the data; the initial values are fixed"
    if len({data for *_, data in seeds}) == 1:
        return "initial values; the order of the data is fixed"
    return "initial values and order of the data"


def _noise_note(lesson: Lesson, name: str, estimate: Estimate, noise: float, detectable: float) -> str:
    """One trial's noise, and the effect that these seeds detect beside the one that was declared to matter."""
    correlated = ""
    if estimate.correlation is not None:
        correlated = f" Arms under one seed correlate at {estimate.correlation:.2f}."
    required = lesson.required_seeds if name == lesson.results.primary_metric else None
    more = f" {seeds_for_verdicts(lesson, required)}" if required and required > estimate.seeds else ""
    effects = dict.fromkeys(f"{lesson.results.smallest_effect(each.contrast):g}" for each in estimate.comparisons)
    return (
        f"One trial's noise: {noise:.4f} {lesson.results.metric(name).unit}.{correlated} Detectable with {POWER:.0%} "
        f"power: {detectable:.4f}; smallest effect that matters: {listed(list(effects))}.{more}"
    )


def seeds_for_verdicts(lesson: Lesson, required: int) -> str:
    """How many seeds verdicts take."""
    looks = lesson.results.declaration.looks
    spent = " with these looks" if len(looks) > 1 else ""
    return (
        f"A verdict takes about {required} seeds{spent}: so many call an arm without a difference equivalent, and one "
        f"with the smallest effect better or worse, in {POWER:.0%} of the cases each. Between the two it may stay open."
    )


def _document_notes(lesson: Lesson, estimate: Estimate) -> Iterator[str]:
    """What the intervals cover, the intervals over seeds alone, and what documents add."""
    known = [comparison for comparison in estimate.comparisons if comparison.variance is not None]
    if len(known) < len(estimate.comparisons):
        of = (
            f"of {listed([each.contrast.name for each in estimate.comparisons if each not in known])} " if known else ""
        )
        yield (
            f"The intervals {of}cover other seeds on these documents, not other documents. That takes scores of single "
            "documents, of two or more of each source under two or more seeds, which these logs do not have (W&B has "
            "none, a ledger has)."
        )
    if not known:
        return
    widest = max(known, key=lambda comparison: comparison.variance.total if comparison.variance else 0.0)
    assert widest.variance is not None
    seed, document, interaction = variance_fractions(widest.variance).values()
    yield (
        "The intervals cover other seeds and other held-out documents, drawn one by one from the same sources. Over "
        f"other seeds on these documents alone they are {_over_seeds(known)}."
    )
    yield (
        f"Of the variance of {widest.contrast.name}, seeds cause {seed:.0%}, documents {document:.0%}, "
        f"seed × document {interaction:.0%}."
    )
    effect = min(lesson.results.smallest_effect(each.contrast) for each in known)
    if estimate.decidable_by_documents >= effect:
        yield (
            f"No number of seeds gives every verdict on these documents: it would take a smallest effect of "
            f"{estimate.decidable_by_documents:.4f}, and {effect:g} is declared. Score more documents: "
            f"evaluation.suites.SUITE.documents_per_source=N ({listed(list(lesson.results.grid.suites))})."
        )


def _over_seeds(comparisons: Sequence[Comparison]) -> str:
    written = [
        f"{each.contrast.name} [{each.low_over_seeds:+.4f}, {each.high_over_seeds:+.4f}]"
        for each in comparisons
        if each.low_over_seeds is not None and each.high_over_seeds is not None
    ]
    return listed(written, MAX_WRITTEN)


def _look_notes(lesson: Lesson) -> Iterator[str]:
    """Whether there is another interim look."""
    results = lesson.results
    looks, seeds = results.declaration.looks, results.seeds
    if len(looks) == 1 or results.missing or not lesson.comparisons:
        return
    later = [look for look in looks if look > seeds]
    if lesson.is_decided:
        yield f"Every comparison was decided at {seeds} seeds" + (", so no seeds were added." if later else ".")
    elif later:
        yield f"Some comparisons are undecided at {seeds} seeds. The same command looks again at {later[0]}."
    else:
        yield f"No look is left: at most {seeds} seeds were declared."
