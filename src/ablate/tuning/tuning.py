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
from ablate.grid.expand import Arm, Expanded, Seeds, expand
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
        corners: arm's label → points at the corners of its space.
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
        first_seed = config.tune_seed + 1
        expanded = expand(
            loader, master, arguments, is_grid=True, exclude=exclude, zips=zips, first_seed=first_seed, say=say
        )
        _check_seeds(expanded, config.tune_seed)
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
    def names(self) -> dict[str, str]:
        """Arm's label → name of its study."""
        return {arm.label: self._name(arm) for arm in self.expanded.arms}

    def _name(self, arm: Arm) -> str:
        if self.config.study is not None:
            return self.config.study if len(self.expanded.arms) == 1 else f"{self.config.study}/{arm.values}"
        return f"{arm.choices.get('sweeps', 'sweep')}/{arm.values}/{digest12(self._about(arm))}"

    def _about(self, arm: Arm) -> dict[str, Any]:
        """What defines an arm's study."""
        first, *_ = self.corners[arm.label]
        return {
            "space": self._space(),
            "metrics": list(self.metrics),
            "arm": first.trial_id,
            # The steps of a curve are evaluations, so their number counts.
            "validation": [validation_id(first.trial), first.trial.evaluation.val_evaluations],
        }

    @property
    def tuning_id(self) -> str:
        """A digest of the studies: the same command gives the same id."""
        return digest12([self.storage, sorted(self.names.values())])

    @property
    def n_trials(self) -> int:
        """The number of candidates per arm."""
        return min(self.config.n_trials, grid_size(self.config, self.space) or self.config.n_trials)

    def studies(self, storage: BaseStorage) -> dict[str, ArmStudy]:
        """Open or create each arm's study. Raises UsageError and LedgerError like `ArmStudy.open`."""
        studies = {}
        with storage_errors(self.storage):
            for arm in self.expanded.arms:
                about = {**self._about(arm), "pruner": self.pruner}
                sampler = make_sampler(self.config, self.space)
                studies[arm.label] = ArmStudy.open(storage, self.names[arm.label], sampler, about, self.n_trials)
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
            arms=tuple(StudyOfArm(arm.label, arm.options, self.names[arm.label]) for arm in self.expanded.arms),
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
        )

    def tuned_grid(self, best: Mapping[str, FrozenTrial], costs: Mapping[str, TuningCost]) -> Grid:
        """Return the grid of the tuned arms, with seeds that were not used for tuning.

        Args:
            best: arm's label → best trial of its study.
            costs: arm's label → cost of its tuning, for the grid's record.

        Raises:
            UsageError: the tuned arms can't be compared.
        """
        values = {label: trial.user_attrs["values"] for label, trial in best.items()}
        untuned = {arm.label: self.points.make(arm, {}) for arm in self.expanded.arms}
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
            for label, trial in best.items()
        }
        return self._plan(values, TuningSummary(tuning_id=self.tuning_id, settings=self._settings(), arms=arms))

    def untuned_grid(self) -> Grid:
        """Return the grid with each arm at the first corner of its space. Raises UsageError like `tuned_grid`."""
        return self._plan({label: point.values for label, [point, *_] in self.corners.items()}, None)

    def _plan(self, values: Mapping[str, Mapping[str, Value]], tuning: TuningSummary | None) -> Grid:
        arms = tuple(self.points.tuned(arm, values[arm.label]) for arm in self.expanded.arms)
        return Grid.of(replace(self.expanded, arms=arms), self.command, self.resolver, tuning=tuning)


def _tuned_space(loader: ConfigLoader, arguments: list[str], config: TuningConfig) -> tuple[list[str], Space]:
    """The command's arguments without intervals, and the space of what they leave open. Raises UsageError."""
    arguments, intervals = _intervals(loader, arguments)
    set_keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    space = Space.of({**config.space, **intervals}).without(set_keys)
    if not space.dimensions:
        raise UsageError(
            f"hydra.sweeper.space: nothing is left to tune, because the command sets {', '.join(config.space)}. "
            "Leave that out, or leave sweeps out."
        )
    return arguments, space


def _check_seeds(expanded: Expanded, tune_seed: int) -> None:
    """Reject the seed that tunes among those of the lesson. Raises UsageError."""
    for seeds in expanded.seeds:
        if tune_seed in (seeds.init_seed, seeds.data_seed):
            raise UsageError(
                f"seed={seeds}: is used for tuning, so scores on it are selection-biased. Leave it out, or change "
                f"hydra.sweeper.tune_seed (it is {tune_seed})."
            )


def _intervals(loader: ConfigLoader, arguments: list[str]) -> tuple[list[str], dict[str, DimensionConfig]]:
    """Return the arguments without intervals, and key → dimension of the intervals."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    intervals = {each.key_or_group: dimension_of(each) for each in parsed if each.is_interval_sweep()}
    return [str(each.input_line) for each in parsed if not each.is_interval_sweep()], intervals
