"""The logs that `lessons` and `paper` read: `runs_dir=` says where grids are declared, `wandb=` whence the numbers."""

from collections.abc import Iterable

from ablate.lessons.grid_results import GridResults
from ablate.records.logs import Logs, open_logs
from ablate.verbs.arguments import Arguments

OPTIONS = ("wandb",)
TAKES = (
    "runs_dir=PATH (a ledger, or an archive like analysis/data) and wandb=offline or wandb=ENTITY/PROJECT, where the "
    "numbers are to come from W&B"
)


def logs_of(given: Arguments) -> Logs:
    """What the words name. Raises LedgerError where nothing is there."""
    declared = open_logs(given.ledger.runs_dir)
    source = given.options.get("wandb")
    if source is None:
        return declared
    from ablate.records.wandb.logs import OfflineWandbLogs, ProjectLogs

    if source == "offline":
        return OfflineWandbLogs(given.ledger.runs_dir, declared)
    return ProjectLogs(source, declared)


def links(given: Arguments, results: Iterable[GridResults]) -> dict[str, str]:
    """By trial, the address of its run, where a project is named."""
    project = given.options.get("wandb", "offline")
    if project == "offline":
        return {}
    return {trial: f"https://wandb.ai/{project}/runs/{trial}" for one in results for trial in one.records}
