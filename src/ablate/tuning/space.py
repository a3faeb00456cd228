"""Search spaces: keys of the configuration, and the values that a study may suggest for each."""

import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from hydra.core.override_parser.types import IntervalSweep, Override

from ablate.config.tuning import DimensionConfig, Value
from ablate.errors import UsageError, nearest

# Significant digits of a suggested number: labels stay readable, and no loss depends on more.
DIGITS = 5
FORMS = "{low: 1e-4, high: 1e-2, log: true}, {choices: [a, b]} or {simplex: [code, english]}"
# Returns the current value of a key, suggested or the arm's own; MISSING where there is no such key.
Lookup = Callable[[str], Any]
MISSING = object()


@dataclass(frozen=True)
class Dimension:
    """One dimension of the space; `key` is a dotted key of the configuration or a config group."""

    key: str
    config: DimensionConfig

    @property
    def keys(self) -> list[str]:
        """The keys that it sets."""
        return [f"{self.key}.{name}" for name in self.config.simplex or ()] or [self.key]

    def required(self, key: str) -> tuple[Value, ...]:
        """The values of a key in `when` under which this dimension is active."""
        values = (self.config.when or {})[key]
        return values if isinstance(values, tuple) else (values,)

    def is_active(self, lookup: Lookup) -> bool:
        """Whether all keys in `when` have one of their values."""
        return all(lookup(key) in self.required(key) for key in self.config.when or {})

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Key → value of this dimension, suggested by a study."""
        if self.config.simplex:
            return self._on_simplex([self._suggest(trial, name) for name in self._names])
        return {self.key: self._suggest(trial, self.key)}

    def _suggest(self, trial: optuna.Trial, name: str) -> Value:
        match self.distributions[name]:
            case optuna.distributions.CategoricalDistribution() as values:
                choice: Value = trial.suggest_categorical(name, values.choices)
                return choice
            case optuna.distributions.IntDistribution() as values:
                return trial.suggest_int(name, values.low, values.high, step=values.step, log=values.log)
            case optuna.distributions.FloatDistribution() as values:
                return _rounded(trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log))
            case _:
                raise AssertionError(name)

    @property
    def _names(self) -> list[str]:
        """The names of a simplex's Optuna parameters: one less than it has parts."""
        assert self.config.simplex
        first = self.keys[:-1]
        # With two parts the parameter is the first part; with more, each is a quantile of what the earlier ones left.
        return first if len(first) == 1 else [f"{key} (quantile)" for key in first]

    @cached_property
    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Optuna's parameter names → distributions."""
        config = self.config
        if config.choices is not None:
            return {self.key: optuna.distributions.CategoricalDistribution(config.choices)}
        if config.simplex is not None:
            return {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in self._names}
        low, high, step = config.low, config.high, config.step
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return {self.key: optuna.distributions.IntDistribution(low, high, log=config.log, step=int(step or 1))}
        step = None if step is None else float(step)
        return {self.key: optuna.distributions.FloatDistribution(float(low), float(high), log=config.log, step=step)}

    def _on_simplex(self, quantiles: list[Any]) -> dict[str, Value]:
        """Map uniform quantiles to a uniform point on the simplex: part k of K takes Beta(1, K-k) of what is left."""
        config, parts, left = self.config, [], 1.0
        assert config.simplex
        for place, quantile in enumerate(quantiles, start=1):
            part = left * (1 - (1 - quantile) ** (1 / (len(config.simplex) - place)))
            parts.append(part)
            left -= part
        room = 1 - config.least * len(config.simplex)
        weights = [config.least + room * part for part in [*parts, left]]
        return {key: _rounded(weight) for key, weight in zip(self.keys, weights, strict=True)}

    def grid(self, points: int) -> dict[str, list[Any]]:
        """Optuna's parameter names → values for a grid search.

        Args:
            points: the number of values of an interval without steps, including its ends.
        """
        return {name: self._points(distribution, points) for name, distribution in self.distributions.items()}

    def _points(self, distribution: optuna.distributions.BaseDistribution, points: int) -> list[Any]:
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            return list(distribution.choices)
        assert isinstance(distribution, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution)
        low, high, step = distribution.low, distribution.high, self.config.step
        if step is not None:
            return [low + place * step for place in range(math.floor((high - low) / step + 1e-9) + 1)]
        spaced = (np.geomspace if distribution.log else np.linspace)(low, high, points)
        # Rounding must not leave the interval.
        inside = [min(max(float(value), low), high) for value in spaced]
        is_whole = isinstance(distribution, optuna.distributions.IntDistribution)
        return sorted({round(value) for value in inside}) if is_whole else inside

    def extremes(self) -> list[dict[str, Value]]:
        """The ends of the interval, each choice, or the corners of the simplex."""
        config = self.config
        if config.choices is not None:
            return [{self.key: choice} for choice in config.choices]
        if config.simplex is not None:
            corners = np.eye(len(config.simplex)) * (1 - config.least * len(config.simplex)) + config.least
            return [dict(zip(self.keys, map(float, corner), strict=True)) for corner in corners]
        return [{self.key: config.low}, {self.key: config.high}]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class Space:
    """Dimensions in the order in which they are suggested: after the dimensions in their `when`."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def of(cls, configs: Mapping[str, DimensionConfig]) -> "Space":
        """Build the space of a tuning's configuration. Raises UsageError with all of its problems."""
        problems = [problem for key, config in configs.items() for problem in _problems(key, config)]
        if problems:
            raise UsageError("\n".join(problems))
        ordered: list[Dimension] = []
        left = [Dimension(key, config) for key, config in configs.items()]
        while left:
            waiting = {key for dimension in left for key in dimension.keys}
            free = [dimension for dimension in left if not waiting & {*(dimension.config.when or {})}]
            if not free:
                raise UsageError(f"hydra.sweeper.space: {' and '.join(sorted(waiting))} depend on each other (when).")
            ordered += free
            left = [dimension for dimension in left if dimension not in free]
        for dimension in ordered:
            for key in dimension.config.when or {}:
                choices = configs[key].choices if key in configs else None
                for value in dimension.required(key):
                    if choices is not None and value not in choices:
                        raise UsageError(
                            f"hydra.sweeper.space.{dimension.key}.when.{key}: {value} is none of its choices. "
                            f"{nearest(str(value), map(str, choices))}"
                        )
        return cls(tuple(ordered))

    def without(self, keys: set[str]) -> "Space":
        """Leave out the dimensions that set one of these keys."""
        kept = (dimension for dimension in self.dimensions if not keys & {dimension.key, *dimension.keys})
        return replace(self, dimensions=tuple(kept))

    def suggest(self, trial: optuna.Trial, lookup: Lookup) -> dict[str, Value]:
        """Suggest a value for each key of the active dimensions.

        Args:
            trial: a trial of a study; parameters that it already has keep their values.
            lookup: returns the values of all other keys.
        """
        return self._assigned(lambda dimension: dimension.suggest(trial), lookup)

    def corners(self, lookup: Lookup) -> Iterator[tuple[str, dict[str, Value]]]:
        """Vary one dimension over its extremes, with its `when` fulfilled and the others at their first extreme.

        Yields:
            The dimension's key and all values; nothing for a dimension that can't be active with this `lookup`.
        """
        for varied in self.dimensions:
            required = self._required(varied)
            for values in varied.extremes():

                def value_of(
                    dimension: Dimension,
                    varied: Dimension = varied,
                    values: Mapping[str, Value] = values,
                    required: Mapping[str, Value] = required,
                ) -> Mapping[str, Value]:
                    if dimension is varied:
                        return values
                    if dimension.key in required:
                        return {dimension.key: required[dimension.key]}
                    return dimension.extremes()[0]

                corner = self._assigned(value_of, lookup)
                if values.keys() <= corner.keys():
                    yield varied.key, corner

    def _required(self, dimension: Dimension) -> dict[str, Value]:
        """Return key → value of the other dimensions under which this one is active."""
        required: dict[str, Value] = {}
        for parent in self.dimensions:
            if parent.key in (dimension.config.when or {}):
                required |= {**self._required(parent), parent.key: dimension.required(parent.key)[0]}
        return required

    def _assigned(self, value_of: Callable[[Dimension], Mapping[str, Value]], lookup: Lookup) -> dict[str, Value]:
        values: dict[str, Value] = {}

        def current(key: str) -> Any:
            return values[key] if key in values else lookup(key)

        for dimension in self.dimensions:
            if dimension.is_active(current):
                values |= value_of(dimension)
        return values


