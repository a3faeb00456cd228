"""What a lesson of tuned arms says of their tuning, and whether its words are those of the arms as they came."""

from collections.abc import Mapping
from typing import Any

from ablate.lessons.grid_results import Arm, GridResults, IncomparableError
from ablate.lessons.lesson import Lesson, lesson

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
    sweep = found.results.grid.get("sweep")
    if sweep is None:
        return []
    arms: Mapping[str, Any] = sweep["arms"]
    by = SAMPLERS[sweep["sampler"]] + ("" if sweep["pruner"] == "none" else f" and {sweep['pruner']} pruning")
    chosen = "; ".join(
        f"{label} "
        + ", ".join(f"`{key}={value:g}`" if isinstance(value, float) else f"`{key}={value}`" for key, value in values)
        + f" ({arm['score']:.4f}; {arm['ended']} of {arm['ended'] + arm['pruned']} candidates trained to the end, "
        f"{arm['train_tokens'] / 1e6:.3g}M tokens)"
        for label, arm in arms.items()
        if (values := list(arm["values"].items()))
    )
    return [
        f"Tuned by {by} on the validation split's {sweep['metrics'][0]}, {sweep['n_trials']} candidates an arm under seed "
        f"{sweep['tune_seed']}; the seeds here are others. Chosen: {chosen}.",
        *_against_untuned(found),
    ]


def untuned(results: GridResults) -> GridResults | None:
    """The newest grid of the same arms as they came, scored in the same way; None where there is none."""
    wanted = {label: arm.get("as_it_comes") for label, arm in results.grid["sweep"]["arms"].items()}
    for grid in results.logs.grids():
        if grid["evaluation_id"] == results.grid["evaluation_id"] and "sweep" not in grid:
            found = GridResults(results.logs, grid)
            if {arm.label: _without_seeds(found, arm) for arm in found.all_arms} == wanted:
                return found
    return None


def _without_seeds(results: GridResults, arm: Arm) -> dict[str, Any]:
    """What an arm computes, whatever its seeds."""
    semantic = results.records[next(iter(arm.trials.values()))].get("semantic") or {}
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
