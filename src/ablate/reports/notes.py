"""The sentences of a lesson in groups: caveats, certainty, what the arms trained on, what the metrics measure."""

from collections.abc import Iterator, Mapping

from ablate.console import counted, listed
from ablate.lessons.critical_values import FEW_SEEDS, MUCH_NOISIER, NOISIER
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.lessons.tries import error_beside, error_of_tries
from ablate.reports.certainty import certainty_notes, seeds_for_verdicts
from ablate.reports.tuning_notes import tuning_notes
from ablate.reports.wording import counts, nothing_to_compare

CAVEATS, CERTAINTY, TRAINING, METRICS = "Caveats", "How certain the verdicts are", "Training", "Metrics"
# With fewer seeds, more noise in one arm than the intervals allow for would not be noticed.
ENOUGH_SEEDS_FOR_ANY_NOISE = 5


def note_groups(lesson: Lesson) -> dict[str, list[str]]:
    """Heading → sentences, without empty groups. The caveats come first."""
    groups = {
        CAVEATS: [
            *_gap_notes(lesson),
            *_noise_caveats(lesson),
            *_qualifier_notes(lesson),
            *_device_notes(lesson),
            *_processor_notes(lesson),
            *_task_notes(lesson),
        ],
        CERTAINTY: [*certainty_notes(lesson), *_explored_notes(lesson)],
        TRAINING: [
            *(f"{arm.label} is the same trial as {arm.same_as}." for arm in lesson.results.all_arms if arm.same_as),
            *tuning_notes(lesson),
            *_reading_notes(lesson),
            *_unigram_notes(lesson),
        ],
        METRICS: [f"`{name}`: {meaning}" for name, meaning in metric_meanings(lesson).items()],
    }
    return {heading: sentences for heading, sentences in groups.items() if sentences}


def notes(lesson: Lesson) -> list[str]:
    """The sentences of all groups."""
    return [sentence for sentences in note_groups(lesson).values() for sentence in sentences]


def next_step(lesson: Lesson) -> str | None:
    """What the user can do where nothing can be decided yet."""
    results = lesson.results
    if lesson.primary is None:
        return nothing_to_compare(lesson)
    if not results.contrasts:
        return "One arm: nothing to compare it with. Sweep a value, e.g. -m objective=causal,prefix,mixed"
    if results.missing:
        return f"Trials are missing (done: {counts(results.missing)}). The same command runs them."
    if lesson.comparisons and results.seeds == 1:
        return "One seed shows no noise, so nothing can be decided. Leave replicates out: 4 to 12 seeds"
    required = lesson.required_seeds
    if not lesson.is_decided and required and required > results.seeds:
        return f"Undecided. {seeds_for_verdicts(lesson, required)}"
    return None


def metric_meanings(lesson: Lesson) -> dict[str, str]:
    """Metric, without a source → what it measures."""
    names = dict.fromkeys(name.split("/")[0] for name in lesson.metrics)
    return {name: lesson.results.metric(name).meaning for name in names}


