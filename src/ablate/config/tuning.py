"""The types of a sweep: which values are tried, who proposes them, and what is given up early."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass as typed

from ablate.config.fields import STRICT, Count, Name, Seed

Value = str | int | float | bool | None
SamplerName = Literal["tpe", "gp", "cmaes", "random", "grid", "nsgaii"]
PrunerName = Literal["none", "hyperband", "median", "wilcoxon"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
PRUNERS: tuple[PrunerName, ...] = get_args(PrunerName)


@typed(frozen=True, config=STRICT)
class DimensionConfig:
    """What a key of the configuration may be.

    An interval from `low` to `high` (whole numbers, where both are), drawn on a `log` scale or in `step`s; or one of
    `choices`; or, below a key that maps names to numbers, a `simplex`: numbers of these names that sum to 1, each at
    least `least`. It is asked for only `when` each of these keys has one of its values.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    choices: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None
    simplex: Annotated[tuple[Name, ...], Field(min_length=2)] | None = None
    least: Annotated[float, Field(ge=0)] = 0.0
    when: dict[Name, Value | tuple[Value, ...]] | None = None


@typed(frozen=True, config=STRICT)
class TuningConfig:
    """What a sweep adds to a grid: each arm is tuned before it is compared.

    `n_trials` candidates an arm come to an end, trained under `tune_seed` and judged by `metrics` (null: the lesson's)
    on the validation split; `sampler_seed` is of the draws. `samplers` and `pruners` hold the parameters of each by name, as
    Optuna calls them; `sampler` and `pruner` choose. `study` null names an arm's study after what it is; `storage` null
    is a journal in the ledger. `batch` candidates are launched together by launchers that take no more while they run;
    null: parallel_trials.
    """

    n_trials: Count
    space: dict[Name, DimensionConfig]
    metrics: Annotated[tuple[Name, ...], Field(min_length=1)] | None
    tune_seed: Seed
    sampler_seed: Seed
    sampler: SamplerName
    samplers: dict[SamplerName, dict[str, Any]]
    pruner: PrunerName
    pruners: dict[PrunerName, dict[str, Any]]
    study: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]+$")] | None
    storage: Name | None
    batch: Count | None
