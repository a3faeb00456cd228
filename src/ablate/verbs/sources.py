"""The logs that `lessons` and `paper` read: `runs_dir=` says where grids are declared, `wandb=` whence the numbers."""

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
    from ablate.records.wandb_logs import OfflineWandbLogs, ProjectLogs

    if source == "offline":
        return OfflineWandbLogs(given.ledger.runs_dir, declared)
    return ProjectLogs(source, declared)
