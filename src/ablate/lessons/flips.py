"""Problems that flip between two arms: one solves them in some trial, the other in none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from ablate.lessons.grid_results import GridResults
from ablate.records.grid import ArmRecord

PASS = "_pass@1"
# Metrics whose value of one problem is the fraction of right tries.
METRICS = (PASS, "_exact", "_exact_match")


@dataclass(frozen=True)
class Attempt:
    """What an arm wrote for a problem, and what came of it.

    Attributes:
        outcome: `passed`, or how it failed and why.
    """

    text: str
    outcome: str


@dataclass(frozen=True)
class Flip:
    """A problem that one arm of two solves.

    Attributes:
        solver: the arm that solves it.
        fraction: of that arm's tries over all seeds, those that do.
        prompt: what both arms read; "" where no programs were kept.
        attempts: by arm: of the solver the first program that passes, of the other its first.
    """

    problem: str
    solver: str
    fraction: float
    prompt: str
    attempts: Mapping[str, Attempt]


@dataclass(frozen=True)
class Flips:
    """The flipped problems of two arms under one metric, those of the largest fraction first."""

    metric: str
    arm: str
    other: str
    flips: Sequence[Flip]

    def solved_by(self, arm: str) -> list[Flip]:
        """Return the problems that this arm alone solves."""
        return [flip for flip in self.flips if flip.solver == arm]


@dataclass(frozen=True)
class FlipFinder:
    """Finds the flipped problems of a grid's arms, over the seeds that both arms have scores of."""

    results: GridResults

    def pairs(self) -> list[tuple[str, str]]:
        """Return the arms of all declared contrasts of two."""
        weighted = [sorted(contrast.weights.items(), key=lambda term: -term[1]) for contrast in self.results.contrasts]
        return list(dict.fromkeys((terms[0][0], terms[1][0]) for terms in weighted if len(terms) == 2))

    def of_pair(self, arm: str, other: str, most_programs: int) -> Iterator[Flips]:
        """Yield the flips of two arms by metric.

        Args:
            arm: label of one arm.
            other: label of the other.
            most_programs: read the programs of so many problems of each arm.
        """
        for metric in sorted(name for name in self._fractions if name.endswith(METRICS)):
            table = self._fractions[metric]
            seeds = [
                seed
                for seed, trial in self._arm(arm).trials.items()
                if trial in table.index and self._arm(other).trials.get(seed) in table.index
            ]
            if not seeds:
                continue
            means = {
                label: table.loc[[self._arm(label).trials[seed] for seed in seeds]].mean() for label in (arm, other)
            }
            flips = []
            for label, missed in ((arm, other), (other, arm)):
                solved = means[label][(means[label] > 0) & (means[missed] == 0)]
                # A stable sort: equal fractions stay in the order of the problems.
                ordered = solved.sort_values(ascending=False, kind="stable")
                for number, (problem, fraction) in enumerate(ordered.items()):
                    programs = self._programs(metric, (label, missed), seeds) if number < most_programs else None
                    flips.append(_flip(str(problem), label, missed, float(fraction), programs))
            yield Flips(metric, arm, other, flips)

    def _arm(self, label: str) -> ArmRecord:
        return next(arm for arm in self.results.arms if arm.label == label)

    @property
    def _suites(self) -> list[str]:
        """The ids of the suites with such metrics: those of single problems."""
        records = self.results.records.values()
        return [
            suite
            for suite in self.results.grid.suite_ids
            if any(metric.endswith(METRICS) for record in records for metric in record.evaluations.get(suite, ()))
        ]

    @cached_property
    def _fractions(self) -> dict[str, pd.DataFrame]:
        """Metric → fraction of right tries: a row per trial, a column per problem."""
        rows = self.results.documents(self._suites)
        if rows.empty:
            return {}
        rows["fraction"] = rows["amount"] / rows["units"]
        return {
            str(metric): of_metric.pivot_table("fraction", "trial", "document", sort=False)
            for metric, of_metric in rows.groupby("metric", sort=False)
            if str(metric).endswith(METRICS)
        }

    def _programs(self, metric: str, labels: Sequence[str], seeds: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Return label → programs of an arm, by seed and sample; nothing where none were kept."""
        suite = self.results.grid.suites.get(metric.removesuffix(PASS))
        if suite is None:
            return {}
        programs: dict[str, pd.DataFrame] = {}
        for label in labels:
            key = (suite, label, *seeds)
            if key not in self._known_programs:
                tables = [self.results.logs.programs(self._arm(label).trials[seed], suite) for seed in seeds]
                kept = [table for table in tables if table is not None]
                self._known_programs[key] = pd.concat(kept, ignore_index=True) if kept else None
            table = self._known_programs[key]
            if table is not None:
                programs[label] = table
        return programs

    @cached_property
    def _known_programs(self) -> dict[tuple[str, ...], pd.DataFrame | None]:
        """What `_programs` has read."""
        return {}


def _flip(problem: str, solver: str, missed: str, fraction: float, programs: Mapping[str, pd.DataFrame] | None) -> Flip:
    attempts, prompt = {}, ""
    for label in (solver, missed):
        table = (programs or {}).get(label)
        if table is None:
            continue
        rows = table[table["problem"] == problem]
        rows = rows[rows["outcome"] == "passed"] if label == solver else rows
        if not rows.empty:
            first = rows.iloc[0]
            outcome = f"{first['outcome']}: {first['reason']}" if first["reason"] else str(first["outcome"])
            attempts[label] = Attempt(str(first["text"]), outcome)
            prompt = str(first.get("prompt", ""))
    return Flip(problem, solver, fraction, prompt, attempts)
