"""Ledgers as a grid leaves them, with known values."""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.evaluation.suite import SUITES, metrics_of
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ArmRecord, ContrastRecord, Declaration, GridRecord
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.schema import write
from ablate.records.trial import Counts, Status, TrainResult


def ledger_of(results: GridResults) -> Ledger:
    assert isinstance(results.logs, LedgerLogs)
    return results.logs.ledger


def folder_of(results: GridResults) -> Path:
    return ledger_of(results).lesson_folder(results.grid_id)


def make_grid(
    tmp_path: Path, offsets: dict[str, float], seeds: int = 3, **declared: Any
) -> tuple[GridResults, dict[str, dict[str, str]]]:
    """A ledger as a grid leaves it, with known values: offset + seed effect + a little noise."""
    ledger = Ledger(tmp_path / "runs")
    rng = np.random.default_rng(5)
    noise = rng.normal(scale=0.002, size=(len(offsets), seeds))
    arms: list[ArmRecord] = []
    trials: dict[str, dict[str, str]] = {}
    for index, (label, offset) in enumerate(offsets.items()):
        trials[label] = {str(seed): f"{index:06}{seed:06}" for seed in range(seeds)}
        tasks = {"causal": 1.0} if index == 0 else {"causal": 0.5, "span_corruption": 0.5}
        arms.append(ArmRecord(label, {"objective": label}, tasks, trials[label]))
        for seed, trial in trials[label].items():
            value = 2 + offset + 0.1 * int(seed) + float(noise[index, int(seed)])
            folder = ledger.trial(trial)
            folder.update(
                status=Status.FINISHED,
                result=TrainResult(Counts(2, 1000, 1000, 990, 0, 1e9, f"w{seed}"), 1.0, 10 + index, "data"),
                evaluations={"eval": {"bpb_full": value, "bpb_full/code": value + 0.1, "bpb_full_unigram": 3.0}},
            )
            rows = [
                {"step": step, "data/train_tokens": 500 * step, "train/loss": 4.0 / step, "data/windows": f"w{seed}"}
                for step in (1, 2)
            ]
            folder.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    baseline = declared.get("baseline") or next(iter(offsets))
    declaration = Declaration(
        primary_metric="bpb_full",
        smallest_effect=0.02,
        confidence=0.95,
        contrasts=tuple(
            ContrastRecord(label, "bpb_full", {label: 1.0, baseline: -1.0}) for label in offsets if label != baseline
        ),
        factors=("objective",),
        matched_on="train_tokens",
        pairing="windows",
        looks=(seeds,),
    )
    grid = GridRecord(
        grid_id="0" * 12,
        command="python -m ablate -m objective=…",
        title="objective",
        arms=tuple(arms),
        declaration=replace(declaration, **declared),
        suites={"bits_per_byte": "eval"},
        metrics=tuple(metrics_of(SUITES).values()),
        created_at=1.0,
    )
    write(ledger.grid_path(grid.grid_id), grid)
    return GridResults(LedgerLogs(ledger), grid), trials


def with_changes(results: GridResults, **changes: Any) -> GridResults:
    """The results of a grid whose record has other values."""
    return GridResults(results.logs, replace(results.grid, **changes))


# Label and seed → bits per byte that each document `[source, document]` adds to a trial's score.
Bits = Callable[[str, int], NDArray[np.float64]]
SOURCES = ("code", "english")


def with_documents(
    results: GridResults, documents: int, bits: Bits, seeds: Collection[str] | None = None
) -> GridResults:
    """The results with scores of `documents` documents a source, of different lengths, and the scores they add up to.

    Args:
        seeds: those whose trials keep scores of documents; None for all.
    """
    units = np.random.default_rng(0).integers(50, 150, size=(len(SOURCES), documents)).astype(float)
    for arm in results.arms:
        for seed, trial in arm.trials.items():
            if seeds is not None and seed not in seeds:
                continue
            folder = ledger_of(results).trial(trial)
            scores = folder.record().evaluations["eval"]
            amounts = (scores["bpb_full"] + bits(arm.label, int(seed))) * units
            tables = [
                pd.DataFrame(
                    {
                        "metric": "bpb_full",
                        "source": source,
                        "document": [f"{source}/{number}" for number in range(documents)],
                        "amount": amounts[index],
                        "units": units[index],
                    }
                )
                for index, source in enumerate(SOURCES)
            ]
            path = folder.evaluation_path("eval")
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.concat(tables).to_parquet(path)
            ratios = (amounts.sum(axis=1) / units.sum(axis=1)).tolist()
            of_sources = {f"bpb_full/{source}": ratio for source, ratio in zip(SOURCES, ratios, strict=True)}
            scores = {**scores, **of_sources, "bpb_full": float(np.mean(ratios))}
            folder.update(evaluations={"eval": scores})
    return GridResults(results.logs, results.grid)


def change_counts(folder: TrialFolder, **counts: Any) -> None:
    """Replace counters in a trial's record."""
    result = folder.record().result
    assert result is not None
    folder.update(result=replace(result, counters=replace(result.counters, **counts)))


def verdicts(lesson: Lesson) -> dict[str, str]:
    """The verdicts as they are shown."""
    return {name: str(verdict) for name, verdict in lesson.verdicts.items()}
