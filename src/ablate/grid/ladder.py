"""The ladder that a grid declares, and the baseline of each of its rungs."""

from collections.abc import Sequence
from dataclasses import fields

from ablate.config.grid import LessonConfig
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError, nearest
from ablate.evaluation.suite import metric_of
from ablate.records.grid import ArmRecord, LadderRecord, arm_and_rung, by_rung, is_of_rung, values_of
from ablate.records.metric import Direction

TRIAL_KEYS = tuple(field.name for field in fields(TrialConfig))


def declared_ladder(lesson: LessonConfig, factors: Sequence[str], arms: Sequence[ArmRecord]) -> LadderRecord | None:
    """Return the ladder that a lesson declares; None where it declares none, or where no key of it has several values.

    Args:
        lesson: the grid's lesson.
        factors: the swept keys.
        arms: of the grid.

    Raises:
        UsageError: a ladder without rungs or arms, with a fit that its metric does not allow, or with comparisons
            across rungs.
    """
    ladder = lesson.ladder
    if ladder is None:
        return None
    for key in ladder.over:
        if key.split(".")[0] not in TRIAL_KEYS:
            raise UsageError(
                f"lesson.ladder.over: {key} is no key of a trial. {nearest(key, TRIAL_KEYS)} The rungs of a ladder are "
                "the values of swept keys."
            )
    if not any(is_of_rung(factor, ladder.over) for factor in factors):
        return None
    if all(is_of_rung(factor, ladder.over) for factor in factors):
        raise UsageError(
            f"lesson.ladder.over=[{','.join(ladder.over)}]: names all swept keys, so each rung has one arm and nothing "
            "to compare it with. Sweep an arm too, as objective=causal,prefix."
        )
    if kinds := [kind for kind in lesson.compare if kind != "baseline"]:
        raise UsageError(
            f"lesson.compare={kinds[0]}: compares arms of different rungs. With a ladder take "
            "lesson.compare=[baseline], or name your comparisons in lesson.contrasts."
        )
    curves = [fit for fit in ladder.fits if fit != "slope"]
    if curves and metric_of(lesson.primary_metric).direction is not Direction.MINIMIZE:
        raise UsageError(
            f"lesson.ladder.fits: {curves[0]} is a curve of losses, and more {lesson.primary_metric} is better. "
            "Type lesson.ladder.fits=[slope], or choose a metric in bits per byte."
        )
    if ladder.targets and "compute" not in ladder.fits:
        raise UsageError(
            "lesson.ladder.targets: only the fit `compute` predicts. Type lesson.ladder.fits=[slope,compute], or leave "
            "the targets out."
        )
    return LadderRecord(ladder.over, ladder.fits, ladder.targets, _at_each_rung(lesson, ladder.over, arms))


def _at_each_rung(lesson: LessonConfig, over: Sequence[str], arms: Sequence[ArmRecord]) -> dict[str, dict[str, float]]:
    """The named comparisons on the primary metric whose arms are named without their rung."""
    names = {arm_and_rung(arm.options, over)[0] for arm in arms}
    return {
        name: dict(contrast.weights)
        for name, contrast in lesson.contrasts.items()
        if contrast.metric in (None, lesson.primary_metric) and names.issuperset(contrast.weights)
    }


def baselines(lesson: LessonConfig, arms: Sequence[ArmRecord]) -> list[tuple[ArmRecord, list[ArmRecord]]]:
    """Return the baseline of each rung, and the arms of this rung; without a ladder there is one rung.

    Raises:
        UsageError: no arm, or none of some rung, is the baseline.
    """
    name = lesson.baseline
    over = lesson.ladder.over if lesson.ladder else ()
    if len(by_rung(arms, over)) == 1:
        label = labelled("lesson.baseline", name, arms) if name else arms[0].label
        return [(next(arm for arm in arms if arm.label == label), list(arms))]
    names = {arm.label: arm_and_rung(arm.options, over)[0] for arm in arms}
    if name is not None and name not in names.values():
        name = names[labelled("lesson.baseline", name, arms)]
    chosen = name or names[arms[0].label]
    pairs = []
    for rung, of_rung in by_rung(arms, over).items():
        baseline = next((arm for arm in of_rung if names[arm.label] == chosen), None)
        if baseline is None:
            raise UsageError(f"lesson.ladder: the rung {rung} has no arm {chosen}, the baseline of the others.")
        pairs.append((baseline, of_rung))
    return pairs


def labelled(key: str, name: str, arms: Sequence[ArmRecord]) -> str:
    """Return the label of the arm that a key names by its label or by its values alone. Raises UsageError."""
    for arm in arms:
        if name in (arm.label, values_of(arm.options)):
            return arm.label
    raise UsageError(f"{key}={name}: no arm has this label. {nearest(name, [values_of(arm.options) for arm in arms])}")
