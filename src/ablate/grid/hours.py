"""Device hours of training: from speeds that the ledger or this machine has shown, else from a prior."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, median
from typing import Any

from ablate.config.parse import trial_to_container
from ablate.config.trial import TrialConfig
from ablate.console import short
from ablate.errors import UsageError
from ablate.grid.machine import measured_gflops
from ablate.model.peak_flops import peak_flops
from ablate.records.ledger import Ledger, TrialFolder

# MFU for the fewest, the expected and the most hours. Published 1B to 8B trainings on H100 reach 0.4 to 0.5; ablate
# has not been measured there, hence the wide end.
PRIOR_MFU = (0.5, 0.4, 0.2)
# What the speed of a trial depends on, in its frozen config, and what of its hardware and scale has no part in it.
SPEED_KEYS = ("scale", "block", "architecture", "precision", "compile", "hardware")
PRICE_KEYS = ("price_per_device_hour", "price_date")
VALUE_KEYS = ("init_std", "usual_learning_rate")
# Finished trials whose configs are read: more would tell no more of the speed.
MOST_READ = 200
# The longest step that is worth measuring.
MOST_STEP_SECONDS = 60


@dataclass(frozen=True)
class Hours:
    """Device hours of training, without evaluation and data preparation.

    Attributes:
        source: `ledger` (speeds of finished trials of this shape and hardware), `measured` (steps on this machine) or
            `prior` (`PRIOR_MFU`).
    """

    low: float
    expected: float
    high: float
    source: str

    @classmethod
    def at(cls, tokens: int, rates: Sequence[float], source: str) -> "Hours":
        """Return the hours at the highest, expected and lowest rate, in train tokens per second and device."""
        low, expected, high = (tokens / rate / 3600 for rate in rates)
        return cls(low, expected, high, source)


class Speeds:
    """Tells how long trials take.

    Args:
        ledger: its finished trials tell speeds; it need not exist.
        device: the GPU that trials run on, a name in `peak_flops.PEAK_FLOPS`; None if not known.
        measures: whether to measure shapes on this machine that the ledger knows nothing of.
    """

    def __init__(self, ledger: Ledger, device: str | None, *, measures: bool = False) -> None:
        self._ledger = ledger
        self._device = device
        self._measures = measures
        self._known: dict[int, dict[str, list[float]]] = {}
        self._measured: dict[str, tuple[float, float, float]] = {}

    def hours(self, trial: TrialConfig, parameters: int, tokens: int, flops: float) -> Hours | None:
        """Return the device hours of so many train tokens; None where nothing tells the speed.

        Args:
            trial: one of those that read the tokens.
            parameters: of its model.
            flops: of all these tokens.

        Raises:
            UsageError: a shape that is to be measured and is too large for this machine.
        """
        key = speed_key(trial_to_container(trial))
        if rates := self._of_ledger(parameters).get(key):
            return Hours.at(tokens, (max(rates), median(rates), min(rates)), "ledger")
        if self._measures:
            if key not in self._measured:
                self._measured[key] = _measured(trial, flops * trial.train_tokens_per_step / tokens)
            return Hours.at(tokens, self._measured[key], "measured")
        peak = peak_flops(self._device, trial.precision) if self._device else None
        if peak is None:
            return None
        return Hours.at(tokens, [tokens / flops * peak * mfu for mfu in PRIOR_MFU], "prior")

    def _of_ledger(self, parameters: int) -> dict[str, list[float]]:
        """Return the rates of finished trials with so many parameters, by what speed depends on."""
        if parameters not in self._known:
            rates = self._known[parameters] = {}
            for folder, rate in self._finished.get(parameters, [])[:MOST_READ]:
                rates.setdefault(speed_key(folder.frozen()), []).append(rate)
        return self._known[parameters]

    @cached_property
    def _finished(self) -> dict[int, list[tuple[TrialFolder, float]]]:
        """Number of parameters → finished trials and their train tokens per second and device."""
        finished: dict[int, list[tuple[TrialFolder, float]]] = {}
        for folder in self._ledger.trials():
            record = folder.record_or_problem()
            result = None if isinstance(record, str) else record.result
            if result is not None and (rate := result.speed.get("train_tokens_per_second_per_device")):
                finished.setdefault(result.parameters, []).append((folder, rate))
        return finished


def speed_key(config: dict[str, Any]) -> str:
    """Return what the speed of a trial depends on, from its config as a plain container."""
    parts = {key: config.get(key) for key in SPEED_KEYS}
    parts["hardware"] = {key: value for key, value in config["hardware"].items() if key not in PRICE_KEYS}
    parts["scale"] = {key: value for key, value in config["scale"].items() if key not in VALUE_KEYS}
    shape = [config["tokenizer"]["vocab_size"], config["budget"]["rows_per_step"], config["optimizer"]["kind"]]
    return json.dumps([*parts.values(), *shape], sort_keys=True, default=str)


def _measured(trial: TrialConfig, step_flops: float) -> tuple[float, float, float]:
    """Measure some steps and return the highest, mean and lowest rate, in train tokens per second and device."""
    # Imports Lightning, which a plan does not need otherwise.
    from ablate.training.measure import step_seconds
    from ablate.training.strategy import uses_gpu

    if not uses_gpu(trial):
        rate = max(measured_gflops(trial.hardware.threads_per_trial)) * 1e9
        if (expected := step_flops / trial.hardware.ranks / rate) > MOST_STEP_SECONDS:
            raise UsageError(
                f"--measure: a step of {trial.budget.rows_per_step} rows takes {short(step_flops)} operations, some "
                f"{short(expected)} seconds on this machine. Measure on the machine that is to train, or leave "
                "--measure out and type --device."
            )
    seconds = sorted(step_seconds(trial))
    tokens = trial.train_tokens_per_step / trial.hardware.ranks
    tenth = len(seconds) // 10
    return tokens / seconds[tenth], tokens / mean(seconds), tokens / max(mean(seconds), seconds[-1 - tenth])
