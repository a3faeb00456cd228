"""`data prepare | show | stats | verify`: the text that a grid's trials read."""

from rich.console import Console

from ablate.errors import UsageError
from ablate.grid.plan import Plan
from ablate.grid.run import Launch
from ablate.verbs.data import prepare, show, stats, verify

SUBJECTS = {"prepare": prepare.of_grid, "show": show.of_grid, "stats": stats.of_grid, "verify": verify.of_grid}
TAKES = (
    "one of prepare, show, stats, verify, and a grid's overrides: python -m ablate data prepare corpus=files …, "
    "python -m ablate data show 0 7 infill=psm"
)


def main(arguments: list[str]) -> int:
    """Every use of the verb composes a configuration. Raises UsageError."""
    raise UsageError(f"{' '.join(['data', *arguments[:1]])}: takes {TAKES}.")


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Does one of them for each arm. Raises UsageError."""
    subject, *rest = names or [""]
    if subject not in SUBJECTS:
        raise UsageError(f"{' '.join(['data', *names])}: takes {TAKES}.")
    return SUBJECTS[subject](plan, rest, console)
