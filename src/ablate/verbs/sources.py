"""The logs that `lessons` and `paper` read: grids from `runs_dir=`, numbers from there or from `wandb=`."""

from collections.abc import Iterable

from ablate.lessons.grid_results import GridResults
from ablate.records.logs import Logs
from ablate.records.open_logs import open_logs
from ablate.verbs.arguments import Arguments


def logs_of(arguments: Arguments) -> Logs:
    """The logs that the settings name. Raises LedgerError where there are none."""
    declared = open_logs(arguments.ledger.runs_dir)
    source = arguments.settings.get("wandb")
    if source is None:
        return declared
    from ablate.records.wandb.logs import OfflineWandbLogs, ProjectLogs

    if source == "offline":
        return OfflineWandbLogs(arguments.ledger.runs_dir, declared)
    return ProjectLogs(source, declared)


def links(arguments: Arguments, results: Iterable[GridResults]) -> dict[str, str]:
    """The address of each trial's run, where a W&B project is named."""
    project = arguments.settings.get("wandb", "offline")
    if project == "offline":
        return {}
    return {trial: f"https://wandb.ai/{project}/runs/{trial}" for one in results for trial in one.records}
