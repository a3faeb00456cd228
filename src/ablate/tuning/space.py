"""A search space: keys of the configuration and what each may be, asked of a study one after the other."""

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

# Digits that are kept of a number that was drawn: a label that can be read, and far finer than any loss can tell.
DIGITS = 5
FORMS = "{low: 1e-4, high: 1e-2, log: true}, {choices: [a, b]} or {simplex: [code, english]}"
# What a key is now, by what was drawn so far or by the arm; MISSING where there is no such key.
Found = Callable[[str], Any]
MISSING = object()


@dataclass(frozen=True)
class Dimension:
    """One key and what it may be.

    Attributes:
        key: a dotted key of the configuration, or a config group.
        config: as the sweep gives it.
    """

    key: str
    config: DimensionConfig

    @property
    def keys(self) -> list[str]:
        """The keys that it sets."""
        return [f"{self.key}.{name}" for name in self.config.simplex or ()] or [self.key]

    def wanted(self, key: str) -> tuple[Value, ...]:
        """What a key that it hangs on may be for it to be asked for."""
        given = (self.config.when or {})[key]
        return given if isinstance(given, tuple) else (given,)

    def is_asked(self, found: Found) -> bool:
        """Whether what it hangs on is as it must be."""
        return all(found(key) in self.wanted(key) for key in self.config.when or {})

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Its values in a trial of a study, by the keys that they are for."""
        if self.config.simplex:
            return self._on_simplex([self._drawn(trial, name) for name in self._names])
        return {self.key: self._drawn(trial, self.key)}

    def _drawn(self, trial: optuna.Trial, name: str) -> Value:
        found = self.distributions[name]
        if isinstance(found, optuna.distributions.CategoricalDistribution):
            chosen: Value = trial.suggest_categorical(name, found.choices)
            return chosen
        if isinstance(found, optuna.distributions.IntDistribution):
            return trial.suggest_int(name, found.low, found.high, step=found.step, log=found.log)
        assert isinstance(found, optuna.distributions.FloatDistribution)
        return _rounded(trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log))

    @property
    def _names(self) -> list[str]:
        """What Optuna calls what is drawn for a simplex: one less than it has parts."""
        assert self.config.simplex
        first = self.keys[:-1]
        # Of two parts the first is drawn itself, of more the quantile of each among what the ones before it left.
        return first if len(first) == 1 else [f"{key} (quantile)" for key in first]

    @cached_property
    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """What is drawn, by the names that Optuna knows it under."""
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
        """Uniform on the simplex for uniform quantiles: the k-th of K parts takes Beta(1, K-k) of what is left."""
        config, parts, left = self.config, [], 1.0
        assert config.simplex
        for place, quantile in enumerate(quantiles, start=1):
            taken = left * (1 - (1 - quantile) ** (1 / (len(config.simplex) - place)))
            parts.append(taken)
            left -= taken
        room = 1 - config.least * len(config.simplex)
        shares = [config.least + room * part for part in [*parts, left]]
        return {key: _rounded(share) for key, share in zip(self.keys, shares, strict=True)}

    def grid(self, points: int) -> dict[str, list[Any]]:
        """Values to try one after the other, by the names that Optuna knows them under.

        Args:
            points: so many of an interval that has no steps, its ends among them.
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
        # Rounding must not lead out of the interval.
        inside = [min(max(float(value), low), high) for value in spaced]
        is_whole = isinstance(distribution, optuna.distributions.IntDistribution)
        return sorted({round(value) for value in inside}) if is_whole else inside

    def extremes(self) -> list[dict[str, Value]]:
        """Its ends, or each of its choices: what must be possible before the first trial starts."""
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
    """Dimensions in the order in which they are asked for: what hangs on another comes after it."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def of(cls, given: Mapping[str, DimensionConfig]) -> "Space":
        """The space of a sweep's configuration. Raises UsageError with everything that is wrong with it."""
        problems = [problem for key, config in given.items() for problem in _problems(key, config)]
        if problems:
            raise UsageError("\n".join(problems))
        ordered: list[Dimension] = []
        left = [Dimension(key, config) for key, config in given.items()]
        while left:
            waiting = {key for dimension in left for key in dimension.keys}
            free = [dimension for dimension in left if not waiting & {*(dimension.config.when or {})}]
            if not free:
                raise UsageError(f"hydra.sweeper.space: {' and '.join(sorted(waiting))} hang on one another (when).")
            ordered += free
            left = [dimension for dimension in left if dimension not in free]
        for dimension in ordered:
            for key in dimension.config.when or {}:
                choices = given[key].choices if key in given else None
                for value in dimension.wanted(key):
                    if choices is not None and value not in choices:
                        raise UsageError(
                            f"hydra.sweeper.space.{dimension.key}.when.{key}: {value} is none of its choices. "
                            f"{nearest(str(value), map(str, choices))}"
                        )
        return cls(tuple(ordered))

    def without(self, keys: set[str]) -> "Space":
        """Without dimensions that set one of these keys."""
        return replace(self, dimensions=tuple(one for one in self.dimensions if not keys & {one.key, *one.keys}))

    def suggest(self, trial: optuna.Trial, found: Found) -> dict[str, Value]:
        """Draws a value for each key that is asked for.

        Args:
            trial: of a study; what it has already is taken as it is.
            found: what any other key is.
        """
        return self._assigned(lambda dimension: dimension.suggest(trial), found)

    def corners(self, found: Found) -> Iterator[tuple[str, dict[str, Value]]]:
        """Each dimension at its ends or at each of its choices, with what it hangs on as it must be, the rest at first.

        Yields:
            The dimension's key, and all values. Of one that is not asked for with this `found`, nothing.
        """
        for varied in self.dimensions:
            wished = self._wished(varied)
            for values in varied.extremes():

                def drawn(
                    dimension: Dimension,
                    varied: Dimension = varied,
                    values: Mapping[str, Value] = values,
                    wished: Mapping[str, Value] = wished,
                ) -> Mapping[str, Value]:
                    if dimension is varied:
                        return values
                    if dimension.key in wished:
                        return {dimension.key: wished[dimension.key]}
                    return dimension.extremes()[0]

                corner = self._assigned(drawn, found)
                if values.keys() <= corner.keys():
                    yield varied.key, corner

    def _wished(self, dimension: Dimension) -> dict[str, Value]:
        """What other dimensions must be for this one to be asked for."""
        wished: dict[str, Value] = {}
        for other in self.dimensions:
            if other.key in (dimension.config.when or {}):
                wished |= {**self._wished(other), other.key: dimension.wanted(other.key)[0]}
        return wished

    def _assigned(self, draw: Callable[[Dimension], Mapping[str, Value]], found: Found) -> dict[str, Value]:
        values: dict[str, Value] = {}

        def known(key: str) -> Any:
            return values[key] if key in values else found(key)

        for dimension in self.dimensions:
            if dimension.is_asked(known):
                values |= draw(dimension)
        return values


