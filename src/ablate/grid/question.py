"""What a grid asks, in a form that does not change when it is asked again in another way.

Two comparisons are one question if the same arms are compared, whatever their seeds, hyperparameters, held-out text,
metric, smallest effect, and whichever of them is the baseline.
"""

from collections.abc import Iterable, Mapping

from ablate.config.trial import TrialConfig
from ablate.identity import digest12, semantic
from ablate.records.grid import ArmRecord, Declaration, GridRecord, values_of
from ablate.records.ledger import Ledger
from ablate.records.seen import Beside, Seen
from ablate.records.trial import Status

# Groups and keys of a canonical form that make no new question.
ASKED_AGAIN = ("optimizer", "schedule", "corpus", "init_seed", "data_seed", "init_scheme", "precision", "compile")
NOT_RESULTS = ("divergence", "code_versions")


def questions(
    declaration: Declaration, arms: Iterable[ArmRecord], trials: Mapping[str, TrialConfig]
) -> tuple[str, ...]:
    """Return the digest of each declared contrast's question.

    Args:
        arms: the grid's.
        trials: label → a trial of the arm.
    """
    form = {label: digest12(_question_of(trial)) for label, trial in trials.items()}
    values = {arm.label: values_of(arm.options) for arm in arms}
    found = []
    for contrast in declaration.contrasts:
        weights = _summed({label: form[label] for label in contrast.weights}, contrast.weights)
        if not weights:
            # The arms differ in hyperparameters alone: then these are what is asked about.
            names = {label: f"{form[label]} {values[label]}" for label in contrast.weights}
            weights = _summed(names, contrast.weights)
        found.append(digest12(_scaled(weights)))
    return tuple(found)


def _question_of(trial: TrialConfig) -> dict[str, object]:
    kept = {name: part for name, part in semantic(trial).items() if name not in (*ASKED_AGAIN, *NOT_RESULTS)}
    kept["budget"] = {name: value for name, value in kept["budget"].items() if name != "rows_per_step"}
    return kept


def _summed(names: Mapping[str, str], weights: Mapping[str, float]) -> dict[str, float]:
    """Return name → the sum of its labels' weights, without those that cancel."""
    sums: dict[str, float] = {}
    for label, weight in weights.items():
        sums[names[label]] = sums.get(names[label], 0.0) + weight
    return {name: weight for name, weight in sums.items() if abs(weight) > 1e-9}


def _scaled(weights: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the weights in an order of their own, the first one 1: a contrast and its negative are one question."""
    ordered = sorted(weights.items())
    return [(name, round(weight / ordered[0][1], 6)) for name, weight in ordered]


def seen_by(ledger: Ledger, asked: GridRecord) -> Seen | None:
    """Return what a ledger has seen before a grid is recorded; None where that is nothing.

    Args:
        asked: the grid, with the seeds of all its looks.
    """
    name, own = asked.declaration.name, set(asked.questions)
    label = asked.declaration.baseline or asked.arms[0].label
    used = {trial for arm in asked.arms if arm.label == label for trial in arm.trials.values()}
    tries, beside, left_out = [], [], []
    # A damaged record stops no new grid; verbs name it.
    for grid in sorted(ledger.grids([]), key=lambda grid: grid.created_at):
        is_try = bool(own & set(grid.questions)) or (name is not None and grid.declaration.name == name)
        of_baseline = [arm for arm in grid.arms if used & set(arm.trials.values())]
        if grid.grid_id == asked.grid_id or not (is_try or of_baseline) or not _is_scored(ledger, grid):
            continue
        if is_try:
            tries.append(grid.grid_id)
        for arm in of_baseline:
            left_out += [seed for seed, trial in arm.trials.items() if trial not in used and has_scores(ledger, trial)]
        others = len(set(grid.questions) - own)
        if of_baseline and others:
            beside.append(Beside(grid.grid_id, others, grid.declaration.planned_comparisons))
    return Seen(tuple(tries), tuple(beside), tuple(dict.fromkeys(left_out))) if tries or beside or left_out else None


def _is_scored(ledger: Ledger, grid: GridRecord) -> bool:
    return any(has_scores(ledger, trial) for trial in grid.trial_ids)


def has_scores(ledger: Ledger, trial_id: str) -> bool:
    """Return whether anybody can know how a trial ended: any suite has scored it, or it diverged."""
    record = ledger.trial(trial_id).record()
    return bool(record.evaluations) or record.status == Status.DIVERGED
