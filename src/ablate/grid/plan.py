"""A grid's cells: checked, identified, merged where two arms are one trial, frozen and recorded."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ablate.config import TrialConfig
from ablate.errors import UsageError
from ablate.grid.check import check
from ablate.grid.expand import Arm, Expanded, Seeds
from ablate.grid.job import is_done
from ablate.grid.resolve import Resolver
from ablate.identity import digest12, evaluation_id, semantic, trial_id
from ablate.lessons.metric import METRICS, metric
from ablate.objectives.objective import active_infill, checked_arms, infilling_arm
from ablate.objectives.registry import plugin_packages
from ablate.parsing import nearest, plain, trial_to_container
from ablate.records.files import write_json
from ablate.records.ledger import FORMAT, Ledger
from ablate.records.provenance import provenance

# A lesson whose factor is one of these groups compares trials that read different windows.
DATA_GROUPS = ("corpus", "mixture", "tokenizer", "scale")


@dataclass(frozen=True)
class Cell:
    """One trial of a grid."""

    arm: Arm
    seeds: Seeds
    trial: TrialConfig
    trial_id: str

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.arm.label}, seed {self.seeds}"


@dataclass(frozen=True)
class Plan:
    """A checked grid.

    Attributes:
        command: what the user typed.
        cells: arm by arm, seed by seed; several may name one trial.
        evaluation_id: how all of them are scored.
    """

    command: str
    cells: tuple[Cell, ...]
    evaluation_id: str
    ledger: Ledger

    @classmethod
    def of(cls, expanded: Expanded, command: str, say: Callable[[str], None], *, reads_anew: bool = False) -> "Plan":
        """Checks every cell.

        Args:
            expanded: arms and seeds.
            command: what the user typed.
            say: told what takes long.
            reads_anew: takes files of a corpus as they are now that changed since they were read.

        Raises:
            UsageError: a cell that can't run, or cells that are scored in different ways.
            FailureError: a corpus that can't be read.
        """
        runs_dir = Path(expanded.arms[0].composed.runs_dir).expanduser().absolute()
        resolved = Resolver(runs_dir, say, reads_anew)
        cells = []
        for arm in expanded.arms:
            check(arm.composed.trial)
            trial = resolved(arm.composed.trial)
            of_arm = [Cell(arm, seeds, seeded := seeds.on(trial), trial_id(seeded)) for seeds in expanded.seeds]
            if len({cell.trial_id for cell in of_arm}) < len(of_arm):
                raise UsageError(
                    f"The seeds {', '.join(map(str, expanded.seeds))} make one trial of the arm {arm.label}: with "
                    "init_from nothing is drawn from init_seed. Vary data_seed, or both with seed."
                )
            cells += of_arm
        evaluations = {evaluation_id(cell.trial): cell.arm.label for cell in cells}
        if len(evaluations) > 1:
            raise UsageError(
                f"The arms {' and '.join(evaluations.values())} are scored in different ways (evaluation or corpus "
                "differ), so they can't be compared. Run them as grids of their own."
            )
        plan = cls(command, tuple(cells), next(iter(evaluations)), Ledger(runs_dir))
        plan._check_lesson()
        return plan

    @cached_property
    def trials(self) -> dict[str, Cell]:
        """Each trial once, under the first cell that names it."""
        found: dict[str, Cell] = {}
        for cell in self.cells:
            found.setdefault(cell.trial_id, cell)
        return found

    @cached_property
    def arms(self) -> list[dict[str, Any]]:
        """The arms as the grid's record has them."""
        arms: dict[str, dict[str, Any]] = {}
        owner: dict[str, str] = {}
        for cell in self.cells:
            tasks: dict[str, float] = {}
            for part in checked_arms(cell.trial.objective):
                tasks[part.task.name] = tasks.get(part.task.name, 0.0) + part.probability
            empty = {
                "label": cell.arm.label,
                "options": cell.arm.options,
                "tasks": tasks,
                "trials": {},
                "same_as": None,
            }
            arm = arms.setdefault(cell.arm.label, empty)
            arm["trials"][str(cell.seeds)] = cell.trial_id
            first = owner.setdefault(cell.trial_id, cell.arm.label)
            if first != cell.arm.label:
                arm["same_as"] = first
        return list(arms.values())

    @cached_property
    def declaration(self) -> dict[str, Any]:
        """What the grid is to decide, fixed before it runs."""
        lesson = self.cells[0].arm.composed.grid.lesson
        factors = list(self.cells[0].arm.options)
        groups = {factor.split(".")[0] for factor in factors}
        return {
            **plain(lesson),
            "factors": factors,
            "matched_on": self.cells[0].trial.budget.matched_on,
            "pairing": "seed_only" if groups & set(DATA_GROUPS) else "windows",
            "looks": [len({cell.seeds for cell in self.cells})],
        }

    @cached_property
    def grid_id(self) -> str:
        """Of the arms' trials, their evaluation and the declaration: the same command gives the same grid."""
        return digest12([[[arm["label"], arm["trials"]] for arm in self.arms], self.evaluation_id, self.declaration])

    def is_done(self, trial_id: str) -> bool:
        """See `job.is_done`, for this grid's evaluation."""
        return is_done(self.ledger.trial(trial_id).record(), self.evaluation_id)

    def _is_scored(self, trial_id: str) -> bool:
        return self.evaluation_id in self.ledger.trial(trial_id).record()["evaluations"]

    def missing(self) -> dict[str, Cell]:
        """The trials that are still to run."""
        return {trial: cell for trial, cell in self.trials.items() if not self.is_done(trial)}

    def freeze_trials(self, trials: Iterable[str]) -> None:
        """Writes the config of trials that are about to run, as this grid wants them scored."""
        for trial in trials:
            cell = self.trials[trial]
            about = {
                "options": {**cell.arm.options, "seed": str(cell.seeds)},
                "choices": cell.arm.choices,
                "first_grid": self.grid_id,
                # What the id was made of, when it was made: `why` compares these.
                "semantic": semantic(cell.trial),
            }
            self.ledger.plan(trial, trial_to_container(cell.trial), about)

    def freeze(self, missing: Iterable[str]) -> None:
        """Writes the grid's record, or marks it as the newest, and the config of each trial that is to run."""
        # The grid first: a trial that no grid names may be swept.
        self._record()
        self.freeze_trials(missing)

    def _record(self) -> None:
        path = self.ledger.grid_path(self.grid_id)
        if path.exists():
            path.touch()
            return
        known = [trial for trial in self.trials if self._is_scored(trial)]
        record = {
            "format": FORMAT,
            "grid_id": self.grid_id,
            "command": self.command,
            "title": ", ".join(self.declaration["factors"]) or "one trial",
            "arms": self.arms,
            "declaration": self.declaration,
            "evaluation_id": self.evaluation_id,
            # What was declared after these were scored was declared with their results in sight.
            "known_before": known,
            "created_at": time.time(),
            "provenance": provenance(Path(__file__), self.ledger.runs_dir / "diffs", plugin_packages()),
        }
        write_json(path, record)

    def _check_lesson(self) -> None:
        labels = [arm["label"] for arm in self.arms]
        baseline = self.declaration["baseline"]
        if baseline is not None and baseline not in labels:
            raise UsageError(f"lesson.baseline={baseline}: no arm has this label. Allowed: {', '.join(labels)}.")
        budgets = {cell.trial.budget.matched_on for cell in self.cells}
        self._check_metric(baseline or labels[0])
        self._check_budgets()
        if len(budgets) > 1:
            raise UsageError(
                f"budget.matched_on differs between arms ({', '.join(sorted(budgets))}). One lesson is matched on one."
            )

    def _check_metric(self, baseline: str) -> None:
        """The primary metric is one that the arms will have, the baseline among them."""
        name = self.declaration["primary_metric"]
        where = f"lesson.primary_metric={name}"
        [trial, *_] = [cell.trial for cell in self.cells if cell.arm.label == baseline]
        known = [f"{known}{part}" for known in METRICS for part in ("", *map("/{}".format, trial.corpus.sources))]
        if name not in known:
            raise UsageError(f"{where}: no such metric. {nearest(name, known)}")
        if name.startswith("infill") and trial.evaluation.infill_documents_per_source == 0:
            raise UsageError(f"{where}: evaluation.infill_documents_per_source=0 scores no infilling. Raise it.")
        arms = checked_arms(trial.objective)
        if metric(name).asks_to_infill and infilling_arm(arms, active_infill(trial.infill, arms)) is None:
            raise UsageError(
                f"{where}: only arms that are trained to infill have it, and the baseline {baseline} is not. Choose "
                "another lesson.baseline, or lesson.primary_metric=infill_bpb_left, which every arm has."
            )

    def _check_budgets(self) -> None:
        """What would only be refused after the training is refused now."""
        tokens = {cell.arm.label: _budget_tokens(cell.trial) for cell in self.cells}
        shapes = {(cell.trial.scale, cell.trial.block, cell.trial.tokenizer.entries) for cell in self.cells}
        if len(shapes) > 1 and self.declaration["matched_on"] == "flops":
            raise UsageError(
                "budget.matched_on=flops gives each arm the operations of its own model's causal training: models "
                "of different shape can't be matched on it. Match them on source_tokens or loss_tokens."
            )
        if max(tokens.values()) > 1.01 * min(tokens.values()):
            given = ", ".join(f"{label} {count:,}" for label, count in tokens.items())
            raise UsageError(
                f"The arms' budgets differ by more than 1%, so no lesson could compare them: {given} tokens. "
                "Give them one budget.train_tokens, or run them as grids of their own."
            )


def _budget_tokens(trial: TrialConfig) -> int:
    """The tokens that the budget allows; in whole steps where it counts source tokens."""
    if trial.budget.matched_on != "source_tokens":
        return trial.budget.train_tokens
    per_step = trial.source_tokens_per_step
    return -(-trial.budget.train_tokens // per_step) * per_step
