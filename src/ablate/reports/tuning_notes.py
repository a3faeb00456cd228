"""The sentences of a lesson about how its arms were tuned, and whether tuning changed a verdict."""

from collections.abc import Sequence
from typing import Any

from ablate.lessons.comparable import IncomparableError
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ArmRecord
from ablate.records.tuning import TunedArm, TuningSummary, texts
from ablate.reports.wording import counts

SAMPLERS = {
    "tpe": "TPE",
    "gp": "a Gaussian process",
    "cmaes": "CMA-ES",
    "random": "random search",
    "grid": "a grid",
    "nsgaii": "NSGA-II",
}


# With fewer candidates trained to the end, the best one was chosen by the pruner.
MIN_ENDED = 3


def tuning_notes(lesson: Lesson) -> list[str]:
    """How each arm was tuned, and what that changed; nothing for untuned arms."""
    tuning = lesson.results.grid.tuning
    if tuning is None:
        return []
    return [*_how_tuned(tuning), *_hardly_tuned(tuning), *_comparison_with_untuned(lesson)]


def _how_tuned(tuning: TuningSummary) -> list[str]:
    """How the values were chosen, and what the intervals cover."""
    settings, tunings = tuning.settings, tuning.settings.tune_replicates
    pruning = "" if settings.pruner == "none" else f" and {settings.pruner} pruning"
    best = "; ".join(_best(label, arms) for label, arms in tuning.arms.items() if arms[0].values)
    head = f"Tuned by {SAMPLERS[settings.sampler]}{pruning} on the validation split's {settings.metrics[0]}, "
    if tunings > 1:
        return [
            f"{head}{tunings} times, with {settings.n_trials} candidates per arm each, under the seeds "
            f"{settings.tune_seed} to {settings.tune_seed + tunings - 1}, which are not used here. Best: {best}.",
            "Each seed here has the values of a tuning of its own, so the intervals cover other seeds of the training "
            "and of the tuning. The verdicts hold for arms that are tuned in this way, not for single values.",
        ]
    return [
        f"{head}{settings.n_trials} candidates per arm with seed {settings.tune_seed}, which is not used here. "
        f"Best: {best}.",
        "The verdicts hold for these values: the intervals cover other seeds of the training, not of the tuning. "
        "Another tuning may choose other values, and arms with the same response to them may differ by what each was "
        "given. To have the tuning inside the intervals, type hydra.sweeper.tune_replicates=4.",
    ]


def _hardly_tuned(tuning: TuningSummary) -> list[str]:
    """The arms of which pruning left next to no candidate to choose from."""
    fewest = {label: min(arms, key=lambda arm: arm.cost.ended).cost for label, arms in tuning.arms.items()}
    few = {
        label: f"{cost.ended} of {cost.ended + cost.pruned}"
        for label, cost in fewest.items()
        if cost.pruned and cost.ended < MIN_ENDED
    }
    if not few:
        return []
    return [
        f"Hardly tuned: candidates trained to the end: {counts(few)}. The others were pruned by earlier evaluations, "
        "which favour values that start well. hydra.sweeper.pruner=none trains all of them."
    ]


def _best(label: str, arms: Sequence[TunedArm]) -> str:
    values = " / ".join(", ".join(f"`{key}={text}`" for key, text in texts(arm.values).items()) for arm in arms)
    scores = " / ".join(f"{arm.score:.4f}" for arm in arms)
    ended, pruned = (sum(getattr(arm.cost, name) for arm in arms) for name in ("ended", "pruned"))
    return (
        f"{label} {values} ({scores}; {ended} of {ended + pruned} candidates trained to the end, "
        f"{sum(arm.cost.train_tokens for arm in arms) / 1e6:.3g}M tokens)"
    )


def untuned(results: GridResults) -> GridResults | None:
    """The newest grid of the same arms without tuning, scored in the same way; None where there is none."""
    assert results.grid.tuning is not None
    untuned_arms = {label: arms[0].untuned for label, arms in results.grid.tuning.arms.items()}
    for grid in results.logs.grids():
        if grid.suites == results.grid.suites and grid.tuning is None:
            candidate = GridResults(results.logs, grid)
            if {arm.label: _without_seeds(candidate, arm) for arm in candidate.all_arms} == untuned_arms:
                return candidate
    return None


def _without_seeds(results: GridResults, arm: ArmRecord) -> dict[str, Any]:
    semantic = results.records[next(iter(arm.trials.values()))].semantic
    return {**semantic, "init_seed": None, "data_seed": None}


def _comparison_with_untuned(lesson: Lesson) -> list[str]:
    results = untuned(lesson.results)
    if results is None:
        return [
            "Whether tuning changed a verdict is unknown: the same arms were not run untuned. The same command without "
            "sweeps runs them."
        ]
    try:
        before = Lesson.of(results).verdicts
    except IncomparableError:
        return [f"The untuned arms (grid {results.grid_id}) can't be compared, so nothing is known about them."]
    shared = {name: verdict for name, verdict in lesson.verdicts.items() if name in before}
    changes = [
        f"{name} stays {verdict}" if before[name] == verdict else f"{name} was {before[name]}, is {verdict}"
        for name, verdict in shared.items()
    ]
    if not changes:
        return []
    is_same = all(before[name] == verdict for name, verdict in shared.items())
    head = "Tuning changes no verdict" if is_same else "Tuning changes verdicts"
    return [f"{head}, compared with the untuned arms (grid {results.grid_id}): {'; '.join(changes)}."]
