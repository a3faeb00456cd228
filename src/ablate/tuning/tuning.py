"""A checked sweep: its arms, the space, the studies' names, and the configurations that it may propose."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ablate.config.parse import composed_from_container, plain, tuning_from_container
from ablate.config.trial import TrialConfig
from ablate.config.tuning import DimensionConfig, TuningConfig, Value
from ablate.errors import UsageError, nearest
from ablate.evaluation.suite import validation_id
from ablate.grid.check import check
from ablate.grid.compose import Composer, container_of
from ablate.grid.declaration import check_metric
from ablate.grid.expand import Arm, Expanded, Seeds, expand
from ablate.grid.plan import Plan
from ablate.grid.resolve import Resolver
from ablate.identity import digest12, semantic, trial_id
from ablate.objectives.registry import plugin_packages
from ablate.records.ledger import Ledger
from ablate.records.optuna.storage import storage_errors
from ablate.records.optuna.studies import storage_of
from ablate.records.provenance import provenance
from ablate.records.schema import write
from ablate.records.tuning import StudyOfArm, TunedArm, TuningCost, TuningRecord, TuningSettings, TuningSummary
from ablate.tuning.space import MISSING, Dimension, Lookup, Space, check_key, dimension_of
from ablate.tuning.study import COUNTED, ArmStudy, checked_metrics, checked_pruner, grid_size, make_sampler

Say = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """An arm with values set: one trial.

    Attributes:
        values: by key of the configuration.
        choices: config group → choice.
    """

    arm: Arm
    values: dict[str, Value]
    choices: dict[str, str]
    trial: TrialConfig

    @cached_property
    def trial_id(self) -> str:
        """The trial's id."""
        return trial_id(self.trial)

    @property
    def options(self) -> dict[str, str]:
        """What makes it this one, as text."""
        return {**self.arm.options, **texts(self.values), "seed": str(self.trial.init_seed)}


def texts(values: Mapping[str, Value]) -> dict[str, str]:
    """Values as they are shown."""
    return {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}


def shown(values: Mapping[str, Value]) -> str:
    """Values in a sentence."""
    return " ".join(f"{key}={text}" for key, text in texts(values).items())


class Variants:
    """Makes the variants of arms.

    Args:
        loader: Hydra's.
        master: the configuration that the sweeper was made with.
        resolver: fills in what a trial's id needs.
        seeds: of all of them.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, resolver: Resolver, seeds: Seeds) -> None:
        self._composer = Composer(loader, master, [])
        self._resolver = resolver
        self._seeds = seeds
        self._found: dict[str, Lookup] = {}

    def found(self, arm: Arm) -> Lookup:
        """What a key is in an arm as it comes: the choice of a config group, or a value."""
        if arm.label not in self._found:
            self._found[arm.label] = self._as_it_comes(arm)
        return self._found[arm.label]

    def _as_it_comes(self, arm: Arm) -> Lookup:
        def of_arm(key: str) -> Any:
            if key in choices or self._composer.options_of(key):
                return choices.get(key)
            config, _ = self._composer.variant(arm.overrides, {})
            return OmegaConf.select(config, key, default=MISSING)

        _, choices = self._composer.variant(arm.overrides, {})
        return of_arm

    def check_choices(self, key: str, values: Iterable[Value], place: str) -> None:
        """Refuses what is no choice of a config group. Raises UsageError."""
        choices = self._composer.options_of(key)
        for value in values if choices else ():
            if value not in choices:
                raise UsageError(f"{place}: {value} is no such choice. {nearest(str(value), choices)}")

    def keys(self, arm: Arm, dimension: Dimension) -> list[str]:
        """The keys beside those of a dimension that an arm's configuration has."""
        config, choices = self._composer.variant(arm.overrides, {})
        groups = [key for key in dimension.keys if self._composer.options_of(key)]
        return [*groups, *choices, *_dotted(container_of(config))]

    def of(self, arm: Arm, values: Mapping[str, Value]) -> Variant:
        """The variant of an arm with these values. Raises UsageError where it can't be."""
        config, choices = self._composer.variant(arm.overrides, values)
        trial = composed_from_container(container_of(config)).trial
        check(trial)
        return Variant(arm, dict(values), choices, self._seeds.on(self._resolver(trial)))

    def tuned(self, arm: Arm, values: Mapping[str, Value]) -> Arm:
        """The arm with these values."""
        config, choices = self._composer.variant(arm.overrides, values)
        composed = composed_from_container(container_of(config))
        return replace(arm, choices=choices, composed=composed, tuned=texts(values))


