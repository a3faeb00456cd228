"""The ranks of a trial, connected by process groups of `torch.distributed`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store, TCPStore

from ablate.errors import FailureError
from ablate.ranks import ALONE, Rank, Ranks

T = TypeVar("T")
# A supervisor ends the ranks within seconds when one of them is gone, so a rank may wait for another that prepares
# its data for hours.
PATIENCE = timedelta(days=2)
# Host and port of the store at which ranks meet.
Address = tuple[str, int]


class LostRankError(RuntimeError):
    """This rank can't go on, because another one failed. The other one's error is the cause."""


@dataclass(frozen=True)
class RankGroup:
    """This rank and the others; see `Ranks`.

    Attributes:
        control: the process group for values that are not tensors of a device.
        saves: the process group of the checkpoint that is being written: other traffic in it would garble a save.
    """

    rank: Rank
    control: dist.ProcessGroup
    saves: dist.ProcessGroup

    @property
    def is_first(self) -> bool:
        """See `Ranks`."""
        return self.rank.number == 0

    @property
    def while_saving(self) -> "RankGroup":
        """See `Ranks`."""
        return RankGroup(self.rank, self.saves, self.saves)

    def sum(self, values: Tensor) -> Tensor:
        """See `Ranks`."""
        dist.all_reduce(values)
        return values

    def broadcast(self, value: T) -> T:
        """See `Ranks`."""
        values: list[Any] = [value if self.is_first else None]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return cast("T", values[0])

    def gather(self, value: T) -> list[T]:
        """See `Ranks`."""
        values: list[Any] = [None] * self.rank.count
        dist.all_gather_object(values, value, group=self.control)
        return values

    def in_turn(self, action: Callable[[], T]) -> T:
        """See `Ranks`."""
        value = _attempted(action) if self.is_first else None
        self._raise_from_first(value)
        return cast("T", value) if self.is_first else action()

    def together(self, action: Callable[[], T]) -> list[T]:
        """See `Ranks`. Raises LostRankError where another rank failed."""
        value = _attempted(action)
        values = self.gather(_as_text(value))
        if isinstance(value, Exception):
            raise value
        for number, other in enumerate(values):
            if isinstance(other, _Failed):
                raise LostRankError(f"rank {number} failed: {other.text}")
        return cast("list[T]", values)

    def on_first(self, action: Callable[[], T]) -> T:
        """See `Ranks`. Raises LostRankError on other ranks where rank 0 failed."""
        value = _attempted(action) if self.is_first else None
        return cast("T", self._raise_from_first(value))

    def _raise_from_first(self, value: T | Exception) -> T:
        """Return rank 0's value on every rank, or raise its error on all."""
        of_first = self.broadcast(_as_text(value))
        if isinstance(value, Exception):
            raise value
        if isinstance(of_first, _Failed):
            raise LostRankError(f"rank 0 failed: {of_first.text}")
        return of_first


@dataclass(frozen=True)
class _Failed:
    """An exception as text: not every one can be pickled."""

    text: str


def _attempted(action: Callable[[], T]) -> T | Exception:
    try:
        return action()
    except Exception as error:
        return error


def _as_text(value: T | Exception) -> T | _Failed:
    return _Failed(f"{type(value).__name__}: {value}") if isinstance(value, Exception) else value


def check_equal(ranks: Ranks, noun: str, value: object) -> None:
    """Raise FailureError unless every rank has the same value."""
    values = ranks.gather(value)
    if different := [number for number, other in enumerate(values) if other != values[0]]:
        raise FailureError(
            f"The ranks have different {noun}: rank 0 has {values[0]}, rank {different[0]} has "
            f"{values[different[0]]}. Every node needs the same code, configuration and data."
        )


def is_consequence(error: BaseException) -> bool:
    """Whether an error only says that another rank failed or is gone.

    Gloo raises a plain RuntimeError that names its transport; NCCL and the store have types of their own.
    """
    if isinstance(error, (LostRankError, dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("gloo", "Connection closed by peer", "Connection reset by peer")
    )


@contextmanager
def joined(rank: Rank, meet: Callable[[int | None], Address], *, uses_gpu: bool, is_alone: bool) -> Iterator[Ranks]:
    """Connect with the other ranks inside the block.

    Args:
        rank: this process.
        meet: called with the port of the store on rank 0, with None elsewhere; returns the store's address.
        uses_gpu: whether each rank has a GPU; NCCL connects them.
        is_alone: whether this process trains the trial without a process group.

    Raises:
        FailureError: NCCL or a device is missing.
    """
    if uses_gpu:
        _check_gpus(rank)
    if is_alone:
        yield ALONE
        return
    device = torch.device("cuda", rank.local) if uses_gpu else None
    if device is not None:
        torch.cuda.set_device(device)
    backend = "nccl" if uses_gpu else "gloo"
    dist.init_process_group(
        backend, store=_store(rank, meet), rank=rank.number, world_size=rank.count, device_id=device
    )
    try:
        control, saves = (dist.new_group(backend="gloo", timeout=PATIENCE) for _ in range(2))
        assert isinstance(control, dist.ProcessGroup)
        assert isinstance(saves, dist.ProcessGroup)
        yield RankGroup(rank, control, saves)
    finally:
        dist.destroy_process_group()


def _store(rank: Rank, meet: Callable[[int | None], Address]) -> Store:
    if rank.number == 0:
        # On a free port that the system chooses: two trials of a machine never collide.
        store = TCPStore("0.0.0.0", 0, rank.count, is_master=True, timeout=PATIENCE, wait_for_workers=False)
        meet(store.port)
        return store
    host, port = meet(None)
    return TCPStore(host, port, rank.count, is_master=False, timeout=PATIENCE, wait_for_workers=False)


def _check_gpus(rank: Rank) -> None:
    """Check that this node has a GPU for each of its ranks. Raises FailureError."""
    there = torch.cuda.device_count()
    if there == 0:
        raise FailureError(
            "hardware.accelerator=gpu: torch sees no GPU on this machine. Type hardware=cpu, or check `nvidia-smi`, "
            "CUDA_VISIBLE_DEVICES and that torch was installed with CUDA."
        )
    if there < rank.local_count:
        raise FailureError(
            f"hardware.devices={rank.local_count}: torch sees {there} GPUs on this machine. Type "
            f"hardware.devices={there}, or check CUDA_VISIBLE_DEVICES."
        )
    if rank.count > 1 and not dist.is_nccl_available():
        raise FailureError(
            f"hardware.devices={rank.local_count}: several GPUs need NCCL, and this torch was built without it. "
            "Install torch from the CUDA wheels of pytorch.org, or type hardware.devices=1."
        )
