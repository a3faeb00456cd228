"""`diff`: why two trials have different ids, and everything else in which they differ."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console

from ablate.config.fields import Kind
from ablate.config.parse import trial_to_container
from ablate.console import make_console, say
from ablate.errors import UsageError
from ablate.grid.grid import Grid
from ablate.identity import MISSING, Difference, differences, kind_of_key, semantic
from ablate.records.ledger import TrialFolder
from ablate.records.schema import to_json
from ablate.records.trial import TrialRecord
from ablate.scheduling.launcher import Launcher
from ablate.verbs.arguments import Arguments, trial_named
from ablate.verbs.json_output import print_json

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


Section = Literal["id", "spelling", "evaluation", "operational", "provenance", "results"]


@dataclass(frozen=True)
class DifferenceJson:
    """A key in which two trials differ.

    Attributes:
        section: why it matters: `id` makes two trials, `spelling` says the same in other words.
        only_in: the one trial that has the key, else null.
    """

    section: Section
    key: str
    first: Any
    second: Any
    only_in: Literal["first", "second"] | None


@dataclass(frozen=True)
class DiffJson:
    """What `diff --json` prints."""

    schema: Literal["ablate/diff"]
    version: Literal[1]
    first: str
    second: str
    differences: tuple[DifferenceJson, ...]


def main(arguments: Arguments) -> int:
    """Compare two trials of a ledger. Raises UsageError."""
    if len(arguments.names) != 2:
        raise arguments.error("takes two trial ids, or one and the overrides of another trial")
    first, second = (Side.of(trial_named(arguments.ledger, name)) for name in arguments.names)
    _show(first, second, make_console(), arguments.flags)
    return 0


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Compare a trial of the ledger with the one that a command would run. Raises UsageError."""
    ids = [name for name in names if not name.startswith("--")]
    if len(ids) != 1 or len(grid.cells) != 1:
        raise UsageError(f"diff takes one trial id and the overrides of one trial; given {len(ids)} ids.")
    [cell] = grid.cells
    second = Side(cell.trial_id, semantic(cell.trial), trial_to_container(cell.trial), cell.arm.choices)
    _show(Side.of(trial_named(grid.ledger, ids[0])), second, console, names)
    return 0


TITLES: dict[Section, str] = {
    "id": "configuration: changes the id",
    "spelling": "configuration: spelled differently",
    "evaluation": "configuration: evaluation",
    "operational": "configuration: operational",
    "provenance": "code and machine",
    "results": "results",
}


def _show(first: Side, second: Side, console: Console, flags: Container[str]) -> None:
    sections = _sections(first, second)
    if "--json" in flags:
        rows = [_json(name, difference) for name, section in sections.items() for difference in section]
        print_json(DiffJson("ablate/diff", 1, first.trial_id, second.trial_id, tuple(rows)))
        return
    reasons = sections["id"]
    summary = "; ".join(_summary(first, second, reasons)) or "the same trial: nothing that changes a result differs"
    say(console, f"{first.trial_id} → {second.trial_id}: {summary}")
    if "--all" not in flags:
        # The summary has them.
        sections["id"] = []
        if any(_has_other_choice(first, second, reason) for reason in reasons):
            say(console, "  (--all lists the keys below a config group)", "dim")
    for name, section in sections.items():
        _section(TITLES[name], section, console)


def _sections(first: Side, second: Side) -> dict[Section, list[Difference]]:
    """Return all differences, in the order in which they are shown."""
    reasons = id_reasons(first, second)
    shown = {difference.key for difference in reasons}
    rest = [difference for difference in differences(first.config, second.config) if difference.key not in shown]
    kinds: dict[Section, Kind | None] = {
        "spelling": None,
        "evaluation": Kind.EVALUATION,
        "operational": Kind.OPERATIONAL,
    }
    sections: dict[Section, list[Difference]] = {"id": reasons}
    for name, kind in kinds.items():
        sections[name] = [difference for difference in rest if kind_of_key(difference.key) == kind]
    if first.record is not None and second.record is not None:
        sections["provenance"] = _of(first.record, second.record, ("provenance",))
        sections["results"] = _of(first.record, second.record, RESULTS)
    return sections


def _json(section: Section, difference: Difference) -> DifferenceJson:
    first, second = (None if value is MISSING else value for value in (difference.first, difference.second))
    only_in: Literal["first", "second"] | None = None
    if difference.first is MISSING or difference.second is MISSING:
        only_in = "first" if difference.second is MISSING else "second"
    return DifferenceJson(section, difference.key, first, second, only_in)


def _summary(first: Side, second: Side, reasons: Sequence[Difference]) -> dict[str, None]:
    """Return the reasons; those within a config group as one, if its choices differ."""
    parts = []
    for reason in reasons:
        group = reason.key.split(".")[0]
        choices = f"{group}: {first.choices.get(group)} → {second.choices.get(group)}"
        parts.append(choices if _has_other_choice(first, second, reason) else str(reason))
    return dict.fromkeys(parts)


def _has_other_choice(first: Side, second: Side, reason: Difference) -> bool:
    group = reason.key.split(".")[0]
    return first.choices.get(group) != second.choices.get(group)


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
