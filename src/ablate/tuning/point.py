"""Points of an arm's search space, each of which is a trial, and the checks of its corners."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.config.tuning import Value
from ablate.errors import UsageError, nearest
from ablate.evaluation.suite import validation_id
from ablate.grid.check import check
from ablate.grid.compose import Composer, container_of
from ablate.grid.declaration import check_metric
from ablate.grid.expand import Arm, Seeds
from ablate.grid.resolve import Resolver
from ablate.identity import trial_id
from ablate.records.tuning import texts
from ablate.tuning.space import MISSING, Dimension, Lookup, Space, check_key
from ablate.tuning.study import COUNTED


@dataclass(frozen=True)
class Point:
    """An arm with values of the search space: one trial.

    Attributes:
        values: key of the configuration → value.
        choices: config group → choice.
    """

    arm: Arm
    values: dict[str, Value]
    choices: dict[str, str]
    trial: TrialConfig

    @cached_property
    def trial_id(self) -> str:
        """The id of the trial."""
        return trial_id(self.trial)

    def under(self, seeds: Seeds) -> "Point":
        """Return the point under other seeds."""
        return replace(self, trial=seeds.on(self.trial))

    @property
    def options(self) -> dict[str, str]:
        """The arm's options, the values and the seed, as text."""
        return {**self.arm.options, **texts(self.values), "seed": str(self.trial.init_seed)}


def shown(values: Mapping[str, Value]) -> str:
    """Return the values for a sentence."""
    return " ".join(f"{key}={text}" for key, text in texts(values).items())


class PointFactory:
    """Composes the trials of points.

    Args:
        loader: Hydra's config loader.
        master: the configuration that the sweeper was created with.
        resolver: adds the hashes that a trial's id needs.
        seeds: the seeds of all trials.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, resolver: Resolver, seeds: Seeds) -> None:
        self._composer = Composer(loader, master, [])
        self._resolver = resolver
        self._seeds = seeds
        self._lookups: dict[str, Lookup] = {}

    def lookup(self, arm: Arm) -> Lookup:
        """Return the lookup of an untuned arm: the choice of a config group, or a value."""
        if arm.label not in self._lookups:
            self._lookups[arm.label] = self._lookup(arm)
        return self._lookups[arm.label]

    def _lookup(self, arm: Arm) -> Lookup:
        def of_arm(key: str) -> Any:
            if key in choices or self._composer.options_of(key):
                return choices.get(key)
            config, _ = self._composer.variant(arm.overrides, {})
            return OmegaConf.select(config, key, default=MISSING)

        _, choices = self._composer.variant(arm.overrides, {})
        return of_arm

    def check_choices(self, key: str, values: Iterable[Value], place: str) -> None:
        """Raise UsageError for a value that is no choice of a config group."""
        choices = self._composer.options_of(key)
        for value in values if choices else ():
            if value not in choices:
                raise UsageError(f"{place}: {value}: no such choice. {nearest(str(value), choices)}")

    def keys(self, arm: Arm, dimension: Dimension) -> list[str]:
        """Return the keys of an arm's configuration, those of the dimension that are config groups first."""
        config, choices = self._composer.variant(arm.overrides, {})
        groups = [key for key in dimension.keys if self._composer.options_of(key)]
        return [*groups, *choices, *_dotted(container_of(config))]

    def make(self, arm: Arm, values: Mapping[str, Value]) -> Point:
        """Return the arm with these values. Raises UsageError where they are invalid."""
        config, choices = self._composer.variant(arm.overrides, values)
        trial = composed_from_container(container_of(config)).trial
        check(trial)
        return Point(arm, dict(values), choices, self._seeds.on(self._resolver(trial)))

    def tuned(self, arm: Arm, values: Mapping[str, Value]) -> Arm:
        """Return the arm with these values, for the grid of tuned arms."""
        config, choices = self._composer.variant(arm.overrides, values)
        composed = composed_from_container(container_of(config))
        return replace(arm, choices=choices, composed=composed, tuned=texts(values))


def _dotted(container: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in container.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{key}.")


def checked_corners(arm: Arm, space: Space, points: PointFactory) -> list[tuple[str, Point]]:
    """Return (varied key, point) of an arm at each corner of its space. Raises UsageError for an invalid one."""
    lookup = points.lookup(arm)
    tuned = {key for dimension in space.dimensions for key in dimension.keys}
    for dimension in space.dimensions:
        for key in (dimension.config.when or {}).keys() - tuned:
            place = f"hydra.sweeper.space.{dimension.key}.when.{key}"
            if lookup(key) is MISSING:
                raise UsageError(f"{place}: no such key.")
            points.check_choices(key, dimension.required(key), place)
    corners: list[tuple[str, Point]] = []
    checked: set[str] = set()
    for varied, values in space.corners(lookup):
        for dimension in space.dimensions:
            for key in {*dimension.keys} & values.keys() - checked:
                check_key(key, points.keys(arm, dimension), arm.label)
                checked.add(key)
        try:
            corners.append((varied, points.make(arm, values)))
        except UsageError as error:
            raise UsageError(f"{arm.label} with {shown(values)}, which hydra.sweeper.space allows:\n{error}") from None
    return corners


def check_tunable(corners: Mapping[str, Sequence[tuple[str, Point]]], space: Space, metrics: Sequence[str]) -> None:
    """Raise UsageError for a space whose points are valid but can't be compared."""
    points = [point for of_arm in corners.values() for _, point in of_arm]
    if len({validation_id(point.trial) for point in points}) > 1:
        raise UsageError("hydra.sweeper.space: changes what is scored, so its points can't be compared.")
    for dimension in space.dimensions:
        place = f"hydra.sweeper.space.{dimension.key}"
        of_key = {
            label: [point.trial_id for key, point in of_arm if key == dimension.key]
            for label, of_arm in corners.items()
        }
        if not any(of_key.values()):
            # It may be active in other arms than these.
            continue
        if len(dimension.extremes()) > 1 and all(len(set(trials)) < 2 for trials in of_key.values()):
            raise UsageError(f"{place}: changes no trial: it sets where or how trials run, not what they compute.")
    budgets = {point.trial.budget.train_tokens for point in points}
    if len(metrics) == 1 and len(budgets) > 1:
        raise UsageError(
            f"hydra.sweeper.space: changes budget.train_tokens (from {min(budgets):,} to {max(budgets):,}), so the "
            "tuned arms could not be compared. Tune two metrics, e.g. hydra.sweeper.metrics=[bpb_full,flops]."
        )
    for name in metrics:
        if name not in COUNTED:
            for point in points:
                check_metric("hydra.sweeper.metrics", name, {point.arm.label: point.trial})
