"""`why`: what makes two trials two, or a trial and what a command would run."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ablate.config.parse import trial_from_container, trial_to_container
from ablate.console import make_console
from ablate.errors import UsageError
from ablate.grid.plan import Plan
from ablate.grid.run import Launch
from ablate.identity import Difference, differences, kind_of_key, semantic
from ablate.records.ledger import TrialFolder
from ablate.verbs.arguments import Arguments, trial_named

TAKES = "two trial ids and runs_dir=PATH, or one trial id and the overrides of another trial"


def main(arguments: Sequence[str]) -> int:
    """Compares two trials of a ledger. Raises UsageError."""
    given = Arguments.of("why", arguments, {}, TAKES)
    if len(given.names) != 2:
        raise UsageError(f"why takes {TAKES}:\n  python -m ablate why 22fc508283ba objective=mixed seed=0")
    first, second = (trial_named(given.ledger, name) for name in given.names)
    _tell(
        (first.trial_id, recorded_semantic(first), first.frozen()),
        (second.trial_id, recorded_semantic(second), second.frozen()),
        make_console(),
    )
    return 0


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Compares a trial of the ledger with the one trial of these overrides. Raises UsageError."""
    if len(names) != 1 or len(plan.cells) != 1:
        raise UsageError(f"why takes {TAKES}.")
    folder, [cell] = trial_named(plan.ledger, names[0]), plan.cells
    _tell(
        (folder.trial_id, recorded_semantic(folder), folder.frozen()),
        (cell.trial_id, semantic(cell.trial), trial_to_container(cell.trial)),
        console,
    )
    return 0


def recorded_semantic(folder: TrialFolder) -> dict[str, Any]:
    """What the trial's id was made of: as recorded when it was planned, which the code of today may see otherwise.

    Raises:
        UsageError: a trial of an ablate that did not record it, and whose configuration this one can't read.
    """
    found = folder.record().get("semantic")
    try:
        found = found or semantic(trial_from_container(folder.frozen()))
    except UsageError as error:
        raise UsageError(
            f"{folder.trial_id}: planned by an earlier ablate, whose configuration differs:\n{error}"
        ) from None
    assert isinstance(found, dict)
    return found


Side = tuple[str, dict[str, Any], dict[str, Any]]


def _tell(first: Side, second: Side, console: Console) -> None:
    (one, one_semantic, one_config), (other, other_semantic, other_config) = first, second
    found = reasons(one_semantic, other_semantic, one_config, other_config)
    if found:
        console.print(f"{one} → {other}: two trials, because of", highlight=False)
    else:
        console.print(f"{one} and {other} are one trial: nothing that changes a result differs.", highlight=False)
    for difference in found:
        console.print(f"  {difference}", markup=False, highlight=False, soft_wrap=True)
    shown = {difference.key for difference in found}
    rest = [difference for difference in differences(one_config, other_config) if difference.key not in shown]
    if rest:
        console.print("What differs besides and makes no other id:", highlight=False)
    for difference in rest:
        console.print(f"  {difference}", markup=False, highlight=False, soft_wrap=True)


def reasons(
    one: dict[str, Any], other: dict[str, Any], one_config: dict[str, Any], other_config: dict[str, Any]
) -> list[Difference]:
    """The differences that make two ids, in the words of the configuration where it has words for them.

    Args:
        one: the canonical form that the first id was made of.
        other: that of the second.
        one_config: the first trial's configuration.
        other_config: that of the second.
    """
    canonical = differences(one, other)
    parts = {difference.key.split(".")[0] for difference in canonical}
    written = [
        difference
        for difference in differences(one_config, other_config)
        if difference.key.split(".")[0] in parts and kind_of_key(difference.key) is None
    ]
    # What nobody wrote: a new version of our code, or text that changed under one path.
    unwritten = [found for found in canonical if found.key.startswith("code_versions.") or not written]
    return written + unwritten
