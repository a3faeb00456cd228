"""A worker's way to its supervisor: through a pipe or a socket, and for ranks beside rank 0 through rank 0."""

import os
from multiprocessing.connection import Connection, wait
from typing import Any

from ablate.ranks import Ranks
from ablate.training.messages import Channel, Message
from ablate.training.preemption import Preemption


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
        return self.receive()

    def wait(self) -> None:
        """Wait until the supervisor sends something or is gone."""
        wait([self._connection])

    def receive(self) -> Any:
        """Wait for a message of the supervisor."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            os._exit(1)


class GroupChannel:
    """The channel of several ranks, which all send and ask the same at the same point: rank 0 does it for all."""

    def __init__(self, channel: Channel, ranks: Ranks) -> None:
        self._channel = channel
        self._ranks = ranks

    def send(self, message: Message) -> None:
        """See `Channel`; does nothing on other ranks than 0."""
        if self._ranks.is_first:
            self._channel.send(message)

    def ask(self, message: Message) -> Any:
        """See `Channel`; every rank gets the reply."""
        return self._ranks.on_first(lambda: self._channel.ask(message))
