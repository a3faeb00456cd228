"""`diff`: why two trials have different ids, and everything else in which they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ablate.config.fields import Kind
from ablate.config.parse import trial_to_container
from ablate.console import make_console, say
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
        semantic: the canonical form that its id hashes.
        choices: config group → choice.
        record: None for a trial that is not in the ledger.
    """

    trial_id: str
    semantic: Mapping[str, Any]
    config: dict[str, Any]
    choices: Mapping[str, str]
    record: TrialRecord | None = None

    @classmethod
    def of(cls, folder: TrialFolder) -> "Side":
        """Read a trial of the ledger."""
        record = folder.record()
        return cls(folder.trial_id, record.semantic, folder.frozen(), record.choices, record)


def main(arguments: Arguments) -> int:
    """Compare two trials of a ledger. Raises UsageError."""
    if len(arguments.names) != 2:
        raise arguments.error("diff takes two trial ids")
    first, second = (Side.of(trial_named(arguments.ledger, name)) for name in arguments.names)
    _show(first, second, make_console())
    return 0


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Compare a trial of the ledger with the one that a command would run. Raises UsageError."""
    if len(names) != 1 or len(grid.cells) != 1:
        raise UsageError(f"diff takes one trial id and the overrides of one trial; given {len(names)} ids.")
    [cell] = grid.cells
    second = Side(cell.trial_id, semantic(cell.trial), trial_to_container(cell.trial), cell.arm.choices)
    _show(Side.of(trial_named(grid.ledger, names[0])), second, console)
    return 0


def _show(first: Side, second: Side, console: Console) -> None:
    reasons = id_reasons(first, second)
    same = "one trial, as nothing that changes a result differs"
    summary = f"two trials, because of {'; '.join(_summary(first, second, reasons))}" if reasons else same
    say(console, f"{first.trial_id} → {second.trial_id}: {summary}")
    _section("configuration: makes two ids", reasons, console)
    shown = {difference.key for difference in reasons}
    rest = [difference for difference in differences(first.config, second.config) if difference.key not in shown]
    titles = {None: "spelled differently", Kind.EVALUATION: "evaluation", Kind.OPERATIONAL: "operational"}
    for kind, title in titles.items():
        of_kind = [difference for difference in rest if kind_of_key(difference.key) == kind]
        _section(f"configuration: {title}", of_kind, console)
    if first.record is not None and second.record is not None:
        _section("code and machine", _of(first.record, second.record, ("provenance",)), console)
        _section("results", _of(first.record, second.record, RESULTS), console)


def _summary(first: Side, second: Side, reasons: Sequence[Difference]) -> dict[str, None]:
    """Return the reasons; those within a config group as one, if its choices differ."""
    parts = []
    for reason in reasons:
        group = reason.key.split(".")[0]
        before, after = first.choices.get(group), second.choices.get(group)
        parts.append(str(reason) if before == after else f"{group}: {before} → {after}")
    return dict.fromkeys(parts)


def id_reasons(first: Side, second: Side) -> list[Difference]:
    """Return the differences that change the id, by the keys of the configuration if it has them."""
    canonical = differences(first.semantic, second.semantic)
    parts = {difference.key.split(".")[0] for difference in canonical}
    written = [
        difference
        for difference in differences(first.config, second.config)
        if difference.key.split(".")[0] in parts and kind_of_key(difference.key) is None
    ]
    # No configuration has these: a new version of our code, or a text that changed under the same path.
    return written + [
        difference for difference in canonical if difference.key.startswith("code_versions.") or not written
    ]


def _of(first: TrialRecord, second: TrialRecord, keys: Sequence[str]) -> list[Difference]:
    return differences(*({key: to_json(getattr(record, key)) for key in keys} for record in (first, second)))


def _section(title: str, section: Sequence[Difference], console: Console) -> None:
    if section:
        say(console, title, "bold")
    for difference in section:
        change = ""
        if isinstance(difference.first, float) and isinstance(difference.second, float):
            change = f"  ({difference.second - difference.first:+.4g})"
        say(console, f"  {difference}{change}")
