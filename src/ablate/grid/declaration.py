"""The declaration of a grid, made before it runs, and the checks that a lesson will be possible."""

from collections.abc import Iterator, Mapping, Sequence

from ablate.config.grid import LessonConfig
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError, nearest
from ablate.evaluation.suite import SUITES, checked_suites, metric_of, scored_names
from ablate.grid.cell import Cell
from ablate.grid.ladder import baselines, declared_ladder
from ablate.grid.named_contrasts import named_contrasts
from ablate.identity import semantic
from ablate.lessons.contrast import Contrast, against_baseline, interactions, main_effects
from ablate.objectives.objective import Objective
from ablate.records.grid import ArmRecord, ContrastRecord, Declaration, arm_and_rung, is_of_rung

# Arms that differ in one of these groups read different windows.
DATA_GROUPS = ("corpus", "mixture", "tokenizer", "scale")


def declare(cells: Sequence[Cell], arms: Sequence[ArmRecord], looks: Sequence[int]) -> Declaration:
    """Return the declaration of a grid.

    Args:
        cells: all cells that the grid may run.
        arms: the arms of the grid's record.
        looks: the numbers of seeds at which verdicts are given.

    Raises:
        UsageError: a baseline or contrast with an unknown arm, or a primary metric that no suite scores.
    """
    lesson = cells[0].arm.composed.grid.lesson
    factors = tuple(cells[0].arm.options)
    ladder = declared_ladder(lesson, factors, arms)
    contrasts = (*_compared(lesson, arms), *named_contrasts(lesson, arms))
    label = _baseline(lesson, arms)
    [baseline, *_] = [cell.trial for cell in cells if cell.arm.label == label]
    check_metric("lesson.primary_metric", lesson.primary_metric, {label: baseline})
    # Arms of different rungs are not paired anyway.
    groups = {key.split(".")[0] for key in factors if ladder is None or not is_of_rung(key, ladder.over)}
    return Declaration(
        name=lesson.name,
        question=lesson.question,
        primary_metric=lesson.primary_metric,
        smallest_effect=_smallest_effect(lesson),
        baseline=label if lesson.baseline else None,
        confidence=lesson.confidence,
        contrasts=contrasts,
        factors=factors,
        matched_on=cells[0].trial.budget.matched_on,
        pairing="seed_only" if groups & set(DATA_GROUPS) else "windows",
        looks=tuple(looks),
        planned_comparisons=_planned(lesson, contrasts),
        ladder=ladder,
    )


def _smallest_effect(lesson: LessonConfig) -> float:
    metric = metric_of(lesson.primary_metric)
    effect = lesson.smallest_effect or metric.smallest_effect
    if effect is None:
        raise UsageError(
            f"lesson.primary_metric={lesson.primary_metric}: has no default for the smallest difference that matters. "
            f"Type it in its unit ({metric.unit}), e.g. lesson.smallest_effect=0.05"
        )
    return effect


def _planned(lesson: LessonConfig, contrasts: Sequence[ContrastRecord]) -> int | None:
    planned = lesson.planned_comparisons
    if planned is not None and planned < len(contrasts):
        raise UsageError(
            f"lesson.planned_comparisons={planned}: this grid alone has {len(contrasts)} comparisons. Type that number "
            "and as many more as later grids are to make with this baseline, or null."
        )
    return planned


def _compared(lesson: LessonConfig, arms: Sequence[ArmRecord]) -> Iterator[ContrastRecord]:
    """The comparisons of `lesson.compare`."""
    for contrast in _of_kinds(lesson, arms):
        yield ContrastRecord(contrast.name, contrast.metric, dict(contrast.weights))


def _of_kinds(lesson: LessonConfig, arms: Sequence[ArmRecord]) -> Iterator[Contrast]:
    for kind in lesson.compare:
        if kind == "baseline":
            for baseline, of_rung in baselines(lesson, arms):
                distinct = [arm.label for arm in of_rung if arm.same_as is None]
                yield from against_baseline(distinct, baseline.same_as or baseline.label, lesson.primary_metric)
        else:
            of_factors = main_effects if kind == "main_effects" else interactions
            options = {arm.label: arm.options for arm in arms}
            try:
                yield from of_factors(options, lesson.primary_metric)
            except ValueError as error:
                raise UsageError(
                    f"lesson.compare={kind}: takes {error}. Leave exclude and zip out, or name your comparisons in "
                    "lesson.contrasts."
                ) from None


def _baseline(lesson: LessonConfig, arms: Sequence[ArmRecord]) -> str:
    return baselines(lesson, arms)[0][0].label


def check_lesson(declaration: Declaration, cells: Sequence[Cell]) -> None:
    """Raise UsageError for a grid whose lesson would be refused after the training."""
    budgets = {cell.trial.budget.matched_on for cell in cells}
    if len(budgets) > 1:
        raise UsageError(
            f"budget.matched_on differs between arms ({', '.join(sorted(budgets))}). "
            "A lesson is matched on one of them."
        )
    trials = {cell.arm.label: cell.trial for cell in cells}
    for contrast in declaration.contrasts:
        if contrast.metric != declaration.primary_metric:
            compared = {label: trials[label] for label in contrast.weights}
            check_metric(f"lesson.contrasts.{contrast.name}.metric", contrast.metric, compared)
        _check_smallest_effect(contrast, declaration.primary_metric)
    _check_budgets(declaration, cells)
    _check_granularity(declaration, cells)


