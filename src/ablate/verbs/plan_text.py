"""The plan of a grid or tuning for a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.console import counted, listed, say, short
from ablate.grid.effect import PlannedEffect
from ablate.grid.hours import PRIOR_MFU, Hours
from ablate.grid.plan import ArmPlan, Range, total_hours
from ablate.verbs.plan_json import PlanJson


def show(plan: PlanJson, console: Console, *, wants_fit: bool) -> None:
    """Print a plan.

    Args:
        wants_fit: whether the command asked for settings that fit.
    """
    if plan.candidates:
        say(console, f"[bold]Tuning[/]: {_trials(plan.candidates, 'candidate')}, at most.", markup=True)
        console.print(_table(plan.candidates, "candidates"))
        say(console, "Then the grid of the tuned arms:")
    console.print(_table(plan.arms, "to run"))
    every = (*plan.candidates, *plan.arms)
    for memory, labels in _by_memory(every).items():
        say(console, f"Memory per device, {listed(labels)}: {memory}.")
    for text in _sentences(plan, every, wants_fit=wants_fit):
        say(console, text)


def _table(arms: Iterable[ArmPlan], count: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("arm", count, "parameters", "tokens", "FLOPs", "memory", "strategy", "device hours"):
        table.add_column(header)
    for arm in arms:
        fits = {None: "", True: ", fits", False: ", [red]does not fit[/]"}[arm.fits]
        table.add_row(
            escape(arm.label),
            str(arm.trials),
            short(arm.parameters),
            short(arm.train_tokens),
            f"{arm.flops:.2e}",
            f"{arm.memory.total / 1e9:.1f} GB{fits}",
            arm.strategy,
            _range(total_hours((arm,))),
        )
    return table


def _sentences(plan: PlanJson, every: Sequence[ArmPlan], *, wants_fit: bool) -> Iterator[str]:
    to_run = sum(arm.trials for arm in every)
    yield f"{_trials(every, 'trial')} to run, {plan.finished} finished. Device hours: {_range(plan.hours)}."
    if plan.price_date is not None:
        yield f"Price: {_dollars(plan.price)}, by the price of {plan.price_date}."
    yield (
        f"Disk: {_size(plan.disk.kept)} of weights stay (model.pt), and at most {_size(plan.disk.peak)} are in use "
        "while trials save checkpoints."
    )
    if plan.most_trials > to_run:
        price = f", {_dollars(plan.most_price)}" if plan.price_date is not None else ""
        yield (
            f"If no arm is decided before the last look: {plan.most_trials} trials, "
            f"{_range(plan.most_hours)} device hours{price}."
        )
    if plan.effect is not None:
        yield from _effect(plan.effect, has_looks=plan.most_trials > to_run)
    yield from _fit(plan, every, wants_fit=wants_fit)
    if plan.candidates:
        yield "Candidates that the pruner stops cost less; all are planned with the shape of their arm."
    yield from dict.fromkeys(_source(arm.hours) for arm in every)


def _effect(effect: PlannedEffect, *, has_looks: bool) -> Iterator[str]:
    noise = effect.noise
    if noise is None:
        yield (
            f"Detectable effect: not known, because no grid of this ledger has two arms and two seeds with "
            f"{effect.metric}."
        )
        return
    if effect.detectable_effect is None or effect.expected_trials is None:
        yield "Detectable effect: not known with one seed per arm. Type replicates=3 or more."
        return
    place = "this scale" if noise.is_same_scale else "the nearest scale that the ledger has"
    yield (
        f"Detectable effect with {effect.seeds} seeds (80% power): {effect.detectable_effect:.2g} {effect.unit} of "
        f"{effect.metric}; the smallest that matters is {effect.smallest_effect:g}. It follows from the noise of "
        f"{counted(noise.grids, 'grid')} at {place} ({short(noise.parameters)} parameters, {short(noise.train_tokens)} "
        f"tokens): {noise.deviation:.2g} per trial."
    )
    if has_looks:
        yield (
            f"If no arm differs, the looks end after {effect.expected_trials:.0f} trials on average, finished ones "
            "included (simulated from that noise)."
        )


def _fit(plan: PlanJson, every: Sequence[ArmPlan], *, wants_fit: bool) -> Iterator[str]:
    if plan.fitting_options:
        yield f"To make every step fit, type: {plan.fitting_options}. The plan above has that already."
    elif plan.fitting_options is not None:
        yield "--fit: every step fits as it is."
    elif wants_fit:
        yield (
            "--fit: nothing makes a step of every arm fit: neither micro-batches of one row, checkpointing nor "
            "sharding over these devices. Take more devices (hardware.devices, hardware.nodes) or a smaller scale."
        )
    elif any(arm.fits is False for arm in every):
        yield (
            "Where a step does not fit, take a smaller hardware.micro_batch_rows, scale.activation_checkpointing=full "
            "or hardware.strategy=fsdp (--fit finds them), more devices or a smaller scale."
        )


def _trials(arms: Iterable[ArmPlan], noun: str) -> str:
    return counted(sum(arm.trials for arm in arms), noun)


def _by_memory(arms: Iterable[ArmPlan]) -> dict[str, list[str]]:
    by_memory: dict[str, list[str]] = {}
    for arm in arms:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in vars(arm.memory).items() if size)
        labels = by_memory.setdefault(f"{parts} GB", [])
        if arm.label not in labels:
            labels.append(arm.label)
    return by_memory


def _range(amount: Range | None) -> str:
    return "not known" if amount is None else f"{amount.expected:.3g} ({amount.low:.3g} to {amount.high:.3g})"


def _dollars(price: Range | None) -> str:
    if price is None:
        return "not known"
    return f"{_money(price.expected)} US dollars ({_money(price.low)} to {_money(price.high)})"


def _money(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.2f}"


def _size(size: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= 0.9995 * scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def _source(hours: Hours | None) -> str:
    if hours is None:
        return (
            "Hours are not known without a finished trial of the same shape and hardware, --measure, or --device in "
            "bf16."
        )
    if hours.source == "ledger":
        return "Hours follow from the speed of finished trials in this ledger. Evaluation is not counted."
    if hours.source == "measured":
        return "Hours follow from steps that were measured on this machine now. Evaluation is not counted."
    fast, expected, slow = (f"{mfu:.0%}" for mfu in PRIOR_MFU)
    return f"Hours are not measured: they assume an MFU of {expected} ({fast} to {slow}). Evaluation is not counted."
