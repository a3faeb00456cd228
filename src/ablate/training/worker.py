"""The worker of a trial: a process that trains and scores for a supervisor, and ends with it.

A trial on several devices has a worker per rank.
"""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from ablate.records.trial import Failure, Status
from ablate.training.channels import GroupChannel, PipeChannel
from ablate.training.divergence import DivergedError
from ablate.training.messages import Assignment, Ended, StoreOpened
from ablate.training.preemption import PreemptedError, Preemption
from ablate.training.pruning import PrunedError
from ablate.training.rank_group import Address, is_consequence, joined
from ablate.training.strategy import uses_gpu
from ablate.training.trainer import needs_group
from ablate.training.trial import run_trial


def work(assignment: Assignment, channel: PipeChannel, preemption: Preemption) -> Ended:
    """Run the assignment and return how it ended; an error is printed and becomes a failure."""

    def meet(port: int | None) -> Address:
        if port is not None:
            channel.send(StoreOpened("", port))
            return "", port
        opened = channel.receive()
        assert isinstance(opened, StoreOpened)
        if multiprocessing.parent_process() is None:
            # A rank on another host. From here on its supervisor sends nothing: the connection only ends.
            _end_after(channel.wait)
        return opened.host, opened.port

    trial, rank = assignment.trial, assignment.rank
    try:
        is_alone = not needs_group(trial, rank)
        with joined(rank, meet, uses_gpu=uses_gpu(trial), is_alone=is_alone) as ranks:
            return run_trial(assignment, channel if is_alone else GroupChannel(channel, ranks), preemption, ranks)
    except PreemptedError:
        return Ended(Status.PENDING)
    except PrunedError as pruned:
        return Ended(Status.PRUNED, Failure(str(pruned), str(pruned)))
    except Exception as error:
        traceback.print_exc()
        status = Status.DIVERGED if isinstance(error, DivergedError) else Status.FAILED
        evidence = error.evidence if isinstance(error, DivergedError) else {}
        failure = Failure(f"{type(error).__name__}: {error}", traceback.format_exc(), evidence)
        return Ended(status, failure, is_consequence=is_consequence(error))


def run_worker(assignment: Assignment, connection: "Connection[Any, Any]") -> Ended:
    """Run an assignment for the supervisor at the other end of a connection, and return how it ended."""
    if (parent := multiprocessing.parent_process()) is not None:
        _end_after(parent.join)
    with Preemption().caught() as preemption:
        ended = work(assignment, PipeChannel(connection, preemption), preemption)
        with preemption.deferred(), suppress(OSError):
            connection.send(ended)
    return ended


def _end_after(wait: Callable[[], object]) -> None:
    """End this process when the supervisor is gone: without it nobody holds the trial's lease.

    Args:
        wait: returns then.
    """

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
