"""The types of what a grid adds to its trials: how many seeds, and what it is to decide. Gone before a trial starts."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as typed

from ablate.config.fields import STRICT, Count, Name, Positive
from ablate.config.trial import TrialConfig


@typed(frozen=True, config=STRICT)
class ContrastConfig:
    """A weighted sum of arms that is compared with 0; the weights of the labels sum to 0.

    `metric` null is the lesson's primary metric.
    """

    weights: Annotated[dict[str, float], Field(min_length=2)]
    metric: Name | None = None


Comparison = Literal["baseline", "main_effects", "interactions"]


@typed(frozen=True, config=STRICT)
class LessonConfig:
    """What a grid is to decide; declared before it runs and kept with it.

    A `name` may be declared once: what is changed under it later is exploratory. `compare` says which comparisons are
    made of the arms (each with the baseline; the main effects and interactions of a full factorial), `contrasts` adds
    some by name; all of them share the error. `baseline` is the label of an arm (null: the first), `smallest_effect`
    the least difference in the primary metric's unit that would matter (null: the metric's own).
    """

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]+$")] | None
    question: str | None
    primary_metric: Name
    smallest_effect: Positive | None
    baseline: str | None
    confidence: Annotated[float, Field(ge=0.5, le=0.999)]
    compare: tuple[Comparison, ...]
    contrasts: dict[Name, ContrastConfig]


@typed(frozen=True, config=STRICT)
class GridConfig:
    """What a grid adds to its trials.

    Each arm has `replicates` seeds. Where `max_replicates` is more and words are not in by then, all arms get more
    seeds, half as many again at each look.
    """

    replicates: Count
    max_replicates: Count | None
    lesson: LessonConfig


@dataclass(frozen=True)
class Composed:
    """One composed configuration: the trial, and what the grid around it is told."""

    trial: TrialConfig
    grid: GridConfig
    runs_dir: str
