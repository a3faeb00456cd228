"""What a lesson of tuned arms says of their tuning, and whether its words are those of the arms as they came."""

from typing import Any

from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.lessons.lesson import Lesson, lesson
from ablate.records.grid import ArmRecord

SAMPLERS = {
    "tpe": "TPE",
    "gp": "a Gaussian process",
    "cmaes": "CMA-ES",
    "random": "random search",
    "grid": "a grid",
    "nsgaii": "NSGA-II",
}


def tuning_notes(found: Lesson) -> list[str]:
    """How each arm was tuned, and what that changed; nothing where none was."""
    tuning = found.results.grid.tuning
    if tuning is None:
        return []
    settings = tuning.settings
    by = SAMPLERS[settings.sampler] + ("" if settings.pruner == "none" else f" and {settings.pruner} pruning")
    chosen = "; ".join(
        f"{label} "
        + ", ".join(f"`{key}={value:g}`" if isinstance(value, float) else f"`{key}={value}`" for key, value in values)
        + f" ({arm.score:.4f}; {arm.cost.ended} of {arm.cost.ended + arm.cost.pruned} candidates trained to the end, "
        f"{arm.cost.train_tokens / 1e6:.3g}M tokens)"
        for label, arm in tuning.arms.items()
        if (values := list(arm.values.items()))
    )
    return [
        f"Tuned by {by} on the validation split's {settings.metrics[0]}, {settings.n_trials} candidates an arm under seed "
        f"{settings.tune_seed}; the seeds here are others. Chosen: {chosen}.",
        *_against_untuned(found),
    ]


def untuned(results: GridResults) -> GridResults | None:
    """The newest grid of the same arms as they came, scored in the same way; None where there is none."""
    assert results.grid.tuning is not None
    wanted = {label: arm.untuned for label, arm in results.grid.tuning.arms.items()}
    for grid in results.logs.grids():
        if grid.evaluation_id == results.grid.evaluation_id and grid.tuning is None:
            found = GridResults(results.logs, grid)
            if {arm.label: _without_seeds(found, arm) for arm in found.all_arms} == wanted:
                return found
    return None


def _without_seeds(results: GridResults, arm: ArmRecord) -> dict[str, Any]:
    """What an arm computes, whatever its seeds."""
    semantic = results.records[next(iter(arm.trials.values()))].semantic
    return {**semantic, "init_seed": None, "data_seed": None}


def _against_untuned(found: Lesson) -> list[str]:
    """Whether each word is that of the arms as they came."""
    results = untuned(found.results)
    if results is None:
        return [
            "Whether tuning changed a word can't be said here: the same arms were not run as they come. The same "
            "command without sweeps runs them."
        ]
    try:
        before = lesson(results)
    except IncomparableError:
        return [f"The same arms as they come (grid {results.grid_id}) can't be compared, so nothing is said of them."]
    told = [
        f"{name} was {before.words[name]}, is {word}" if before.words[name] != word else f"{name} stays {word}"
        for name, word in found.words.items()
        if name in before.words
    ]
    if not told:
        return []
    is_same = all("stays" in one for one in told)
    head = "Every word survives tuning" if is_same else "Tuning changes words"
    return [f"{head}, against the arms as they come (grid {results.grid_id}): {'; '.join(told)}."]