def _dotted(container: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in container.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{key}.")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        command: what the user typed.
        config: as given.
        space: what is tuned.
        metrics: what is judged by.
        expanded: the arms, and the seeds of the lesson.
        variants: makes what is proposed.
        samples: of each arm, what it may propose: the corners of its space.
        ledger: where everything is.
        storage: of the studies.
        pruner: as studies keep it.
        names: by arm, its study's name.
        say: told what takes long.
    """

    command: str
    config: TuningConfig
    space: Space
    metrics: tuple[str, ...]
    expanded: Expanded
    variants: Variants
    samples: Mapping[str, Sequence[Variant]]
    ledger: Ledger
    storage: str
    pruner: dict[str, Any]
    names: Mapping[str, str]
    say: Say

    @classmethod
    def of(
        cls,
        loader: ConfigLoader,
        master: DictConfig,
        arguments: list[str],
        given: Mapping[str, Any],
        command: str,
        say: Say,
        exclude: Sequence[Any] = (),
        zips: Sequence[Sequence[str]] = (),
    ) -> "Sweep":
        """Checks every arm at every end of the space, and the lesson that comes of it.

        Args:
            loader: Hydra's.
            master: the configuration that the sweeper was made with.
            arguments: the command's overrides.
            given: the sweep's part of the configuration.
            command: what the user typed.
            say: told what takes long.
            exclude: patterns of arms that are not wanted.
            zips: keys that vary together.

        Raises:
            UsageError: before anything starts.
        """
        config = tuning_from_container(given)
        arguments, intervals = _intervals(loader, arguments)
        said = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
        space = Space.of({**config.space, **intervals}).without(said)
        if not space.dimensions:
            raise UsageError(
                f"hydra.sweeper.space: nothing is left to tune, as the command says what {', '.join(config.space)} is. "
                "Leave that out, or leave sweeps out."
            )
        first_seed = config.tune_seed + 1
        expanded = expand(
            loader, master, arguments, is_grid=True, exclude=exclude, zips=zips, first_seed=first_seed, say=say
        )
        for seeds in expanded.seeds:
            if config.tune_seed in (seeds.init_seed, seeds.data_seed):
                raise UsageError(
                    f"seed={seeds}: is the seed that tunes, on which each arm's best is the luckiest too. Leave it "
                    f"out, or set hydra.sweeper.tune_seed (it is {config.tune_seed})."
                )
        grid = expanded.arms[0].composed.grid
        runs_dir = Path(expanded.arms[0].composed.runs_dir).expanduser().absolute()
        metrics = checked_metrics(config.metrics or (grid.lesson.primary_metric,), config.pruner)
        seeds = Seeds(config.tune_seed, config.tune_seed)
        variants = Variants(loader, master, Resolver(runs_dir, say), seeds)
        corners = {arm.label: _samples(arm, space, variants) for arm in expanded.arms}
        _check_samples(corners, space, metrics)
        samples = {
            arm.label: [variant for _, variant in corners[arm.label]] or [variants.of(arm, {})] for arm in expanded.arms
        }
        pruner = checked_pruner(config, expanded.arms[0].composed.trial.evaluation.val_evaluations)
        sweep = cls(
            command,
            config,
            space,
            metrics,
            expanded,
            variants,
            samples,
            Ledger(runs_dir),
            storage_of(config.storage, runs_dir),
            pruner,
            {},
            say,
        )
        sweep = replace(sweep, names={arm.label: sweep._name(arm) for arm in expanded.arms})
        make_sampler(config, space)
        # Refuses what no lesson could come of, while nothing is spent yet.
        sweep._plan({label: variant.values for label, [variant, *_] in samples.items()}, None)
        return sweep

    def _name(self, arm: Arm) -> str:
        if self.config.study is not None:
            return self.config.study if len(self.expanded.arms) == 1 else f"{self.config.study}/{arm.label}"
        return f"{arm.choices.get('sweeps', 'sweep')}/{arm.label}/{digest12(self._about(arm))}"

    def _about(self, arm: Arm) -> dict[str, Any]:
        """What an arm's study is for: other values are another study."""
        first, *_ = self.samples[arm.label]
        return {
            "space": self._space(),
            "metrics": list(self.metrics),
            "arm": first.trial_id,
            # Steps of a curve are evaluations: of as many over a trial.
            "validation": [validation_id(first.trial), first.trial.evaluation.val_evaluations],
        }

    @property
    def sweep_id(self) -> str:
        """Of its studies: the same command gives the same sweep."""
        return digest12([self.storage, sorted(self.names.values())])

    @property
    def n_trials(self) -> int:
        """How many candidates of each arm are to come to an end."""
        return min(self.config.n_trials, grid_size(self.config, self.space) or self.config.n_trials)

    def studies(self, storage: BaseStorage) -> dict[str, ArmStudy]:
        """Each arm's study, opened or made. Raises UsageError and LedgerError like `ArmStudy.open`."""
        found = {}
        with storage_errors(self.storage):
            for arm in self.expanded.arms:
                about = {**self._about(arm), "pruner": self.pruner}
                sampler = make_sampler(self.config, self.space)
                found[arm.label] = ArmStudy.open(storage, self.names[arm.label], sampler, about, self.n_trials)
        return found

    def record(self) -> None:
        """Writes the sweep's record, or marks it as the newest."""
        try:
            created_at = self.ledger.tuning(self.sweep_id).created_at
        except FileNotFoundError:
            created_at = time.time()
        record = TuningRecord(
            tuning_id=self.sweep_id,
            command=self.command,
            # Null moves with the ledger.
            storage=None if self.config.storage is None else self.storage,
            settings=self._settings(),
            arms=tuple(StudyOfArm(arm.label, arm.options, self.names[arm.label]) for arm in self.expanded.arms),
            created_at=created_at,
            provenance=provenance(Path(__file__), self.ledger.runs_dir / "diffs", plugin_packages()),
        )
        write(self.ledger.tuning_path(self.sweep_id), record)

    def _space(self) -> dict[str, Any]:
        return {dimension.key: plain(dimension.config) for dimension in self.space.dimensions}

    def _settings(self) -> TuningSettings:
        return TuningSettings(
            space=self._space(),
            metrics=self.metrics,
            n_trials=self.n_trials,
            sampler=self.config.sampler,
            pruner=self.config.pruner,
            tune_seed=self.config.tune_seed,
        )

    def tuned_plan(self, chosen: Mapping[str, FrozenTrial], costs: Mapping[str, TuningCost]) -> Plan:
        """The grid of the tuned arms, under seeds that tuned none of them.

        Args:
            chosen: the best trial of each arm's study.
            costs: by arm, what tuning it took, for the grid's record.

        Raises:
            UsageError: no lesson can come of them.
        """
        values = {label: trial.user_attrs["values"] for label, trial in chosen.items()}
        untuned = {arm.label: self.variants.of(arm, {}) for arm in self.expanded.arms}
        arms = {
            label: TunedArm(
                study=self.names[label],
                number=trial.number,
                trial_id=trial.user_attrs["trial_id"],
                values=values[label],
                score=trial.values[0],
                cost=costs[label],
                untuned={**semantic(untuned[label].trial), "init_seed": None, "data_seed": None},
            )
            for label, trial in chosen.items()
        }
        return self._plan(values, TuningSummary(tuning_id=self.sweep_id, settings=self._settings(), arms=arms))

    def _plan(self, values: Mapping[str, Mapping[str, Value]], tuning: TuningSummary | None) -> Plan:
        arms = tuple(self.variants.tuned(arm, values[arm.label]) for arm in self.expanded.arms)
        return Plan.of(replace(self.expanded, arms=arms), self.command, self.say, tuning=tuning)


def _intervals(loader: ConfigLoader, arguments: list[str]) -> tuple[list[str], dict[str, DimensionConfig]]:
    """The arguments without those that give a key an interval, and these."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    intervals = {one.key_or_group: dimension_of(one) for one in parsed if one.is_interval_sweep()}
    return [str(one.input_line) for one in parsed if not one.is_interval_sweep()], intervals


def _samples(arm: Arm, space: Space, variants: Variants) -> list[tuple[str, Variant]]:
    """An arm at the corners of its space, checked, each with the key that is at its end. Raises UsageError."""
    found = variants.found(arm)
    tuned = {key for one in space.dimensions for key in one.keys}
    for dimension in space.dimensions:
        for key in (dimension.config.when or {}).keys() - tuned:
            place = f"hydra.sweeper.space.{dimension.key}.when.{key}"
            if found(key) is MISSING:
                raise UsageError(f"{place}: no such key.")
            variants.check_choices(key, dimension.required(key), place)
    made: list[tuple[str, Variant]] = []
    checked: set[str] = set()
    for varied, values in space.corners(found):
        for dimension in space.dimensions:
            for key in {*dimension.keys} & values.keys() - checked:
                check_key(key, variants.keys(arm, dimension), arm.label)
                checked.add(key)
        try:
            made.append((varied, variants.of(arm, values)))
        except UsageError as error:
            raise UsageError(f"{arm.label} with {shown(values)}, which hydra.sweeper.space allows:\n{error}") from None
    return made


def _check_samples(samples: Mapping[str, Sequence[tuple[str, Variant]]], space: Space, metrics: Sequence[str]) -> None:
    """Refuses what can't be tuned, though each point of it could be run. Raises UsageError."""
    every = [sample for of_arm in samples.values() for sample in of_arm]
    if len({validation_id(one.trial) for _, one in every}) > 1:
        raise UsageError("hydra.sweeper.space: changes what is scored, so its points can't be compared.")
    for dimension in space.dimensions:
        place = f"hydra.sweeper.space.{dimension.key}"
        of_key = {
            label: [one.trial_id for key, one in of_arm if key == dimension.key] for label, of_arm in samples.items()
        }
        if not any(of_key.values()):
            # Of other arms than these, it may be.
            continue
        if len(dimension.extremes()) > 1 and all(len(set(trials)) < 2 for trials in of_key.values()):
            raise UsageError(f"{place}: changes no trial: it says where or how one runs, and not what it computes.")
    budgets = {one.trial.budget.train_tokens for _, one in every}
    if len(metrics) == 1 and len(budgets) > 1:
        raise UsageError(
            f"hydra.sweeper.space: changes budget.train_tokens (from {min(budgets):,} to {max(budgets):,}), so the "
            "tuned arms could not be compared. Pruner by two metrics, e.g. hydra.sweeper.metrics=[bpb_full,flops]."
        )
    for name in metrics:
        if name not in COUNTED:
            for label, of_arm in samples.items():
                for _, one in of_arm:
                    check_metric("hydra.sweeper.metrics", name, {label: one.trial})