def check_suites(suites: Mapping[str, Mapping[str, str]], trial: TrialConfig) -> None:
    """Raise UsageError for arms that are scored in different ways.

    Args:
        suites: ids of the suites by name, of each arm by its label.
        trial: of any arm.
    """
    first, *others = suites
    differing = [label for label in others if suites[label] != suites[first]]
    if not differing:
        return
    names = {name for label in differing for name in suites[label] if suites[label][name] != suites[first].get(name)}
    # What is null follows from the budget or the window, in which the arms may differ.
    chosen = " ".join(
        f"evaluation.suites.{name}.{key}=N"
        for name, parameters in trial.evaluation.suites.items()
        for key, value in parameters.items()
        if name in names and value is None
    )
    raise UsageError(
        f"The arms {' and '.join([first, *differing])} are scored in different ways (evaluation, corpus, budget or "
        "window differ), so they can't be compared. Run them as grids of their own"
        + (f", or give numbers for {chosen}." if chosen else ".")
    )


def _check_smallest_effect(contrast: ContrastRecord, primary: str) -> None:
    """Raise UsageError for a contrast on a unit in which nothing says what matters."""
    metric, unit = metric_of(contrast.metric), metric_of(primary).unit
    if contrast.smallest_effect is None and metric.unit != unit and metric.smallest_effect is None:
        raise UsageError(
            f"lesson.contrasts.{contrast.name}.metric={contrast.metric}: nothing says which difference matters. "
            f"lesson.smallest_effect is in the unit of {primary} ({unit}), this metric is a {metric.unit} and has no "
            f"default. Give the contrast its own: contrasts: {{{contrast.name}: {{…, smallest_effect: 0.05}}}}"
        )


def check_metric(key: str, name: str, trials: dict[str, TrialConfig]) -> None:
    """Raise UsageError for a metric that these arms will not have."""
    for label, trial in trials.items():
        metrics = scored_names(trial)
        if name not in metrics:
            raise UsageError(f"{key}={name}: no such metric. {nearest(name, metrics)}")
        suites = trial.evaluation.suites
        if (suite := metrics[name]) not in suites:
            raise UsageError(
                f"{key}={name}: is scored by the suite {suite}; evaluation names only {', '.join(suites)}. "
                f"Type evaluation=[{','.join([*suites, suite])}]."
            )
        component, parameters = checked_suites(trial)[suite]
        if (remedy := component.missing(parameters).get(name)) is not None:
            raise UsageError(f"{key}={name}: the suite {suite} writes too few samples for it. Type {remedy}")
        if metric_of(name).needs_infill and Objective.of(trial).infilling_task is None:
            raise UsageError(
                f"{key}={name}: only arms that are trained to infill have it, and {label} is not. Choose other arms, "
                f"or {_left(suite)}, which every arm has."
            )


def _left(suite: str) -> str:
    return next(metric.name for metric in SUITES[suite].metrics if metric.name.endswith("bpb_left"))


def _check_budgets(declaration: Declaration, cells: Sequence[Cell]) -> None:
    """Reject arms, with a ladder those of one rung, that can't be matched."""
    rungs: dict[str, list[Cell]] = {}
    for cell in cells:
        rungs.setdefault(arm_and_rung(cell.arm.options, declaration.over)[1], []).append(cell)
    for of_rung in rungs.values():
        _check_rung(declaration, of_rung)


def _check_rung(declaration: Declaration, cells: Sequence[Cell]) -> None:
    tokens = {cell.arm.label: _budget_tokens(cell.trial) for cell in cells}
    shapes = {(cell.trial.scale, cell.trial.block, cell.trial.tokenizer.vocab_size) for cell in cells}
    if len(shapes) > 1 and declaration.matched_on == "flops":
        raise UsageError(
            "budget.matched_on=flops gives each arm the operations of its own model's causal training: models "
            "of different shape can't be matched on it. Match them on train_tokens or loss_tokens."
        )
    if max(tokens.values()) > 1.01 * min(tokens.values()):
        counts = ", ".join(f"{label} {count:,}" for label, count in tokens.items())
        raise UsageError(
            f"The arms' budgets differ by more than 1%, so no lesson could compare them: {counts} tokens. "
            "Give them the same budget.train_tokens, run them as separate grids, or compare the arms of each budget "
            "by itself: lesson.ladder (docs/ladders.md)."
        )


def _check_granularity(declaration: Declaration, cells: Sequence[Cell]) -> None:
    """Reject arms that end at whole steps of different sizes, which are too coarse for the budget."""
    trials = {cell.arm.label: cell.trial for cell in cells}
    if declaration.matched_on == "train_tokens" or not declaration.contrasts:
        return
    # What decides how many tokens of a step have loss.
    kinds = {
        str([form[part] for part in ("objective", "infill", "architecture")] + [trial.train_tokens_per_step])
        for trial in trials.values()
        if (form := semantic(trial))
    }
    label, coarsest = max(trials.items(), key=lambda item: item[1].train_tokens_per_step / item[1].budget.train_tokens)
    step, budget = coarsest.train_tokens_per_step, coarsest.budget.train_tokens
    if len(kinds) > 1 and step > 0.01 * budget:
        raise UsageError(
            f"budget.matched_on={declaration.matched_on}: arms end after whole steps, and a step of {label} is up to "
            f"{step:,} tokens, {step / budget:.1%} of budget.train_tokens={budget:,}. The arms would differ by more "
            f"than 1%, and no lesson could compare them. Type budget.train_tokens={100 * step}, or fewer "
            "budget.rows_per_step."
        )


def _budget_tokens(trial: TrialConfig) -> int:
    """Return the tokens of the budget; train tokens are rounded up to whole steps."""
    if trial.budget.matched_on != "train_tokens":
        return trial.budget.train_tokens
    per_step = trial.train_tokens_per_step
    return -(-trial.budget.train_tokens // per_step) * per_step
