"""The processes that train and score a trial together, each on a device of its own. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """The place of a process among the ranks of its trial; the default is a trial on one device.

    Attributes:
        number: from 0 on, over all nodes.
        count: how many ranks the trial has.
        local: number among the ranks of its node, which is also the number of its device.
        local_count: how many ranks each node has.
    """

    number: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1

    @property
    def node(self) -> int:
        """Number of its node."""
        return self.number // self.local_count

    @property
    def nodes(self) -> int:
        """How many nodes the trial has."""
        return self.count // self.local_count

    def __str__(self) -> str:
        return f"rank {self.number} of {self.count}"


def local_ranks(devices: int) -> list[Rank]:
    """Return the ranks of a trial on one node."""
    return [Rank(number, devices, number, devices) for number in range(devices)]


ONLY_RANK = Rank()


class Ranks(Protocol):
    """All ranks of a trial, as one of them sees them. Every rank calls the same methods in the same order."""

    @property
    def rank(self) -> Rank:
        """This one."""
        ...

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes what a trial has once."""
        ...

    @property
    def while_saving(self) -> "Ranks":
        """The same ranks, for messages of a save, which may run beside the training."""
        ...

    def sum(self, values: Any) -> Any:
        """Add a tensor up over all ranks, in place, and return it; does not wait for a device."""
        ...

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on every rank; the values of others are ignored."""
        ...

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks on every rank."""
        ...

    def in_turn(self, action: Callable[[], T]) -> T:
        """Run an action on rank 0, then on the others, which find what it left in a cache; return the own result."""
        ...

    def together(self, action: Callable[[], T]) -> list[T]:
        """Run an action on every rank and return all results; an error on any rank is raised on all."""
        ...

    def on_first(self, action: Callable[[], T]) -> T:
        """Run an action on rank 0 alone and return its result on every rank; an error is raised on all."""
        ...


class Alone:
    """A trial on one device: nothing is sent."""

    rank = ONLY_RANK
    is_first = True

    @property
    def while_saving(self) -> "Alone":
        """See `Ranks`."""
        return self

    def sum(self, values: Any) -> Any:
        """See `Ranks`."""
        return values

    def broadcast(self, value: T) -> T:
        """See `Ranks`."""
        return value

    def gather(self, value: T) -> list[T]:
        """See `Ranks`."""
        return [value]

    def in_turn(self, action: Callable[[], T]) -> T:
        """See `Ranks`."""
        return action()

    def together(self, action: Callable[[], T]) -> list[T]:
        """See `Ranks`."""
        return [action()]

    def on_first(self, action: Callable[[], T]) -> T:
        """See `Ranks`."""
        return action()


ALONE: Ranks = Alone()
