"""A grid's cells: checked, identified, merged where two arms are one trial, frozen and recorded."""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, cycle
from pathlib import Path

from ablate.config.parse import trial_to_container
from ablate.config.registry import plugin_packages
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.evaluation.suite import metrics_of, suite_ids
from ablate.grid.cell import Cell
from ablate.grid.check import check
from ablate.grid.declaration import check_lesson, check_suites, declare
from ablate.grid.expand import Expanded
from ablate.grid.question import questions, seen_by
from ablate.grid.resolve import Resolver
from ablate.identity import digest12, semantic, trial_id
from ablate.objectives.objective import Objective
from ablate.records.grid import ArmRecord, Declaration, GridRecord, LookRecord, by_values, values_of
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.provenance import provenance
from ablate.records.schema import to_json
from ablate.records.trial import Scores, TrialRecord
from ablate.records.tuning import TuningSummary
from ablate.scheduling.reconcile import is_done
from ablate.training.initial import check_init_from
from ablate.training.parent import parent_state

# Of a trial's metrics, how many are printed when it ends.
SHOWN_METRICS = 2


@dataclass(frozen=True)
class Grid:
    """A checked grid.

    Attributes:
        command: what the user typed.
        cells: arm by arm, seed by seed; several may name one trial.
        suites: by name, the id of each suite that all of them are scored by.
        looks: the numbers of seeds at which verdicts may be given.
        seeds: the number of seeds of each arm at the current look.
        tuning: how its arms were tuned.
        stopped: label → number of seeds, of arms whose comparisons were all decided at an earlier look.
    """

    command: str
    cells: tuple[Cell, ...]
    suites: dict[str, str]
    ledger: Ledger
    looks: tuple[int, ...]
    seeds: int
    tuning: TuningSummary | None = None
    stopped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        expanded: Expanded,
        command: str,
        resolver: Resolver,
        *,
        tuning: TuningSummary | None = None,
    ) -> "Grid":
        """Checks every cell.

        Args:
            expanded: arms and seeds.
            command: what the user typed.
            resolver: adds the hashes that a trial's id needs.
            tuning: how its arms were tuned.

        Raises:
            UsageError: a cell that can't run, or cells that are scored in different ways.
            FailureError: a corpus that can't be read.
        """
        runs_dir = resolver.runs_dir
        cells = []
        suites: dict[str, dict[str, str]] = {}
        # All of them, before the first corpus is read.
        for arm in chain.from_iterable(map(expanded.variants, expanded.arms)):
            check(arm.composed.trial)
            check_init_from(arm.composed.trial, runs_dir)
        for arm in expanded.arms:
            variants = [(variant, resolver(variant.composed.trial)) for variant in expanded.variants(arm)]
            suites[arm.label] = suite_ids(variants[0][1])
            of_arm = [
                Cell(variant, seeds, seeded := seeds.on(trial), trial_id(seeded))
                for (variant, trial), seeds in zip(cycle(variants), expanded.seeds, strict=False)
            ]
            if len({cell.trial_id for cell in of_arm}) < len(of_arm):
                raise UsageError(
                    f"The seeds {', '.join(map(str, expanded.seeds))} make one trial of the arm {arm.label}: with "
                    "init_from nothing is drawn from init_seed. Vary data_seed, or both with seed."
                )
            for cell in of_arm:
                parent_state(cell.trial, runs_dir)
            cells += of_arm
        looks = expanded.looks
        plan = cls(command, tuple(cells), next(iter(suites.values())), Ledger(runs_dir), looks, looks[0], tuning)
        check_lesson(plan.declaration, plan.cells)
        check_suites(suites, expanded.arms[0].composed.trial)
        seeds = plan.recorded_seeds()
        most = max(seeds.values(), default=looks[0])
        return plan.at(most, {label: count for label, count in seeds.items() if count < most})

    def at(self, seeds: int, stopped: Mapping[str, int] | None = None) -> "Grid":
        """Return the same grid at another look."""
        # The same grid keeps what it has computed.
        is_same = (seeds, stopped or {}) == (self.seeds, self.stopped)
        return self if is_same else replace(self, seeds=seeds, stopped=stopped or {})

    def next_look(self, undecided: Collection[str]) -> "Grid | None":
        """Return the grid at its next look, where only the undecided arms get more seeds; None after the last look."""
        seeds = next((look for look in self.looks if look > self.seeds), None)
        stopped = {arm.label: len(arm.trials) for arm in self.arms if (arm.same_as or arm.label) not in undecided}
        return self.at(seeds, stopped) if seeds else None

    def recorded_seeds(self) -> dict[str, int]:
        """Return label → number of seeds in the grid's record; empty for a grid that was never run."""
        try:
            return {arm.label: len(arm.trials) for arm in self.ledger.grid(self.grid_id).arms}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    @cached_property
    def cells_of_look(self) -> tuple[Cell, ...]:
        """The cells with the seeds of this look."""
        number = {seeds: index for index, seeds in enumerate(dict.fromkeys(cell.seeds for cell in self.cells))}
        return tuple(cell for cell in self.cells if number[cell.seeds] < self.stopped.get(cell.arm.label, self.seeds))

    @cached_property
    def trials(self) -> dict[str, Cell]:
        """Each trial of this look once, under the first cell that names it."""
        cells: dict[str, Cell] = {}
        for cell in self.cells_of_look:
            cells.setdefault(cell.trial_id, cell)
        return cells

    @cached_property
    def arms(self) -> tuple[ArmRecord, ...]:
        """The arms as the grid's record has them."""
        trials: dict[str, dict[str, str]] = {}
        same_as: dict[str, str] = {}
        owner: dict[str, str] = {}
        first_cells: dict[str, Cell] = {}
        for cell in self.cells_of_look:
            label = cell.arm.label
            first_cells.setdefault(label, cell)
            trials.setdefault(label, {})[str(cell.seeds)] = cell.trial_id
            first = owner.setdefault(cell.trial_id, label)
            if first != label:
                same_as[label] = first
        # Arms that are tuned for each seed may share the trials of some seeds alone.
        same_as = {
            label: first
            for label, first in same_as.items()
            if trials[label].items() <= trials[first].items() or trials[label].items() >= trials[first].items()
        }
        return tuple(
            ArmRecord(label, cell.arm.options, _tasks(cell.trial), trials[label], same_as.get(label))
            for label, cell in first_cells.items()
        )

    @cached_property
    def declaration(self) -> Declaration:
        """What the grid is to decide, fixed before it runs."""
        return declare(self.cells, self.at(self.looks[-1]).arms, self.looks)

    @cached_property
    def grid_id(self) -> str:
        """Of the arms' trials, their suites and the declaration: the same command gives the same grid."""
        arms = self.at(self.looks[-1]).arms
        trials = [[values_of(arm.options), arm.trials] for arm in arms]
        return digest12([trials, self.suites, to_json(by_values(self.declaration, arms))])

    def scores(self, record: TrialRecord) -> Scores | None:
        """The scores that are printed when a trial ends; None where it is not scored by all suites."""
        if not record.is_scored(self.suites.values()):
            return None
        scores = record.scores(self.suites.values())
        compared = [name for name, metric in metrics_of(self.suites).items() if not metric.is_reference]
        return {name: scores[name] for name in compared[:SHOWN_METRICS] if name in scores}

    def is_done(self, trial_id: str) -> bool:
        """See `job.is_done`, for this grid's suites."""
        return is_done(self.ledger.trial(trial_id).record(), self.suites.values())

    def missing(self) -> dict[str, Cell]:
        """The trials that are still to run."""
        return {trial: cell for trial, cell in self.trials.items() if not self.is_done(trial)}

    def freeze_trials(self, trials: Iterable[str]) -> None:
        """Writes the config of trials that are about to run, as this grid scores them, where it is another now."""
        for trial in trials:
            if trial in self._frozen_at and self._frozen_at[trial] == _written_at(self.ledger.trial(trial)):
                continue
            cell = self.trials[trial]
            record = TrialRecord(
                trial,
                options={**cell.arm.options, **cell.arm.tuned, "seed": str(cell.seeds)},
                choices=cell.arm.choices,
                first_grid=self.grid_id,
                # What the id was made of, when it was made: `diff` compares these.
                semantic=semantic(cell.trial),
            )
            self.ledger.freeze(record, trial_to_container(cell.trial))
            self._frozen_at[trial] = _written_at(self.ledger.trial(trial))

    @cached_property
    def _frozen_at(self) -> dict[str, tuple[int, ...]]:
        """When this command wrote which config."""
        return {}

    def freeze(self, missing: Iterable[str]) -> None:
        """Writes the grid's record, or marks it as the newest, and the config of each trial that is to run."""
        # The grid first: a trial that no grid names may be swept.
        self._record()
        self.freeze_trials(missing)

    def _record(self) -> None:
        def with_arms(record: GridRecord | None) -> GridRecord:
            if record is None:
                return self._first_record()
            # Written again, it is the newest.
            is_later = self.seeds > record.seeds
            return replace(record, arms=self.arms, declaration=self.declaration) if is_later else record

        self.ledger.update_grid(self.grid_id, with_arms)

    def _first_record(self) -> GridRecord:
        last = self.at(self.looks[-1])
        # A damaged record stops no new grid; verbs name it.
        earlier = self.ledger.grids([])
        record = GridRecord(
            grid_id=self.grid_id,
            command=self.command,
            title=", ".join(self.declaration.factors) or "one trial",
            arms=last.arms,
            declaration=self.declaration,
            other_declarations=self._other_declarations(earlier),
            suites=self.suites,
            metrics=tuple(metrics_of(self.suites).values()),
            # What was declared after these were scored was declared with their results in sight.
            known_before=tuple(trial for trial in last.trials if self.ledger.trial(trial).record().has_outcome),
            created_at=time.time(),
            provenance=provenance(Path(__file__), self.ledger.runs_dir / "diffs", plugin_packages()),
            tuning=self.tuning,
            questions=questions(self.declaration, last.arms, {cell.arm.label: cell.trial for cell in self.cells}),
        )
        return replace(record, arms=self.arms, seen=seen_by(self.ledger, record, earlier))

    def _other_declarations(self, earlier: Iterable[GridRecord]) -> tuple[str, ...]:
        """Grids of the same lesson name with another declaration: after one of them, this one explores."""
        name, declared = self.declaration.name, by_values(self.declaration, self.arms)
        grids = [grid for grid in earlier if name and grid.declaration.name == name]
        return tuple(sorted(grid.grid_id for grid in grids if by_values(grid.declaration, grid.arms) != declared))

    def record_look(self, look: LookRecord) -> None:
        """Keep what was seen at a look; the record of an earlier look is never changed."""

        def with_look(record: GridRecord | None) -> GridRecord:
            assert record is not None, "recorded before its trials ran"
            is_known = look.seeds in [earlier.seeds for earlier in record.looks]
            return record if is_known else replace(record, looks=(*record.looks, look))

        self.ledger.update_grid(self.grid_id, with_look)


def _written_at(folder: TrialFolder) -> tuple[int, ...]:
    """Return what tells that a config was replaced; () where there is none."""
    try:
        status = folder.config_path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns


def _tasks(trial: TrialConfig) -> dict[str, float]:
    """The probability of each task."""
    tasks: dict[str, float] = {}
    for arm in Objective.of(trial).tasks:
        tasks[arm.task.name] = tasks.get(arm.task.name, 0.0) + arm.probability
    return tasks
