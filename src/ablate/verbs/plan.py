"""`plan`: predict what the missing trials of a grid or tuning take."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.config.trial import TrialConfig
from ablate.console import make_console, say
from ablate.errors import UsageError
from ablate.grid.effect import planned_effect
from ablate.grid.fit import remedy
from ablate.grid.grid import Grid
from ablate.grid.hours import Speeds
from ablate.grid.machine import check_machine
from ablate.grid.plan import DEVICE_BYTES, Planner, Range, disk, missing_trials, total_hours, total_price
from ablate.scheduling.launcher import Launcher
from ablate.verbs.json_output import print_json
from ablate.verbs.plan_json import PlanJson
from ablate.verbs.plan_text import show

if TYPE_CHECKING:
    from ablate.tuning.tuning import Tuning


@dataclass(frozen=True)
class Budget:
    """What the trials may take.

    Attributes:
        unit: `h` for device hours or `usd`.
    """

    amount: float
    unit: str

    @classmethod
    def of(cls, text: str) -> "Budget":
        """Read a budget as it is typed. Raises UsageError."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:(h|hours?)|usd)", text, re.IGNORECASE)
        if not match:
            raise UsageError(
                f"--budget {text}: takes device hours or US dollars, a number with its unit. Type --budget 300h or "
                "--budget 5000usd"
            )
        return cls(float(match[1]), "h" if match[2] else "usd")

    def __str__(self) -> str:
        return f"{self.amount:g} device hours" if self.unit == "h" else f"{self.amount:,g} US dollars"

    def has(self, hours: Range | None, price: Range | None) -> bool:
        """Whether the expected amount is within the budget. Raises UsageError where it is not known."""
        if hours is None:
            raise UsageError(
                "--budget: the hours are not known, because no finished trial of this shape and hardware is in the "
                "ledger. Type hardware=gpu precision=bf16 --device H100 for an estimate, --measure to measure here, "
                "or run one trial first."
            )
        if self.unit == "h":
            return hours.expected <= self.amount
        if price is None:
            raise UsageError(
                "--budget: the price of a device hour is not known. Type hardware.price_per_device_hour=DOLLARS "
                "hardware.price_date=YYYY-MM-DD too."
            )
        return price.expected <= self.amount


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Print the plan of a grid; 1 if more is expected than --budget has."""
    return _plan(grid, {}, names, launcher, console)


def of_tuning(tuning: "Tuning", names: list[str], launcher: Launcher, console: Console) -> int:
    """Print the plan of a tuning: the candidates that are to come, and the grid of the tuned arms."""
    from ablate.tuning.run import ended_candidates, recorded_grid

    left = {label: max(0, tuning.n_trials - ended) for label, ended in ended_candidates(tuning).items()}
    is_tuned = not any(left.values()) and len(tuning.metrics) == 1
    grid = recorded_grid(tuning) if is_tuned else tuning.untuned_grid()
    candidates = {label: [tuning.sample(tuning.searches[label]).trial] * count for label, count in left.items()}
    return _plan(grid, candidates, names, launcher, console)


def _plan(
    grid: Grid,
    candidates: Mapping[str, Sequence[TrialConfig]],
    names: Sequence[str],
    launcher: Launcher,
    console: Console,
) -> int:
    options = dict(name.split("=", 1) for name in names if "=" in name)
    budget = Budget.of(options["--budget"]) if "--budget" in options else None
    device = options.get("--device")
    is_json = "--json" in names
    messages = make_console(stderr=True) if is_json else console
    _check_options(grid, names, device, messages)
    last = grid.at(grid.looks[-1])
    trials, later = missing_trials(grid), missing_trials(last)
    fitting = None
    if "--fit" in names and device:
        fitting = remedy(
            {**later, **{f"tuning {label}": of_arm for label, of_arm in candidates.items()}}, DEVICE_BYTES[device]
        )
        if fitting is not None:
            candidates, trials, later = (
                {label: [fitting.on(trial) for trial in of_arm] for label, of_arm in each.items()}
                for each in (candidates, trials, later)
            )
    planner = Planner(Speeds(grid.ledger, device, measures="--measure" in names), device)
    plan = _planned(grid, planner, candidates, trials, later, launcher)
    plan = replace(
        plan,
        fitting_options=None if fitting is None else str(fitting),
        is_within_budget=None if budget is None else budget.has(plan.hours, plan.price),
    )
    if is_json:
        print_json(plan)
    else:
        show(plan, console, wants_fit="--fit" in names)
    if plan.is_within_budget is False:
        say(messages, f"Above the budget of {budget}.")
    return int(plan.is_within_budget is False)


def _check_options(grid: Grid, names: Sequence[str], device: str | None, console: Console) -> None:
    """Raise UsageError for flags that the configuration contradicts."""
    if device and any(cell.trial.hardware.accelerator == "cpu" for cell in grid.cells):
        raise UsageError(f"--device {device}: is a GPU, and hardware.accelerator is cpu. Type hardware=gpu")
    if "--fit" in names and not device:
        raise UsageError("--fit: needs --device, because what fits depends on it. Type --device H100")
    if "--measure" in names:
        check_machine([cell.trial for cell in grid.cells], lambda text: say(console, text))


def _planned(
    grid: Grid,
    planner: Planner,
    candidates: Mapping[str, Sequence[TrialConfig]],
    trials: Mapping[str, Sequence[TrialConfig]],
    later: Mapping[str, Sequence[TrialConfig]],
    launcher: Launcher,
) -> PlanJson:
    to_tune, arms, at_last = (planner.arms(each) for each in (candidates, trials, later))
    every, most = (*to_tune, *arms), (*to_tune, *at_last)
    sizes = [arm.parameters for arm in at_last]
    dates = [cell.trial.hardware.price_date for cell in grid.cells]
    return PlanJson(
        schema="ablate/plan",
        version=1,
        grid_id=grid.grid_id,
        finished=len(grid.trials) - sum(arm.trials for arm in arms),
        candidates=to_tune,
        arms=arms,
        hours=total_hours(every),
        price=total_price(every),
        price_date=min((date for date in dates if date is not None), default=None),
        disk=disk(every, launcher.parallel),
        most_trials=sum(arm.trials for arm in most),
        most_hours=total_hours(most),
        most_price=total_price(most),
        effect=planned_effect(grid, median(sizes)) if sizes else None,
        fitting_options=None,
        is_within_budget=None,
    )
