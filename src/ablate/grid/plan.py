"""What the missing trials of a grid will take: tokens, FLOPs, memory and device hours, before anything is trained."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from ablate.config.parse import trial_to_container
from ablate.data.batches.compute_counts import compute_counts
from ablate.grid.cell import Cell
from ablate.grid.grid import Grid
from ablate.model.build import build_on_meta
from ablate.model.flops import training_flops
from ablate.model.memory import TrainingMemory, fitting_strategy, full_batch
from ablate.model.utilisation import peak_flops
from ablate.records.ledger import Ledger

# Main memory of a GPU in bytes, as its name in `utilisation.PEAK_FLOPS` is sold: the larger A100.
DEVICE_BYTES = {"A100": 80e9, "H100": 80e9, "H200": 141e9, "B200": 180e9}
# MFU for the fewest, the expected and the most hours. Published 1B to 8B trainings on H100 reach 0.4 to 0.5; ablate
# has not been measured there, hence the wide end.
PRIOR_MFU = (0.5, 0.4, 0.2)
# What the speed of a trial depends on, in its frozen config.
SPEED_KEYS = ("scale", "block", "architecture", "precision", "compile", "hardware")


@dataclass(frozen=True)
class Hours:
    """Device hours of training, without evaluation and data preparation.

    Attributes:
        source: `ledger` (speeds of finished trials of this shape and hardware) or `prior` (`PRIOR_MFU`).
    """

    low: float
    expected: float
    high: float
    source: str


@dataclass(frozen=True)
class ArmPlan:
    """What the missing trials of one arm take.

    Attributes:
        trials: number of missing trials.
        train_tokens: of all of them.
        flops: of all of them, as `model.flops` counts, if every row is one full causal segment with loss everywhere.
        memory: bytes per device by part.
        strategy: `single`, `ddp` or `fsdp`.
        fits: whether a device has that memory; None where the device is not known.
        hours: None where neither the ledger nor the device tells the speed.
    """

    label: str
    trials: int
    parameters: int
    train_tokens: int
    flops: float
    memory: TrainingMemory
    strategy: str
    fits: bool | None
    hours: Hours | None


def plan_arms(grid: Grid, device: str | None) -> tuple[ArmPlan, ...]:
    """Plan each arm that has missing trials at the grid's look.

    Args:
        device: a name in `DEVICE_BYTES`; None if not known.
    """
    missing: dict[str, list[Cell]] = {}
    for cell in grid.missing().values():
        missing.setdefault(cell.arm.label, []).append(cell)
    speeds = _speeds(grid.ledger)
    return tuple(_plan(label, cells, speeds, device) for label, cells in missing.items())


def total_hours(arms: tuple[ArmPlan, ...]) -> tuple[float, float, float] | None:
    """Return the lowest, expected and highest device hours together; None if those of an arm are unknown."""
    hours = [arm.hours for arm in arms if arm.hours is not None]
    if len(hours) < len(arms):
        return None
    return sum(each.low for each in hours), sum(each.expected for each in hours), sum(each.high for each in hours)


def _plan(label: str, cells: list[Cell], speeds: dict[str, list[float]], device: str | None) -> ArmPlan:
    trial = cells[0].trial
    model = build_on_meta(trial)
    counts = compute_counts(full_batch(trial, 1), trial.architecture)
    rows = len(cells) * trial.budget_rows
    flops = rows * training_flops(model, **vars(counts))
    tokens = len(cells) * trial.budget.train_tokens
    room = DEVICE_BYTES[device] if device else None
    # On devices of unknown memory the first strategy is taken to fit.
    strategy, memory = fitting_strategy(
        trial, devices=trial.hardware.ranks, room_bytes=math.inf if room is None else room
    )
    return ArmPlan(
        label=label,
        trials=len(cells),
        parameters=sum(weight.numel() for weight in model.parameters()),
        train_tokens=tokens,
        flops=flops,
        memory=memory,
        strategy=strategy,
        fits=None if room is None else memory.total <= room,
        hours=_hours(tokens, flops, speeds.get(_speed_key(trial_to_container(trial)), []), trial.precision, device),
    )


def _hours(tokens: int, flops: float, speeds: list[float], precision: str, device: str | None) -> Hours | None:
    if speeds:
        low, expected, high = (tokens / rate / 3600 for rate in (max(speeds), median(speeds), min(speeds)))
        return Hours(low, expected, high, "ledger")
    peak = peak_flops(device, precision) if device else None
    if peak is None:
        return None
    low, expected, high = (flops / (peak * mfu) / 3600 for mfu in PRIOR_MFU)
    return Hours(low, expected, high, "prior")


def _speeds(ledger: Ledger) -> dict[str, list[float]]:
    """Return the train tokens per second and device of finished trials, by what speed depends on."""
    speeds: dict[str, list[float]] = {}
    for config, speed in _measured(ledger):
        speeds.setdefault(_speed_key(config), []).append(speed)
    return speeds


def _measured(ledger: Ledger) -> Iterator[tuple[dict[str, Any], float]]:
    for folder in ledger.trials() if ledger.runs_dir.is_dir() else ():
        record = folder.record_or_problem()
        if not isinstance(record, str) and record.result is not None:
            speed = record.result.speed.get("train_tokens_per_second_per_device")
            if speed:
                yield folder.frozen(), speed


def _speed_key(config: dict[str, Any]) -> str:
    parts = [config.get(key) for key in SPEED_KEYS]
    shape = [config["tokenizer"]["vocab_size"], config["budget"]["rows_per_step"]]
    return json.dumps([*parts, *shape], sort_keys=True, default=str)
