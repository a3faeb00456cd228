"""The workers of a trial, one per rank, as their supervisor sees them."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from ablate.errors import UsageError
from ablate.ranks import Rank, local_ranks
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Failure, Status
from ablate.scheduling.processes import start_process, start_server
from ablate.scheduling.reconcile import death_of, died
from ablate.training.messages import Assignment, Ended, Message, Reply, StoreOpened

# How long the other ranks have to report once one has ended early: the first to notice is not always the cause.
GRACE_SECONDS = 3.0
# How long a worker that has reported its end may take to exit.
EXIT_SECONDS = 30.0


@dataclass
class Worker:
    """One rank's process.

    Attributes:
        process: None for a rank that something else has started, perhaps on another host.
        place: where it runs, for messages.
        folder: its trial; a full disk there may be why it died.
    """

    rank: Rank
    connection: "Connection[Any, Any]"
    process: BaseProcess | None
    place: str = ""
    folder: TrialFolder | None = None

    def death(self) -> Failure:
        """Return what to record when it ended without a report."""
        message = f"the connection was lost{self.place}"
        if self.process is not None:
            self.process.join()
            code = self.process.exitcode or 0
            message = died(code) if self.folder is None else death_of(self.folder, code)
        return Failure(message, message)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to a process of this host."""
        if self.process is not None and self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


def start_workers(assignment: Assignment) -> "Workers":
    """Start a worker per device of this host.

    Raises:
        UsageError: the trial needs more hosts than this one.
    """
    hardware = assignment.trial.hardware
    if hardware.nodes > 1:
        raise UsageError(
            f"hardware.nodes={hardware.nodes}: this command starts ranks on its own host alone. Type hardware.nodes=1, "
            f"or start one rank per device with srun or torchrun: python -m ablate.rank {assignment.folder.trial_id} "
            f"--runs-dir {assignment.folder.path.parent}"
        )
    return Workers([start_worker(assignment, rank) for rank in local_ranks(hardware.devices)])


def start_worker(assignment: Assignment, rank: Rank) -> Worker:
    """Start the worker of one rank on this host."""
    start_server()
    connection, of_worker = Pipe()
    process = start_process(
        "ablate.training.worker:run_worker",
        replace(assignment, rank=rank),
        of_worker,
        output=assignment.folder.log_path,
    )
    of_worker.close()
    return Worker(rank, connection, process, folder=assignment.folder)


@dataclass
class Workers:
    """The workers of one attempt.

    Attributes:
        host: where the other ranks reach rank 0's store.
        ended: how ranks ended, by number, in the order of their reports.
        died: the ranks that ended without a report.
    """

    ranks: Sequence[Worker]
    host: str = "127.0.0.1"
    ended: dict[int, Ended] = field(default_factory=dict)
    died: list[int] = field(default_factory=list)

    def serve(self, handle: Callable[[Message], Reply | None], greet: Callable[[], None]) -> Ended:
        """Handle what the workers send until the trial has ended, and return how.

        Args:
            handle: handles a message of rank 0 and returns the reply.
            greet: called after the first message of each worker, which handles signals by then.
        """
        silent = {worker.rank.number for worker in self.ranks}
        deadline: float | None = None
        while len(self.ended) < len(self.ranks) and not self._is_finished:
            patience = None if deadline is None else deadline - time.monotonic()
            if patience is not None and patience <= 0:
                break
            for worker in self._ready(patience):
                message = self._received(worker)
                if worker.rank.number in silent and message is not None:
                    silent.remove(worker.rank.number)
                    greet()
                self._act(worker, message, handle)
            if self.ended and deadline is None:
                deadline = time.monotonic() + GRACE_SECONDS
        return self._outcome()

    @property
    def _is_finished(self) -> bool:
        return 0 in self.ended and self.ended[0].status == Status.FINISHED

    def _ready(self, patience: float | None) -> list[Worker]:
        """Return the workers that have sent something or have died."""
        running = [worker for worker in self.ranks if worker.rank.number not in self.ended]
        sources: dict[Any, Worker] = {worker.connection: worker for worker in running}
        sources |= {worker.process.sentinel: worker for worker in running if worker.process is not None}
        return list({id(sources[source]): sources[source] for source in wait(list(sources), patience)}.values())

    @staticmethod
    def _received(worker: Worker) -> Message | None:
        """Return the worker's next message; None if it died."""
        try:
            return cast("Message", worker.connection.recv()) if worker.connection.poll() else None
        except (EOFError, OSError):
            return None

    def _act(self, worker: Worker, message: Message | None, handle: Callable[[Message], Reply | None]) -> None:
        if message is None:
            self.died.append(worker.rank.number)
            self.ended[worker.rank.number] = Ended(Status.FAILED, worker.death())
        elif isinstance(message, Ended):
            self.ended[worker.rank.number] = message
        elif isinstance(message, StoreOpened):
            for other in self.ranks:
                if other is not worker:
                    _send(other, StoreOpened(self.host, message.port))
        elif (reply := handle(message)) is not None:
            _send(worker, reply)

    def _outcome(self) -> Ended:
        """Return how the trial ended: by the rank that is the cause, if one failed."""
        if self._is_finished:
            return self.ended[0]

        def order(number: int) -> tuple[bool, bool, bool, int]:
            ended = self.ended[number]
            return number not in self.died, ended.is_consequence, ended.status != Status.FAILED, number

        cause = min(self.ended, key=order)
        ended = self.ended[cause]
        if len(self.ranks) == 1 or ended.status != Status.FAILED or ended.failure is None:
            return ended
        worker = self.ranks[cause]
        where = f"{worker.rank}{worker.place}: "
        failure = ended.failure
        failure = replace(failure, message=where + failure.message, traceback=where + failure.traceback)
        return replace(ended, failure=failure)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the workers of this host."""
        for worker in self.ranks:
            worker.send_signal(number)

    def end(self, patience: float) -> None:
        """Wait so long for all workers to exit, then kill them: nothing may write once the lease is released."""
        deadline = time.monotonic() + patience
        for worker in self.ranks:
            if worker.process is not None:
                worker.process.join(max(0.0, deadline - time.monotonic()))
                worker.process.kill()
                worker.process.join()
            worker.connection.close()


def _send(worker: Worker, message: Reply | StoreOpened) -> None:
    # A worker that died meanwhile is noticed by its connection.
    with suppress(OSError):
        worker.connection.send(message)