def _explored_notes(lesson: Lesson) -> list[str]:
    """What the intervals of metrics without a declared comparison hold for."""
    if not any(estimate.comparisons for estimate in lesson.explored.values()):
        return []
    names = listed(sorted(lesson.explored, key=lesson.is_headline, reverse=True))
    return [
        f"Metrics without a declared comparison ({names}) have no verdicts, and their "
        "intervals are not adjusted for the number of metrics: of many, some miss the truth. A comparison that is "
        "declared on one of them pays for it."
    ]


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
    others = "; ".join(f"{listed(labels)} ({tasks})" for tasks, labels in by_tasks.items())
    return [
        f"Trained on other tasks: {others}; the baseline {baseline.label} is {_tasks(baseline.tasks)}. Such an arm may "
        "be worse here and better at what these metrics do not measure, e.g. infilling or reading a prefix in both "
        "directions."
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
        return [f"Text read by every arm: {next(iter(by_reading))}."]
    texts = [f"{listed(arms)}: {text}" for text, arms in by_reading.items()]
    return [f"Text read: {'; '.join(texts)}."] if texts else []


def _device_notes(lesson: Lesson) -> list[str]:
    """Whether trials were trained on different numbers of devices."""
    arms: dict[int, list[str]] = {}
    for arm in lesson.results.arms:
        attempts = [attempt for trial in arm.trials.values() for attempt in lesson.results.records[trial].attempts]
        # An attempt that only scored has no step to start from.
        for devices in sorted({attempt.ranks for attempt in attempts if attempt.from_step is not None}):
            arms.setdefault(devices, []).append(arm.label)
    if len(arms) < 2:
        return []
    texts = [f"{devices} ({listed(labels)})" for devices, labels in sorted(arms.items())]
    return [
        f"Trained on different numbers of devices: {'; '.join(texts)}. They add the same numbers up in another order, "
        "which moves scores as another processor does: by far less than another seed."
    ]


def _processor_notes(lesson: Lesson) -> list[str]:
    """Whether trials were trained on different processors, which round differently."""
    trials: dict[str, list[str]] = {}
    for arm in lesson.results.arms:
        for seed, trial in arm.trials.items():
            about = lesson.results.records[trial].provenance
            if about is not None:
                trials.setdefault(about.machine.rpartition(", ")[0], []).append(f"{arm.label} ({seed})")
    if len(trials) < 2:
        return []
    texts = [f"{processor}: {listed(names[:3])}{' …' * (len(names) > 3)}" for processor, names in trials.items()]
    return [
        f"Trained on different processors, by arm (seed): {'; '.join(texts)}. Processors may "
        "round differently: between one pair a trial differed by 0.003 bits per byte, between another eight trials by "
        "less than 0.00001. Train a trial again on the other kind to see, or all arms on one."
    ]


def _unigram_notes(lesson: Lesson) -> list[str]:
    """How far the baseline is from a model without context."""
    baseline = lesson.results.baseline
    estimate = lesson.declared.get("bpb_full") or lesson.explored.get("bpb_full")
    unigram = lesson.results.unigram().get(baseline)
    if estimate is None or unigram is None or baseline not in estimate.means:
        return []
    fraction = 1 - estimate.means[baseline] / unigram
    place = f"{fraction:.1%} below it" if fraction > 0 else f"{-fraction:.1%} above it"
    return [f"A unigram model of the training mixture reaches bpb_full {unigram:.4f}; {baseline} is {place}."]


def _noise_caveats(lesson: Lesson) -> Iterator[str]:
    """Where there is no interval, or one that rests on few seeds."""
    for name, estimate in lesson.declared.items():
        if estimate.seeds == 1:
            yield f"{name}: one seed shows no noise, so nothing can be decided. Leave replicates out: 4 to 12 seeds"
        elif not estimate.comparisons:
            yield f"{name}: no declared comparison has results in all its arms."
        elif estimate.noise is None:
            yield f"{name}: every seed gave the same value, so the noise is unknown and there is no interval."
        elif estimate.noise_ratio is not None and estimate.seeds < ENOUGH_SEEDS_FOR_ANY_NOISE:
            allowed = MUCH_NOISIER if estimate.seeds <= FEW_SEEDS else NOISIER
            yield (
                f"{name}: {estimate.seeds} seeds hardly show which arms are noisier (here up to "
                f"{estimate.noise_ratio:.1f} times). The intervals allow for one arm that is {allowed:g} times as "
                "noisy as the others."
            )


def _gap_notes(lesson: Lesson) -> Iterator[str]:
    """What is not in the table."""
    results = lesson.results
    if lesson.primary is None:
        yield nothing_to_compare(lesson)
    elif not results.contrasts:
        yield "One arm: nothing to compare it with. Sweep a value, e.g. -m objective=causal,prefix,mixed"
    if results.missing:
        yield f"Interim: trials are missing (done: {counts(results.missing)}), so no verdict is final."
    if results.diverged:
        yield (
            f"Diverged: {counts(results.diverged)}; these arms are left out of all comparisons and means. A smaller "
            "optimizer.learning_rate may keep them; hydra.sweeper.exclude runs the grid without them."
        )
    for arm, seed, name in results.not_finite():
        yield f"{arm}, seed {seed}: {name} is not a finite number, so the trial counts as diverged."
    for contrast in results.contrasts:
        estimate = lesson.declared.get(contrast.metric)
        absent = [arm for arm in contrast.weights if estimate is None or arm not in estimate.means]
        if absent and not set(absent) & {*results.missing, *results.diverged}:
            yield f"{contrast.name} can't be compared: {listed(absent)} has no {contrast.metric}."


def _try_notes(results: GridResults) -> Iterator[str]:
    """What was asked before in this ledger, and the error that it adds up to."""
    seen, error = results.seen, results.error(len(results.contrasts))
    if seen.tries:
        yield (
            f"Try {results.try_number}: this was asked before, by lesson name or by the arms that are compared (grid "
            f"{listed(seen.tries)}). With an error of {error:.1%} each, {results.try_number} tries give a false "
            f"verdict in up to {error_of_tries(results):.0%}. Report all of them, or confirm with one larger "
            "grid that is declared as the last."
        )
    if seen.left_out:
        yield (
            f"Picked seeds: {results.baseline} has scores under the seeds {listed(seen.left_out)}, which this grid "
            "leaves out. Whoever knows them can choose the seeds that please. Take all seeds, or seeds that nobody has "
            "seen."
        )
    if seen.beside:
        before = sum(grid.comparisons for grid in seen.beside)
        first, last = before + 1, before + len(results.contrasts)
        numbers = f"number {first}" if first == last else f"numbers {first} to {last}"
        planned = results.declaration.planned_comparisons
        yield (
            f"The trials of {results.baseline} have served {counted(before, 'comparison')} in earlier grids (grid "
            f"{listed([grid.grid_id for grid in seen.beside])}); these are {numbers}. In all of them together a false "
            f"verdict comes up in up to {error_beside(results):.0%}."
            + ("" if planned else " lesson.planned_comparisons=N, from the first grid on, shares one error among N.")
        )
    elif planned := results.declaration.planned_comparisons:
        yield (
            f"Planned: {planned} comparisons with {results.baseline} share the error of "
            f"{1 - results.declaration.confidence:.0%}; this grid's {len(results.contrasts)} spend {error:.1%} of it."
        )


def _qualifier_notes(lesson: Lesson) -> Iterator[str]:
    """What weakens the verdicts."""
    results = lesson.results
    if unlearned := [arm.label for arm in results.arms if arm.label in results.no_better_than_unigram]:
        yield (
            f"No better than unigram ({listed(unlearned)}): on bpb_full these arms do not beat a unigram model of "
            "their training mixture, so they have learned next to nothing from context. Their verdicts say little "
            "about the question. Train longer."
        )
    if not results.is_declared:
        yield (
            f"Exploratory: {results.declaration.name} was declared differently before "
            f"(grid {listed(results.grid.other_declarations)}). For a declared lesson, choose another lesson.name=… "
            "and seeds that nobody has seen."
        )
    yield from _try_notes(results)
    if post_hoc := [contrast.name for contrast in results.contrasts if results.is_post_hoc(contrast)]:
        yield (
            f"Post hoc ({listed(post_hoc)}): trials of these arms were scored before the lesson was declared. "
            "Repeating a lesson with more seeds or another smallest effect errs more often than the intervals say. "
            "max_replicates adds seeds at declared looks. Seeds that nobody has seen, e.g. seed=10,11,12, give a "
            "verdict that is not post hoc, and count as another try."
        )
    if lesson.stale:
        changes = listed(list(dict.fromkeys(change for of_trial in lesson.stale.values() for change in of_trial)))
        yield f"Stale: {len(lesson.stale)} trials ran with other code ({changes}). Run the grid again."
