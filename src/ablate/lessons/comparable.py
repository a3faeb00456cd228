"""Whether the arms of a grid can be compared: equal budgets and, where they are paired, the same windows."""

from collections.abc import Collection
from itertools import combinations

from ablate.lessons.grid_results import GridResults
from ablate.records.grid import ArmRecord, by_rung
from ablate.records.trial import TrialRecord

MAX_UNMATCHED_FRACTION = 0.01
# The fraction of the shorter arm that the last digest logged by both arms must cover.
MIN_CHECKED_FRACTION = 0.9


class IncomparableError(RuntimeError):
    """The arms can't be compared."""


def check_comparable(results: GridResults) -> None:
    """Check that the arms, with a ladder those of each rung, had the same budget and data.

    Raises:
        IncomparableError: budgets differ by more than 1%, or, where the declaration pairs windows, arms read
            different windows under one seed.
    """
    for arms in by_rung(results.arms, results.declaration.over).values():
        _check_matched(results, [arm.label for arm in arms])
        if results.declaration.pairing == "windows":
            _check_paired(results, [arm.label for arm in arms])


def _check_matched(results: GridResults, labels: Collection[str]) -> None:
    matched_on = results.declaration.matched_on
    accounting = results.accounting()
    if accounting.empty:
        return
    counts = accounting.loc[accounting.index.isin(labels), matched_on]
    if counts.max() > (1 + MAX_UNMATCHED_FRACTION) * counts.min():
        budgets = ", ".join(f"{arm} {count:,.0f}" for arm, count in counts.items())
        raise IncomparableError(
            f"The arms differ by {counts.max() / counts.min() - 1:.1%} in {matched_on}, on which the lesson is "
            f"matched: {budgets}. At most {MAX_UNMATCHED_FRACTION:.0%} is allowed."
        )


def _check_paired(results: GridResults, labels: Collection[str]) -> None:
    by_seed: dict[str, list[tuple[ArmRecord, TrialRecord]]] = {}
    ends: dict[str, set[tuple[int, str]]] = {}
    for arm, seed, record in results.of_trials():
        if arm.label in labels and record.result and results.scores(record):
            by_seed.setdefault(seed, []).append((arm, record))
            counters = record.result.counters
            ends.setdefault(seed, set()).add((counters.train_tokens, counters.windows))
    for seed, of_seed in by_seed.items():
        # Arms with equal tokens have equal last digests. Logs are compared only where tokens differ.
        if len(ends[seed]) > 1:
            _check_logs_paired(results, seed, of_seed)


def _check_logs_paired(results: GridResults, seed: str, of_seed: list[tuple[ArmRecord, TrialRecord]]) -> None:
    chains = []
    for arm, record in of_seed:
        rows = results.logs.history([record.trial_id], (), ["data/train_tokens", "data/windows"])
        tokens = rows["data/train_tokens"].astype(int)
        chains.append((arm.label, dict(zip(tokens, rows["data/windows"].astype(str), strict=True))))
    for (arm_a, a), (arm_b, b) in combinations(chains, 2):
        shared = a.keys() & b.keys()
        shorter = min(max(a), max(b))
        if not shared or max(shared) < MIN_CHECKED_FRACTION * shorter:
            raise IncomparableError(
                f"With seed {seed} the arms {arm_a} and {arm_b} were logged at different steps, so it is "
                "unknown whether they read the same windows. Run both with the same tracking.log_every_steps, "
                "in another runs_dir."
            )
        if a[max(shared)] != b[max(shared)]:
            raise IncomparableError(
                f"With seed {seed} the arms {arm_a} and {arm_b} read different windows, so they are not paired. "
                "If the data is what you compare, sweep its group (corpus, mixture, tokenizer or scale)."
            )
