"""`diff`: everything in which two trials differ: configuration, code and machine, results."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ablate.config.trial import Kind
from ablate.console import make_console
from ablate.errors import UsageError
from ablate.identity import Difference, differences, kind_of_key
from ablate.verbs.arguments import Arguments, trial_named
from ablate.verbs.why import reasons, recorded_semantic

TAKES = "two trial ids and runs_dir=PATH"
# Of a record, what a reader compares; the rest is what `why` tells, or times and paths.
RESULTS = ("status", "counters", "training_seconds", "parameters", "data_fingerprint", "evaluations")


def main(arguments: Sequence[str]) -> int:
    """Compares two trials of a ledger. Raises UsageError."""
    given = Arguments.of("diff", arguments, {}, TAKES)
    if len(given.names) != 2:
        raise UsageError(f"diff takes {TAKES}.")
    first, second = (trial_named(given.ledger, name) for name in given.names)
    console = make_console()
    console.print(f"{first.trial_id} → {second.trial_id}", highlight=False)
    one, other = first.frozen(), second.frozen()
    semantic = reasons(recorded_semantic(first), recorded_semantic(second), one, other)
    _section("configuration: makes two ids", semantic, console)
    told = {difference.key for difference in semantic}
    rest = [difference for difference in differences(one, other) if difference.key not in told]
    for kind, title in (
        (None, "spelled differently"),
        (Kind.EVALUATION, "evaluation"),
        (Kind.OPERATIONAL, "operational"),
    ):
        of_kind = [difference for difference in rest if kind_of_key(difference.key) == kind]
        _section(f"configuration: {title}", of_kind, console)
    first_record, second_record = first.record(), second.record()
    _section("code and machine", _of(first_record, second_record, ("provenance",)), console)
    _section("what came out", _of(first_record, second_record, RESULTS), console)
    return 0


def _of(first: dict[str, Any], second: dict[str, Any], keys: Sequence[str]) -> list[Difference]:
    return differences(*({key: record.get(key) for key in keys} for record in (first, second)))


def _section(title: str, found: list[Difference], console: Console) -> None:
    if not found:
        return
    console.print(f"[bold]{title}[/]", highlight=False)
    for difference in found:
        change = ""
        if isinstance(difference.first, float) and isinstance(difference.second, float):
            change = f"  ({difference.second - difference.first:+.4g})"
        console.print(f"  {difference}{change}", markup=False, highlight=False, soft_wrap=True)
