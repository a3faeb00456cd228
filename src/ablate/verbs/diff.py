"""`diff`: why two trials have different ids, and everything else in which they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ablate.config.fields import Kind
from ablate.config.parse import trial_to_container
from ablate.console import make_console
from ablate.errors import UsageError
from ablate.grid.grid import Grid
from ablate.identity import Difference, differences, kind_of_key, semantic
from ablate.records.ledger import TrialFolder
from ablate.records.schema import to_json
from ablate.records.trial import TrialRecord
from ablate.scheduling.launcher import Launcher
from ablate.verbs.arguments import Arguments, trial_named

RESULTS = ("status", "result", "evaluations")


@dataclass(frozen=True)
class Side:
    """One of the two trials.

    Attributes:
        semantic: the canonical form that its id was made of.
        config: its configuration.
        choices: config group → choice.
        record: its record; None for a trial that a command would run.
    """

    trial_id: str
    semantic: Mapping[str, Any]
    config: dict[str, Any]
    choices: Mapping[str, str]
    record: TrialRecord | None = None

    @classmethod
    def of(cls, folder: TrialFolder) -> "Side":
        """A trial of the ledger."""
        record = folder.record()
        return cls(folder.trial_id, record.semantic, folder.frozen(), record.choices, record)


def main(arguments: Arguments) -> int:
    """Compare two trials of a ledger. Raises UsageError."""
    if len(arguments.names) != 2:
        raise arguments.error("diff takes two trial ids")
    first, second = (Side.of(trial_named(arguments.ledger, name)) for name in arguments.names)
    _show(first, second, make_console())
    return 0


def of_grid(plan: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Compare a trial of the ledger with the one that a command would run. Raises UsageError."""
    if len(names) != 1 or len(plan.cells) != 1:
        raise UsageError(f"diff takes one trial id and the overrides of one trial; given {len(names)} ids.")
    [cell] = plan.cells
    second = Side(cell.trial_id, semantic(cell.trial), trial_to_container(cell.trial), cell.arm.choices)
    _show(Side.of(trial_named(plan.ledger, names[0])), second, console)
    return 0


def _show(first: Side, second: Side, console: Console) -> None:
    reasons = id_reasons(first, second)
    same = "one trial, as nothing that changes a result differs"
    summary = f"two trials, because of {'; '.join(_summary(first, second, reasons))}" if reasons else same
    console.print(f"{first.trial_id} → {second.trial_id}: {summary}", markup=False, highlight=False, soft_wrap=True)
    _section("configuration: makes two ids", reasons, console)
    shown = {difference.key for difference in reasons}
    rest = [difference for difference in differences(first.config, second.config) if difference.key not in shown]
    titles = {None: "spelled differently", Kind.EVALUATION: "evaluation", Kind.OPERATIONAL: "operational"}
    for kind, title in titles.items():
        _section(f"configuration: {title}", [one for one in rest if kind_of_key(one.key) == kind], console)
    if first.record is not None and second.record is not None:
        _section("code and machine", _of(first.record, second.record, ("provenance",)), console)
        _section("results", _of(first.record, second.record, RESULTS), console)


def _summary(first: Side, second: Side, reasons: Sequence[Difference]) -> dict[str, None]:
    """The reasons in one line: a config group by its choices, where these differ."""
    parts = []
    for reason in reasons:
        group = reason.key.split(".")[0]
        before, after = first.choices.get(group), second.choices.get(group)
        parts.append(str(reason) if before == after else f"{group}: {before} → {after}")
    return dict.fromkeys(parts)


def id_reasons(first: Side, second: Side) -> list[Difference]:
    """The differences that make two ids, by the keys of the configuration where it has keys for them."""
    canonical = differences(first.semantic, second.semantic)
    parts = {difference.key.split(".")[0] for difference in canonical}
    written = [
        difference
        for difference in differences(first.config, second.config)
        if difference.key.split(".")[0] in parts and kind_of_key(difference.key) is None
    ]
    # Nobody wrote these: a new version of our code, or text that changed under one path.
    unwritten = [one for one in canonical if one.key.startswith("code_versions.") or not written]
    return written + unwritten


def _of(first: TrialRecord, second: TrialRecord, keys: Sequence[str]) -> list[Difference]:
    return differences(*({key: to_json(getattr(record, key)) for key in keys} for record in (first, second)))


def _section(title: str, found: Sequence[Difference], console: Console) -> None:
    if not found:
        return
    console.print(f"[bold]{title}[/]", highlight=False)
    for difference in found:
        change = ""
        if isinstance(difference.first, float) and isinstance(difference.second, float):
            change = f"  ({difference.second - difference.first:+.4g})"
        console.print(f"  {difference}{change}", markup=False, highlight=False, soft_wrap=True)