def _problems(key: str, config: DimensionConfig) -> Iterator[str]:
    place = f"hydra.sweeper.space.{key}"
    kinds = [config.low is not None or config.high is not None, config.choices is not None, config.simplex is not None]
    if sum(kinds) != 1 or (kinds[0] and None in (config.low, config.high)):
        yield f"{place}: takes one of {FORMS}."
        return
    if config.choices is not None and (config.log or config.step is not None):
        yield f"{place}: choices have no scale; log and step belong to low and high."
    if config.simplex is not None and config.least * len(config.simplex) >= 1:
        yield f"{place}: least={config.least:g} for {len(config.simplex)} parts leaves nothing to distribute."
    low, high = config.low, config.high
    if low is None or high is None:
        return
    if low >= high:
        yield f"{place}: low={low:g} must be below high={high:g}."
    if config.log and low <= 0:
        yield f"{place}: log: true needs low above 0, and it is {low:g}."
    if config.step is not None and (config.log or config.step <= 0):
        yield f"{place}: step={config.step:g} " + ("goes with log: false." if config.log else "must be above 0.")
    if isinstance(low, int) and isinstance(high, int) and isinstance(config.step, float):
        yield f"{place}: low and high are whole numbers and step={config.step:g} is not; write {low}.0 and {high}.0."


def dimension_of(override: Override) -> DimensionConfig:
    """Parse an interval of the command line, e.g. `tag(log, interval(1e-4, 1e-2))`."""
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    known = {"log"}
    if unknown := {str(tag) for tag in interval.tags} - known:
        raise UsageError(f"{override.input_line}: the tag {', '.join(sorted(unknown))} is unknown. Allowed: log.")
    return DimensionConfig(low=interval.start, high=interval.end, log="log" in interval.tags)


def check_key(key: str, known: Collection[str], arm: str) -> None:
    """Raise UsageError for a key that the configuration of an arm does not have."""
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else "--cfg job prints all keys."
        raise UsageError(
            f"hydra.sweeper.space.{key}: the arm {arm} has no such key. {hint} For a key that only some arms "
            "have, write when: {objective: mixed}."
        )
