"""The worker of a trial: a process that trains and scores for a supervisor, and ends with it."""

import multiprocessing
import os
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from ablate.records.trial import Failure, Status
from ablate.training.divergence import DivergedError
from ablate.training.messages import Assignment, Channel, Ended, Message
from ablate.training.preemption import PreemptedError, Preemption
from ablate.training.pruning import PrunedError
from ablate.training.trial import run_trial


class PipeChannel:
    """A channel to a supervisor in another process.

    Args:
        connection: the worker's end of a duplex pipe.
        preemption: held back while a message is written, because half a message would garble the next one.
    """

    def __init__(self, connection: "Connection[Any, Any]", preemption: Preemption) -> None:
        self._connection = connection
        self._preemption = preemption

    def send(self, message: Message) -> None:
        """See `Channel`."""
        try:
            with self._preemption.deferred():
                self._connection.send(message)
        except OSError:
            # The supervisor is gone.
            os._exit(1)
        if not self._preemption.is_deferred:
            self._preemption.check()

    def ask(self, message: Message) -> Any:
        """See `Channel`."""
        self.send(message)
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            os._exit(1)


def work(assignment: Assignment, channel: Channel, preemption: Preemption) -> Ended:
    """Run the assignment and return how it ended; an error is printed and becomes a failure."""
    try:
        return run_trial(assignment, channel, preemption)
    except PreemptedError:
        return Ended(Status.PENDING)
    except PrunedError as pruned:
        return Ended(Status.PRUNED, Failure(str(pruned), str(pruned)))
    except Exception as error:
        traceback.print_exc()
        status = Status.DIVERGED if isinstance(error, DivergedError) else Status.FAILED
        evidence = error.evidence if isinstance(error, DivergedError) else {}
        return Ended(status, Failure(f"{type(error).__name__}: {error}", traceback.format_exc(), evidence))


def run_worker(assignment: Assignment, connection: "Connection[Any, Any]") -> None:
    """Run an assignment in a process that a supervisor has started."""
    threading.Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    with Preemption().caught() as preemption:
        ended = work(assignment, PipeChannel(connection, preemption), preemption)
        with preemption.deferred():
            connection.send(ended)


def _end_with_supervisor() -> None:
    """End this process when its supervisor dies: without the supervisor nobody holds the trial's lease."""
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None
    supervisor.join()
    os._exit(1)