def _problems(key: str, config: DimensionConfig) -> Iterator[str]:
    """What is wrong with one dimension."""
    place = f"hydra.sweeper.space.{key}"
    kinds = [config.low is not None or config.high is not None, config.choices is not None, config.simplex is not None]
    if sum(kinds) != 1 or (kinds[0] and None in (config.low, config.high)):
        yield f"{place}: takes one of {FORMS}."
        return
    if config.choices is not None and (config.log or config.step is not None):
        yield f"{place}: choices are on no scale; log and step belong to low and high."
    if config.simplex is not None and config.least * len(config.simplex) >= 1:
        yield f"{place}: least={config.least:g} for {len(config.simplex)} parts leaves nothing to share out."
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
    """What the command line says of a key by an interval, as `tag(log, interval(1e-4, 1e-2))`."""
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    known = {"log"}
    if unknown := {str(tag) for tag in interval.tags} - known:
        raise UsageError(
            f"{override.input_line}: the tag {', '.join(sorted(unknown))} means nothing here. Allowed: log."
        )
    return DimensionConfig(low=interval.start, high=interval.end, log="log" in interval.tags)


def check_key(key: str, known: Collection[str], arm: str) -> None:
    """Refuses a key that the configuration of an arm does not have. Raises UsageError."""
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else "--cfg job prints all keys."
        raise UsageError(
            f"hydra.sweeper.space.{key}: the arm {arm} has no such key. {hint} A key that only some arms have is asked "
            "for there alone with when: {objective: mixed}."
        )
