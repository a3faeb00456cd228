"""`plan`: predict what the missing trials of a grid take."""

import re
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.console import counted, say, short
from ablate.errors import UsageError
from ablate.grid.grid import Grid
from ablate.grid.plan import PRIOR_MFU, ArmPlan, Hours, plan_arms, total_hours
from ablate.scheduling.launcher import Launcher
from ablate.verbs.json_output import print_json

REMEDY = "a smaller hardware.micro_batch_rows, scale.activation_checkpointing=full, or hardware.strategy=fsdp"


@dataclass(frozen=True)
class PlanJson:
    """What --json prints.

    Attributes:
        finished: number of trials that cost nothing.
        hours: device hours together, lowest, expected and highest; None where those of an arm are unknown.
        most_trials: missing trials if every arm runs until the last look.
        most_hours: their device hours.
        is_within_budget: None without --budget.
    """

    schema: str
    version: int
    grid_id: str
    finished: int
    arms: tuple[ArmPlan, ...]
    hours: tuple[float, float, float] | None
    most_trials: int
    most_hours: tuple[float, float, float] | None
    is_within_budget: bool | None


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Print the plan; 1 if more hours are expected than --budget has."""
    options = dict(name.split("=", 1) for name in names if "=" in name)
    budget = _budget(options.get("--budget"))
    device = options.get("--device")
    if device and any(cell.trial.hardware.accelerator == "cpu" for cell in grid.cells):
        raise UsageError(f"--device {device}: is a GPU, and hardware.accelerator is cpu. Type hardware=gpu")
    arms = plan_arms(grid, device)
    last = grid.at(grid.looks[-1])
    later = arms if last is grid else plan_arms(last, device)
    hours = total_hours(arms)
    if budget is not None and hours is None:
        raise UsageError(
            "--budget: the hours are not known, because no finished trial of this shape and hardware is in the ledger. "
            "Type hardware=gpu precision=bf16 --device H100 for an estimate, or run one trial first."
        )
    is_within = None if budget is None or hours is None else hours[1] <= budget
    most = sum(arm.trials for arm in later)
    finished = len(grid.trials) - sum(arm.trials for arm in arms)
    plan = PlanJson("ablate/plan", 1, grid.grid_id, finished, arms, hours, most, total_hours(later), is_within)
    if "--json" in names:
        print_json(plan)
    else:
        _show(plan, console)
    if is_within is False:
        say(console if "--json" not in names else Console(stderr=True), f"Above the budget of {budget:g} device hours.")
    return int(is_within is False)


def _budget(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?h(?:ours)?", text)
    if not match:
        raise UsageError(f"--budget {text}: takes device hours, a number with its unit. Type --budget 300h")
    return float(match[1])


def _show(plan: PlanJson, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("arm", "to run", "parameters", "tokens", "FLOPs", "memory", "strategy", "device hours"):
        table.add_column(header)
    for arm in plan.arms:
        fits = {None: "", True: ", fits", False: ", [red]does not fit[/]"}[arm.fits]
        table.add_row(
            escape(arm.label),
            str(arm.trials),
            short(arm.parameters),
            short(arm.train_tokens),
            f"{arm.flops:.2e}",
            f"{arm.memory.total / 1e9:.1f} GB{fits}",
            arm.strategy,
            _hours(total_hours((arm,))),
        )
    console.print(table)
    for memory, labels in _by_memory(plan.arms).items():
        say(console, f"Memory per device, {', '.join(labels)}: {memory}.")
    to_run = sum(arm.trials for arm in plan.arms)
    say(console, f"{counted(to_run, 'trial')} to run, {plan.finished} finished. Device hours: {_hours(plan.hours)}.")
    if plan.most_trials > to_run:
        say(
            console, f"If no arm is decided before the last look: {plan.most_trials} trials, {_hours(plan.most_hours)}."
        )
    if any(arm.fits is False for arm in plan.arms):
        say(console, f"Where a step does not fit, take {REMEDY}, more devices or a smaller scale.")
    for text in dict.fromkeys(_source(arm.hours) for arm in plan.arms):
        say(console, text)


def _by_memory(arms: tuple[ArmPlan, ...]) -> dict[str, list[str]]:
    by_memory: dict[str, list[str]] = {}
    for arm in arms:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in vars(arm.memory).items() if size)
        by_memory.setdefault(f"{parts} GB", []).append(arm.label)
    return by_memory


def _hours(hours: tuple[float, float, float] | None) -> str:
    return "not known" if hours is None else f"{hours[1]:.3g} ({hours[0]:.3g} to {hours[2]:.3g})"


def _source(hours: Hours | None) -> str:
    if hours is None:
        return "Hours are not known without a finished trial of the same shape and hardware, or --device in bf16."
    if hours.source == "ledger":
        return "Hours follow from the speed of finished trials in this ledger. Evaluation is not counted."
    fast, expected, slow = (f"{mfu:.0%}" for mfu in PRIOR_MFU)
    return f"Hours are not measured: they assume an MFU of {expected} ({fast} to {slow}). Evaluation is not counted."
