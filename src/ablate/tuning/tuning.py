"""A checked tuning: its arms, its space, its studies, and the grid of the tuned arms."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ablate.config.parse import plain, tuning_from_container
from ablate.config.registry import plugin_packages
from ablate.config.tuning import DimensionConfig, TuningConfig, Value
from ablate.errors import UsageError
from ablate.evaluation.suite import validation_id
from ablate.grid.axis import SEED_KEYS
from ablate.grid.expand import Expanded, Seeds, expand
from ablate.grid.grid import Grid
from ablate.grid.resolve import Resolver
from ablate.identity import digest12, semantic
from ablate.records.ledger import Ledger
from ablate.records.optuna.storage import storage_errors
from ablate.records.optuna.studies import storage_of
from ablate.records.provenance import provenance
from ablate.records.schema import write
from ablate.records.tuning import StudyOfArm, TunedArm, TuningCost, TuningRecord, TuningSettings, TuningSummary
from ablate.tuning.point import Point, PointFactory, check_tunable, checked_corners
from ablate.tuning.search import Search
from ablate.tuning.space import Space, dimension_of
from ablate.tuning.study import ArmStudy, checked_metrics, checked_pruner, grid_size, make_sampler

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tuning:
    """A checked tuning: every arm gets a study, and the lesson compares the tuned arms.

    Attributes:
        command: what the user typed.
        config: the tuning's part of the configuration.
        space: the keys to tune, and their values.
        metrics: what candidates are compared by.
        expanded: the arms, and the seeds of the lesson.
        points: composes the trials of points.
        corners: arm's label → points at the corners of its space, under the first tuning seed.
        ledger: has the trials and the record.
        storage: of the studies.
        pruner: as studies store it.
        resolver: adds the hashes that a trial's id needs.
    """

    command: str
    config: TuningConfig
    space: Space
    metrics: tuple[str, ...]
    expanded: Expanded
    points: PointFactory
    corners: Mapping[str, Sequence[Point]]
    ledger: Ledger
    storage: str
    pruner: dict[str, Any]
    resolver: Resolver

    @classmethod
    def of(
        cls,
        loader: ConfigLoader,
        master: DictConfig,
        arguments: list[str],
        container: Mapping[str, Any],
        command: str,
        say: Say,
        exclude: Sequence[Any] = (),
        zips: Sequence[Sequence[str]] = (),
        *,
        reads_corpus: bool = True,
    ) -> "Tuning":
        """Check every arm at every corner of the space, and that a lesson will be possible.

        Args:
            loader: Hydra's config loader.
            master: the configuration that the sweeper was created with.
            arguments: the command's overrides.
            container: the tuning's part of the configuration.
            command: what the user typed.
            say: prints what takes long.
            exclude: patterns of arms to leave out.
            zips: keys that vary together.
            reads_corpus: see `Resolver`.

        Raises:
            UsageError: the tuning or its lesson is not possible.
        """
        config = tuning_from_container(container)
        arguments, space = _tuned_space(loader, arguments, config)
        first_seed = config.tune_seeds.stop
        expanded = expand(
            loader, master, arguments, is_grid=True, exclude=exclude, zips=zips, first_seed=first_seed, say=say
        )
        _check_seeds(expanded, config)
        grid = expanded.arms[0].composed.grid
        metrics = checked_metrics(config.metrics or (grid.lesson.primary_metric,), config.pruner)
        resolver = Resolver(expanded.runs_dir, say, reads_corpus=reads_corpus)
        points = PointFactory(loader, master, resolver, Seeds(config.tune_seed, config.tune_seed))
        varied = {arm.label: checked_corners(arm, space, points) for arm in expanded.arms}
        check_tunable(varied, space, metrics)
        corners = {
            arm.label: [point for _, point in varied[arm.label]] or [points.make(arm, {})] for arm in expanded.arms
        }
        pruner = checked_pruner(config, expanded.arms[0].composed.trial.evaluation.val_evaluations)
        ledger, storage = Ledger(expanded.runs_dir), storage_of(config.storage, expanded.runs_dir)
        tuning = cls(command, config, space, metrics, expanded, points, corners, ledger, storage, pruner, resolver)
        make_sampler(config, space)
        # Raises an error about the lesson before anything is trained.
        tuning.untuned_grid()
        return tuning

    @cached_property
    def searches(self) -> dict[str, Search]:
        """Label → tuning of an arm: one per arm, or one per arm and tuning seed."""
        seeds = self.config.tune_seeds
        searches = [
            Search(arm, number, seed, is_repeated=len(seeds) > 1)
            for arm in self.expanded.arms
            for number, seed in enumerate(seeds)
        ]
        return {search.label: search for search in searches}

    @cached_property
    def names(self) -> dict[str, str]:
        """Label of a tuning of an arm → name of its study."""
        return {label: self._name(search) for label, search in self.searches.items()}

    def _name(self, search: Search) -> str:
        arm = search.arm
        if self.config.study is not None:
            several_arms, several_seeds = len(self.expanded.arms) > 1, search.is_repeated
            parts = [self.config.study, *[arm.values] * several_arms, *[str(search.seed)] * several_seeds]
            return "/".join(parts)
        return f"{arm.choices.get('sweeps', 'sweep')}/{arm.values}/{digest12(self._about(search))}"

    def _about(self, search: Search) -> dict[str, Any]:
        """What defines the study of an arm's tuning."""
        first = self.sample(search)
        return {
            "space": self._space(),
            "metrics": list(self.metrics),
            "arm": first.trial_id,
            # The steps of a curve are evaluations, so their number counts.
            "validation": [validation_id(first.trial), first.trial.evaluation.val_evaluations],
        }

    def sample(self, search: Search) -> Point:
        """Return a candidate that may be one of this tuning's."""
        return self.corners[search.arm.label][0].under(search.seeds)

    @property
    def tuning_id(self) -> str:
        """A digest of the studies: the same command gives the same id."""
        return digest12([self.storage, sorted(self.names.values())])

    @property
    def n_trials(self) -> int:
        """The number of candidates of each study."""
        return min(self.config.n_trials, grid_size(self.config, self.space) or self.config.n_trials)

    def studies(self, storage: BaseStorage) -> dict[str, ArmStudy]:
        """Open or create the study of each tuning. Raises UsageError and LedgerError like `ArmStudy.open`."""
        studies = {}
        with storage_errors(self.storage):
            for label, search in self.searches.items():
                about = {**self._about(search), "pruner": self.pruner}
                # Other candidates under each tuning seed, the same ones for all arms.
                sampler = make_sampler(self.config, self.space, search.number)
                studies[label] = ArmStudy.open(storage, self.names[label], sampler, about, self.n_trials)
        return studies

    def record(self) -> None:
        """Write the tuning's record, which marks it as the newest."""
        try:
            created_at = self.ledger.tuning(self.tuning_id).created_at
        except FileNotFoundError:
            created_at = time.time()
        record = TuningRecord(
            tuning_id=self.tuning_id,
            command=self.command,
            # Null moves with the ledger.
            storage=None if self.config.storage is None else self.storage,
            settings=self._settings(),
            arms=tuple(
                StudyOfArm(label, search.arm.options, self.names[label]) for label, search in self.searches.items()
            ),
            created_at=created_at,
            provenance=provenance(Path(__file__), self.ledger.runs_dir / "diffs", plugin_packages()),
        )
        write(self.ledger.tuning_path(self.tuning_id), record)

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
            tune_replicates=self.config.tune_replicates,
        )

    def tuned_grid(self, best: Mapping[str, FrozenTrial], costs: Mapping[str, TuningCost]) -> Grid:
        """Return the grid of the tuned arms, with seeds that were not used for tuning.

        Args:
            best: label of a tuning → best trial of its study.
            costs: label of a tuning → its cost, for the grid's record.

        Raises:
            UsageError: the tuned arms can't be compared.
        """
        arms: dict[str, tuple[TunedArm, ...]] = {}
        for arm in self.expanded.arms:
            untuned = {**semantic(self.points.make(arm, {}).trial), "init_seed": None, "data_seed": None}
            arms[arm.label] = tuple(
                TunedArm(
                    study=self.names[label],
                    number=trial.number,
                    trial_id=trial.user_attrs["trial_id"],
                    values=trial.user_attrs["values"],
                    score=trial.values[0],
                    cost=costs[label],
                    untuned=untuned,
                )
                for label, trial in best.items()
                if self.searches[label].arm is arm
            )
        values = {label: [tuned.values for tuned in of_arm] for label, of_arm in arms.items()}
        return self._plan(values, TuningSummary(tuning_id=self.tuning_id, settings=self._settings(), arms=arms))

    def untuned_grid(self) -> Grid:
        """Return the grid with each arm at the first corner of its space. Raises UsageError like `tuned_grid`."""
        return self._plan({label: [point.values] for label, [point, *_] in self.corners.items()}, None)

    def _plan(self, values: Mapping[str, Sequence[Mapping[str, Value]]], tuning: TuningSummary | None) -> Grid:
        tuned = {
            arm.label: tuple(self.points.tuned(arm, of_seed) for of_seed in values[arm.label])
            for arm in self.expanded.arms
        }
        arms = tuple(first for first, *_ in tuned.values())
        return Grid.of(replace(self.expanded, arms=arms, tuned=tuned), self.command, self.resolver, tuning=tuning)


