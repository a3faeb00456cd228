"""Ledgers as a grid leaves them, with known values."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ablate.files import write_json
from ablate.lessons.grid_results import GridResults
from ablate.records.ledger import FORMAT, Ledger
from ablate.records.ledger_logs import LedgerLogs


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
    arms: list[dict[str, Any]] = []
    trials: dict[str, dict[str, str]] = {}
    for index, (label, offset) in enumerate(offsets.items()):
        trials[label] = {str(seed): f"{index:06}{seed:06}" for seed in range(seeds)}
        tasks = {"causal": 1.0} if index == 0 else {"causal": 0.5, "span_corruption": 0.5}
        arms.append(
            {"label": label, "options": {"objective": label}, "tasks": tasks, "trials": trials[label], "same_as": None}
        )
        for seed, trial in trials[label].items():
            value = 2 + offset + 0.1 * int(seed) + float(noise[index, int(seed)])
            folder = ledger.trial(trial)
            folder.update(
                status="finished",
                counters={"steps": 2, "train_tokens": 1000, "loss_tokens": 990, "flops": 1e9, "windows": f"w{seed}"},
                training_seconds=1.0,
                parameters=10 + index,
                evaluations={"eval": {"bpb_full": value, "bpb_full/code": value + 0.1, "bpb_full_unigram": 3.0}},
            )
            rows = [
                {"step": step, "data/train_tokens": 500 * step, "train/loss": 4.0 / step, "data/windows": f"w{seed}"}
                for step in (1, 2)
            ]
            folder.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = {
        "format": FORMAT,
        "grid_id": "0" * 12,
        "command": "python -m ablate -m objective=…",
        "title": "objective",
        "arms": arms,
        "evaluation_id": "eval",
        "known_before": [],
        "declaration": {
            "question": None,
            "primary_metric": "bpb_full",
            "smallest_effect": 0.02,
            "baseline": None,
            "confidence": 0.95,
            "factors": ["objective"],
            "matched_on": "train_tokens",
            "pairing": "windows",
            "looks": [seeds],
            **declared,
        },
    }
    write_json(ledger.grid_path("0" * 12), record)
    return GridResults(LedgerLogs(ledger), ledger.grid("0" * 12)), trials
