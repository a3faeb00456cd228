"""The comparisons that a lesson names, `lesson.contrasts`; with a ladder, at each rung."""

from collections.abc import Iterator, Mapping, Sequence

from ablate.config.grid import LessonConfig
from ablate.errors import UsageError
from ablate.grid.ladder import labelled
from ablate.records.grid import ArmRecord, ContrastRecord, arm_and_rung, by_rung


def named_contrasts(lesson: LessonConfig, arms: Sequence[ArmRecord]) -> Iterator[ContrastRecord]:
    """Yield each comparison with the labels of its arms.

    With a ladder, arms that are named without their rung are compared at each rung, under the name `RUNG, NAME`.

    Raises:
        UsageError: an unknown arm, a rung that lacks one, or weights that do not sum to 0.
    """
    rungs = by_rung(arms, lesson.ladder.over) if lesson.ladder else {}
    for name, contrast in lesson.contrasts.items():
        key = f"lesson.contrasts.{name}"
        total = sum(contrast.weights.values())
        if abs(total) > 1e-9 or not any(contrast.weights.values()):
            raise UsageError(f"{key}: its weights must sum to 0 and not all be 0; they sum to {total:g}.")
        metric = contrast.metric or lesson.primary_metric
        at_rungs = _at_rungs(lesson, key, contrast.weights, rungs) if len(rungs) > 1 else {}
        for rung, weights in at_rungs.items():
            yield ContrastRecord(f"{rung}, {name}", metric, weights, contrast.smallest_effect)
        if not at_rungs:
            weights = {labelled(key, arm, arms): weight for arm, weight in contrast.weights.items()}
            yield ContrastRecord(name, metric, weights, contrast.smallest_effect)


def _at_rungs(
    lesson: LessonConfig, key: str, weights: Mapping[str, float], rungs: Mapping[str, Sequence[ArmRecord]]
) -> dict[str, dict[str, float]]:
    """Return rung → label of each arm → its weight; empty where arms are named with their rungs."""
    assert lesson.ladder is not None
    over = lesson.ladder.over
    labels = {
        rung: {arm_and_rung(arm.options, over)[0]: arm.label for arm in of_rung} for rung, of_rung in rungs.items()
    }
    if not any(arm in of_rung for of_rung in labels.values() for arm in weights):
        return {}
    at_rungs = {}
    for rung, of_rung in labels.items():
        if lacking := [arm for arm in weights if arm not in of_rung]:
            raise UsageError(f"{key}: the rung {rung} has no arm {lacking[0]}. It has: {', '.join(of_rung)}.")
        at_rungs[rung] = {of_rung[arm]: weight for arm, weight in weights.items()}
    return at_rungs