def _tuned_space(loader: ConfigLoader, arguments: list[str], config: TuningConfig) -> tuple[list[str], Space]:
    """The arguments without intervals, with a seed per tuning, and the space of what is open. Raises UsageError."""
    arguments, intervals = _intervals(loader, arguments)
    set_keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    space = Space.of({**config.space, **intervals}).without(set_keys)
    if not space.dimensions:
        raise UsageError(
            f"hydra.sweeper.space: nothing is left to tune, because the command sets {', '.join(config.space)}. "
            "Leave that out, or leave sweeps out."
        )
    return _with_replicates(arguments, config.tune_replicates), space


def _with_replicates(arguments: list[str], tunings: int) -> list[str]:
    """The arguments with a seed for each of several tunings, where the command sets no seeds."""
    keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    is_set = not keys.isdisjoint({"replicates", *SEED_KEYS})
    return arguments if tunings == 1 or is_set else [*arguments, f"replicates={tunings}"]


def _check_seeds(expanded: Expanded, config: TuningConfig) -> None:
    """Reject seeds that tune among those of the lesson, and seeds without a tuning of their own. Raises UsageError."""
    for seeds in expanded.seeds:
        if used := {seeds.init_seed, seeds.data_seed}.intersection(config.tune_seeds):
            raise UsageError(
                f"seed={seeds}: {min(used)} is used for tuning, so scores on it are selection-biased. Leave it out, or "
                f"change hydra.sweeper.tune_seed (it is {config.tune_seed})."
            )
    if config.tune_replicates > 1 and expanded.looks != (config.tune_replicates,):
        raise UsageError(
            f"hydra.sweeper.tune_replicates={config.tune_replicates}: each of the lesson's seeds has a tuning of its "
            f"own, and this command looks at {' and '.join(map(str, expanded.looks))} seeds. Leave replicates, "
            "max_replicates and seed out, or give as many seeds as tunings."
        )


def _intervals(loader: ConfigLoader, arguments: list[str]) -> tuple[list[str], dict[str, DimensionConfig]]:
    """Return the arguments without intervals, and key → dimension of the intervals."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    intervals = {each.key_or_group: dimension_of(each) for each in parsed if each.is_interval_sweep()}
    return [str(each.input_line) for each in parsed if not each.is_interval_sweep()], intervals
