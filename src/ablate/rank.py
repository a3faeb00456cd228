"""Run one rank of one frozen trial; torchrun or srun start one such process per device.

    torchrun --nproc-per-node 8 -m ablate.rank TRIAL --runs-dir runs
    srun --nodes 2 --ntasks-per-node 8 python -m ablate.rank TRIAL --runs-dir runs

Rank 0 also supervises the trial: it alone holds the lease and writes record, log and W&B run.
"""

import os
import sys
from pathlib import Path

import click

from ablate.errors import UsageError, UserError
from ablate.ranks import Rank
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status
from ablate.scheduling.job import Job
from ablate.scheduling.rendezvous import connect, hello, listening, place_of, rank_of
from ablate.scheduling.supervisor import supervise


@click.command(help=__doc__)
@click.argument("trial")
@click.option("--runs-dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="the ledger")
def main(trial: str, runs_dir: Path) -> None:
    """Run this process's rank and exit with 1 if the trial did not finish."""
    try:
        rank = rank_of(os.environ)
        folder = Ledger(runs_dir.expanduser().absolute()).trial(trial)
        code = _first(rank, folder) if rank.number == 0 else _other(rank, folder)
    except UserError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    sys.exit(code)


def _first(rank: Rank, folder: TrialFolder) -> int:
    """Supervise the trial and run rank 0 in a worker."""
    if not folder.config_path.exists():
        raise UsageError(
            f"{folder.trial_id}: no such trial in {folder.path.parent}. `python -m ablate status` lists them; a grid's "
            "command freezes its trials."
        )
    job = Job(folder.trial_id, folder.path.parent)
    if rank.count == 1:
        is_done = supervise(job)
    else:
        with listening(rank, place_of(os.environ), hello(rank, folder)) as workers:
            is_done = supervise(job, workers.start)
            workers.dismiss(0 if is_done else 1)
    failure = folder.record().failure
    if not is_done and failure is not None:
        print(failure.message, file=sys.stderr)
    return 0 if is_done else 1


def _other(rank: Rank, folder: TrialFolder) -> int:
    """Connect to rank 0 and do what it assigns."""
    connection = connect(rank, place_of(os.environ), hello(rank, folder))
    try:
        order = connection.recv()
    except (EOFError, OSError):
        # Rank 0 has said why.
        return 1
    if isinstance(order, int):
        return order
    from ablate.training.worker import run_worker

    return 0 if run_worker(order, connection).status in (Status.FINISHED, Status.PRUNED) else 1


if __name__ == "__main__":
    main()
