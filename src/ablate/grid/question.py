"""The question of each comparison of a grid, and the earlier grids of a ledger that asked it.

Two comparisons have one question if they compare the same arms, whatever their seeds, hyperparameters, held-out text,
metric and smallest effect, and whichever of the arms is the baseline.
"""

from collections.abc import Iterable, Mapping

from ablate.config.trial import TrialConfig
from ablate.identity import digest12, semantic
from ablate.lessons.contrast import merged
from ablate.records.grid import ArmRecord, Declaration, GridRecord, values_of
from ablate.records.ledger import Ledger
from ablate.records.seen import Beside, Seen

# Groups and keys of a canonical form whose change makes no new question.
HYPERPARAMETERS = ("optimizer", "schedule", "corpus", "init_seed", "data_seed", "init_scheme", "precision", "compile")
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
    values = {arm.label: f"{form[arm.label]} {values_of(arm.options)}" for arm in arms}
    digests = []
    for contrast in declaration.contrasts:
        # Arms that differ in hyperparameters alone are told apart by their values.
        weights = merged(contrast.weights, form) or merged(contrast.weights, values)
        digests.append(digest12(_scaled(weights)))
    return tuple(digests)


def _question_of(trial: TrialConfig) -> dict[str, object]:
    kept = {name: part for name, part in semantic(trial).items() if name not in (*HYPERPARAMETERS, *NOT_RESULTS)}
    kept["budget"] = {name: value for name, value in kept["budget"].items() if name != "rows_per_step"}
    return kept


def _scaled(weights: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the weights in an order of their own, the first one 1: a contrast and its negative are one question."""
    ordered = sorted(weights.items())
    return [(name, round(weight / ordered[0][1], 6)) for name, weight in ordered]


def seen_by(ledger: Ledger, grid: GridRecord, earlier: Iterable[GridRecord]) -> Seen | None:
    """Return what a ledger has seen before a grid is recorded; None where that is nothing.

    Args:
        grid: with the seeds of all its looks.
        earlier: the grids of the ledger.
    """

    def has_outcome(trial_id: str) -> bool:
        return ledger.trial(trial_id).record().has_outcome

    name, own = grid.declaration.name, set(grid.questions)
    used = set(grid.baseline.trials.values())
    tries, beside, left_out = [], [], []
    for record in sorted(earlier, key=lambda record: record.created_at):
        is_try = bool(own & set(record.questions)) or (name is not None and record.declaration.name == name)
        of_baseline = [arm for arm in record.arms if used & set(arm.trials.values())]
        if not (is_try or of_baseline) or not any(map(has_outcome, record.trial_ids)):
            continue
        if is_try:
            tries.append(record.grid_id)
        for arm in of_baseline:
            left_out += [seed for seed, trial in arm.trials.items() if trial not in used and has_outcome(trial)]
        others = len(set(record.questions) - own)
        if of_baseline and others:
            beside.append(Beside(record.grid_id, others, record.declaration.planned_comparisons))
    return Seen(tuple(tries), tuple(beside), tuple(dict.fromkeys(left_out))) if tries or beside or left_out else None
