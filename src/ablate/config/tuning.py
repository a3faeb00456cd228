"""The configuration types of a tuning: search space, sampler and pruner."""

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
    """The search space of one key of the configuration.

    It is an interval from `low` to `high` (integers if both are), optionally on a `log` scale or in `step`s; or one of
    `choices`; or, for a key that maps names to numbers, a `simplex`: numbers of these names that sum to 1, each at
    least `least`. With `when`, the key is tuned only if each listed key has one of its listed values.
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
    """How each arm of a grid is tuned before the arms are compared.

    `n_trials` candidates per arm are trained to the end or pruned, with the seed `tune_seed`. They are scored on the
    validation split by `metrics` (null: the lesson's primary metric). With `tune_replicates` above 1 each arm is tuned
    that often, under the seeds `tune_seed`, `tune_seed` + 1, …, and each of the lesson's seeds has the values that one
    of these tunings chose. `sampler_seed` seeds the sampler. `samplers` and `pruners` hold the parameters of each,
    named as in Optuna; `sampler` and `pruner` select one. If `study` is null, an arm's study is named after the space
    and the arm. If `storage` is null, it is a journal in the ledger. `batch` is the number of candidates that are
    submitted together to a launcher that accepts no more while they run (null: `hardware.parallel_trials`).
    """

    n_trials: Count
    space: dict[Name, DimensionConfig]
    metrics: Annotated[tuple[Name, ...], Field(min_length=1)] | None
    tune_seed: Seed
    tune_replicates: Count
    sampler_seed: Seed
    sampler: SamplerName
    samplers: dict[SamplerName, dict[str, Any]]
    pruner: PrunerName
    pruners: dict[PrunerName, dict[str, Any]]
    study: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]+$")] | None
    storage: Name | None
    batch: Count | None

    @property
    def tune_seeds(self) -> range:
        """The seed of each tuning's candidates."""
        return range(self.tune_seed, self.tune_seed + self.tune_replicates)
