"""The configuration types of a grid: seeds and lesson. Trials do not see them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as typed

from ablate.config.fields import STRICT, Count, Label, Name, Positive
from ablate.config.trial import TrialConfig


@typed(frozen=True, config=STRICT)
class ContrastConfig:
    """A weighted sum of arms that is compared with 0; the weights of the labels sum to 0.

    `metric` null is the lesson's primary metric. `smallest_effect` null is the lesson's where the units are the same,
    else the metric's default.
    """

    weights: Annotated[dict[str, float], Field(min_length=2)]
    metric: Name | None = None
    smallest_effect: Positive | None = None


Fit = Literal["slope", "compute", "epochs"]


@typed(frozen=True, config=STRICT)
class LadderConfig:
    """Compares arms at each of several sizes and budgets, the rungs, and fits what moves with compute.

    `over` lists the swept keys, or groups, whose values make a rung. `slope` fits a line through each effect over log10
    of the compute, `compute` a power law through each arm's loss, and predicts the effects at `targets` (name: training
    FLOPs); `epochs` fits how much repeated text is worth.
    """

    over: Annotated[tuple[Name, ...], Field(min_length=1)]
    fits: Annotated[tuple[Fit, ...], Field(min_length=1)]
    targets: Annotated[dict[Label, Positive], Field(default_factory=dict)]


Comparison = Literal["baseline", "main_effects", "interactions"]


@typed(frozen=True, config=STRICT)
class LessonConfig:
    """The comparisons of a grid, declared before it runs and stored with it.

    A `name` is declared once; a later change under it makes the lesson exploratory. `compare` selects the comparisons
    (each arm with the baseline, the main effects or the interactions of a full factorial), and `contrasts` adds named
    ones. All of them share the error rate. `baseline` is the label of an arm (null: the first). `smallest_effect` is
    the smallest difference that matters, in the primary metric's unit (null: the metric's default).
    `planned_comparisons` is how many comparisons the baseline's trials are to serve over all grids, later ones too: the
    error is divided by it (null: each grid has the whole error). With a `ladder`, each arm is compared with the
    baseline of its own rung.
    """

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]+$")] | None
    question: str | None
    primary_metric: Name
    smallest_effect: Positive | None
    baseline: Label | None
    confidence: Annotated[float, Field(ge=0.5, le=0.999)]
    compare: tuple[Comparison, ...]
    contrasts: dict[Name, ContrastConfig]
    planned_comparisons: Count | None
    ladder: LadderConfig | None


@typed(frozen=True, config=STRICT)
class GridConfig:
    """The number of seeds of each arm, and the lesson.

    Each arm has `replicates` seeds. If `max_replicates` is higher, the arms of undecided comparisons get more seeds: a
    fifth more at each look. Without `replicates` each arm has 4 seeds and, without `max_replicates` too, looks at up to
    12: three seeds seldom decide anything, and hardly show which arms are noisier.
    """

    replicates: Count | None
    max_replicates: Count | None
    lesson: LessonConfig


# The first look and the last one of a grid that says neither.
FIRST_LOOK, LAST_LOOK = 4, 12


@dataclass(frozen=True)
class Composed:
    """One composed configuration: the trial, its grid and the ledger's folder."""

    trial: TrialConfig
    grid: GridConfig
    runs_dir: str
