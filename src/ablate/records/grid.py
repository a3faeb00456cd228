"""The record of a grid: its arms, what it was declared to decide, and what was seen of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ablate.records.metric import Metric
from ablate.records.provenance import Provenance
from ablate.records.schema import Extensible
from ablate.records.seen import Seen
from ablate.records.tuning import TuningSummary


def values_of(options: Mapping[str, str]) -> str:
    """Return the swept values of an arm, without their keys."""
    return " / ".join(options.values()) or "trial"


# What makes a rung of a ladder, unless the ladder says so: the groups of swept keys.
RUNG_KEYS = ("scale", "budget")


@dataclass(frozen=True)
class ArmRecord:
    """An arm of a grid.

    Attributes:
        options: what was swept.
        tasks: by name, each task's probability.
        trials: by seed, the trial's id.
        same_as: the label of an earlier arm with the same trials.
    """

    label: str
    options: Mapping[str, str]
    tasks: Mapping[str, float]
    trials: Mapping[str, str]
    same_as: str | None = None


@dataclass(frozen=True)
class ContrastRecord:
    """A weighted sum of arms, by label.

    Attributes:
        smallest_effect: of its own; None: the declaration's where the unit is that of the primary metric, else the
            metric's.
    """

    name: str
    metric: str
    weights: Mapping[str, float]
    smallest_effect: float | None = None


@dataclass(frozen=True)
class LadderRecord:
    """How arms are compared over several sizes and budgets.

    Attributes:
        over: the swept keys, or groups of them, whose values make a rung.
        fits: what is fitted through the rungs: `slope`, `compute`, `epochs`.
        targets: name of a size → training FLOPs, at which `compute` predicts.
        contrasts: named comparisons on the primary metric that are made at each rung: name → weight of each arm, whose
            name is without its rung. Empty where each arm is compared with the baseline.
    """

    over: tuple[str, ...]
    fits: tuple[str, ...]
    targets: Mapping[str, float] = field(default_factory=dict)
    contrasts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a grid is to decide, fixed before it runs.

    Attributes:
        name: of the lesson; None for a grid without a name.
        baseline: label of an arm; None for the first arm.
        matched_on: the counter that is the same for all arms.
        pairing: `windows` where arms read the same windows under a seed, else `seed_only`.
        looks: the numbers of seeds at which verdicts may be given.
        planned_comparisons: the number of comparisons, over all grids with this baseline, that share the error.
        ladder: None for a grid whose arms are all compared at one size.
    """

    primary_metric: str
    smallest_effect: float
    confidence: float
    contrasts: tuple[ContrastRecord, ...]
    factors: tuple[str, ...]
    matched_on: str
    pairing: str
    looks: tuple[int, ...]
    name: str | None = None
    question: str | None = None
    baseline: str | None = None
    planned_comparisons: int | None = None
    ladder: LadderRecord | None = None

    @property
    def over(self) -> tuple[str, ...]:
        """The swept keys, or groups, that make rungs; none without a ladder."""
        return self.ladder.over if self.ladder else ()


def is_of_rung(key: str, over: Sequence[str]) -> bool:
    """Whether a swept key, or its group, is among those whose values make a rung."""
    return key in over or key.split(".")[0] in over


def arm_and_rung(options: Mapping[str, str], over: Sequence[str]) -> tuple[str, str]:
    """Return the values of an arm without those of its rung, and those of its rung."""
    of_rung = {key: value for key, value in options.items() if is_of_rung(key, over)}
    others = {key: value for key, value in options.items() if key not in of_rung}
    return values_of(others), " / ".join(of_rung.values())


def by_rung(arms: Iterable[ArmRecord], over: Sequence[str]) -> dict[str, list[ArmRecord]]:
    """Return rung → its arms; with nothing in `over` all arms are on one."""
    rungs: dict[str, list[ArmRecord]] = {}
    for arm in arms:
        rungs.setdefault(arm_and_rung(arm.options, over)[1], []).append(arm)
    return rungs


def by_values(declaration: Declaration, arms: Iterable[ArmRecord]) -> Declaration:
    """Return a declaration with each arm named by its values alone, as ids have it; labels are for people."""
    names = {arm.label: values_of(arm.options) for arm in arms}
    return replace(
        declaration,
        baseline=names.get(declaration.baseline or "", declaration.baseline),
        contrasts=tuple(
            ContrastRecord(
                names.get(contrast.name, contrast.name),
                contrast.metric,
                {names.get(label, label): weight for label, weight in contrast.weights.items()},
                contrast.smallest_effect,
            )
            for contrast in declaration.contrasts
        ),
    )


@dataclass(frozen=True)
class ComparisonRecord:
    """What a look saw of one contrast; without an interval and a margin where the noise was unknown.

    Attributes:
        margin: the contrast is equivalent within every smallest effect larger than this.
        seeds: those that all arms of the contrast had; fewer than the look's where it was decided before.
    """

    name: str
    metric: str
    difference: float
    verdict: str
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    seeds: int | None = None


@dataclass(frozen=True)
class LookRecord:
    """What was seen at an interim or final look."""

    seeds: int
    is_decided: bool
    comparisons: tuple[ComparisonRecord, ...]


@dataclass(frozen=True, kw_only=True)
class GridRecord(Extensible):
    """What the ledger knows of a grid.

    Attributes:
        command: what the user typed.
        suites: by name, the id of each suite that its trials are scored by.
        metrics: what these suites measure; lessons read them here.
        other_declarations: grids of the same lesson name with another declaration; this grid is exploratory then.
        known_before: trials, of all looks, that any suite had scored before the grid was declared.
        questions: per declared contrast a digest of the arms that it compares; see `grid/question.py`.
        seen: what the ledger held when the grid was declared.
    """

    grid_id: str
    command: str
    title: str
    arms: tuple[ArmRecord, ...]
    declaration: Declaration
    suites: Mapping[str, str]
    metrics: tuple[Metric, ...]
    created_at: float
    provenance: Provenance | None = None
    other_declarations: tuple[str, ...] = ()
    looks: tuple[LookRecord, ...] = ()
    known_before: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    seen: Seen | None = None
    tuning: TuningSummary | None = None

    @property
    def baseline(self) -> ArmRecord:
        """The arm that others are compared with."""
        label = self.declaration.baseline or self.arms[0].label
        [arm] = [arm for arm in self.arms if arm.label == label]
        return arm

    @property
    def seeds(self) -> int:
        """The largest number of seeds of an arm."""
        return max(len(arm.trials) for arm in self.arms)

    @property
    def suite_ids(self) -> list[str]:
        """The ids of its suites."""
        return list(self.suites.values())

    def metric(self, name: str) -> Metric:
        """The metric of a name, with or without a source after a slash."""
        [metric] = [metric for metric in self.metrics if metric.name == name.split("/")[0]]
        return metric

    @property
    def trial_ids(self) -> list[str]:
        """The trials arm by arm; a trial that two arms name is there twice."""
        return [trial for arm in self.arms for trial in arm.trials.values()]
