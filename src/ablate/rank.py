"""Run one rank of one frozen trial; torchrun or srun start one such process per device.

    torchrun --nproc-per-node 8 -m ablate.rank TRIAL --runs-dir runs
    srun --nodes 2 --ntasks-per-node 8 python -m ablate.rank TRIAL --runs-dir runs

Rank 0 also supervises the trial: it alone holds the lease and writes record, log and W&B run. A launcher names the
trial by --batch and --number; the output of each rank then goes into the trial's folder.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import click

from ablate.errors import UsageError, UserError
from ablate.ranks import Rank
from ablate.records.lease import STALE_SECONDS
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status
from ablate.scheduling.batch import STOPPED_EXIT_CODE, Batch
from ablate.scheduling.job import Job
from ablate.scheduling.processes import redirect_output
from ablate.scheduling.reconcile import may_restart, was_preempted
from ablate.scheduling.rendezvous import connect, hello, listening, place_of, rank_of
from ablate.scheduling.supervisor import supervise
from ablate.training.preemption import SIGNALS


@click.command(help=__doc__)
@click.argument("trial", required=False)
@click.option("--runs-dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="the ledger")
@click.option("--batch", type=click.Path(path_type=Path), help="a folder of runs/jobs, instead of TRIAL")
@click.option("--number", type=int, help="the job's number in the batch")
@click.option("--ends-with-parent", is_flag=True, help="save and end when the process that started this one is gone")
def main(trial: str | None, runs_dir: Path, batch: Path | None, number: int | None, ends_with_parent: bool) -> None:
    """Run this process's rank and exit with 1 if the trial did not finish, with 85 if it may go on in the same job."""
    if ends_with_parent:
        _stop_without(os.getppid())
    try:
        rank = rank_of(os.environ)
        job = _job(trial, runs_dir.expanduser().absolute(), batch, number)
        folder = Ledger(job.runs_dir).trial(job.trial_id)
        if batch is not None and folder.path.is_dir():
            redirect_output(folder.path / f"rank-{rank.number}.log")
        code = _first(rank, folder, job) if rank.number == 0 else _other(rank, folder)
    except UserError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    sys.exit(code)


def _stop_without(parent: int) -> None:
    """Ask this process to stop when its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _job(trial: str | None, runs_dir: Path, batch: Path | None, number: int | None) -> Job:
    if batch is not None and number is not None and trial is None:
        return Batch(batch).job(number)
    if trial is None or batch is not None or number is not None:
        raise UsageError("ablate.rank takes a TRIAL, or --batch DIR and --number N of one that a launcher has written.")
    return Job(trial, runs_dir)


def _first(rank: Rank, folder: TrialFolder, job: Job) -> int:
    """Supervise the trial and run rank 0 in a worker."""
    if not folder.config_path.exists():
        raise UsageError(
            f"{folder.trial_id}: no such trial in {folder.path.parent}. `python -m ablate status` lists them; a grid's "
            "command freezes its trials."
        )
    if rank.count == 1:
        _wait_for_lease(folder, job)
        is_done = supervise(job)
    else:
        with listening(rank, place_of(os.environ), hello(rank, folder)) as workers:
            # The other ranks are connected meanwhile and wait for their assignment.
            _wait_for_lease(folder, job)
            is_done = supervise(job, workers.start)
            workers.dismiss(0 if is_done else 1)
    record = folder.record()
    if not is_done and record.failure is not None:
        print(record.failure.message, file=sys.stderr)
    if not is_done and job.restarts_as is not None and was_preempted(record) and may_restart(folder):
        return STOPPED_EXIT_CODE
    return 0 if is_done else 1


def _wait_for_lease(folder: TrialFolder, job: Job) -> None:
    """Wait until the lease of a rank 0 that was lost with its node, which nobody could release, has run out."""
    deadline = time.monotonic() + 1.5 * STALE_SECONDS
    while job.restarts_as is not None and folder.is_locked and time.monotonic() < deadline:
        time.sleep(1)


def _other(rank: Rank, folder: TrialFolder) -> int:
    """Connect to rank 0 and do what it assigns."""
    # Rank 0 hears the same signals and decides; they must not end this rank before its worker can save.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
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
