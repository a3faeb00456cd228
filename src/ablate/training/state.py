"""Capture and restore a trial's training state: all that the next step depends on."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from ablate.files import read_json, write_json
from ablate.ranks import Ranks
from ablate.training.counters import Counters
from ablate.training.log import TrialLog
from ablate.training.module import TrialModule
from ablate.training.rank_group import RankGroup

FACTS = "state.json"
# Of a parameter: AdamW's number of steps; AdamW's moments and Muon's, which have the parameter's shape.
STEP, MOMENTS = "step", ("exp_avg", "exp_avg_sq", "momentum_buffer")


@dataclass(frozen=True)
class State:
    """A training state, as one rank has it.

    Attributes:
        tensors: the weights and the optimizer's state by name, the same names on every rank; each whole or sharded.
        random: the states of this rank's random generators.
        facts: everything else, as plain values: counters, divergence detector, log. Equal on all ranks.
    """

    tensors: Mapping[str, Tensor]
    random: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def step(self) -> int:
        """The last step it contains."""
        return int(self.facts["counters"]["steps"])

    @property
    def size_bytes(self) -> int:
        """Bytes of this rank's part of the tensors."""
        return sum(_local(tensor).nbytes for tensor in self.tensors.values())

    def snapshot(self) -> "State":
        """Return a copy in main memory."""
        tensors = {name: tensor.to("cpu", copy=True) for name, tensor in self.tensors.items()}
        return State(tensors, self.random, self.facts)

    def write(self, folder: Path, ranks: Ranks) -> list[str]:
        """Write this rank's part into a folder, together with the other ranks, and return the names of its files.

        Raises:
            OSError: a rank could not write.
        """
        number = ranks.rank.number
        torch.save(dict(self.random), folder / _random_name(number))
        if ranks.is_first:
            write_json(folder / FACTS, self.facts)
        _quiet()
        try:
            # Tensors only: torch reads anything else back as Python objects, which may run code.
            save(dict(self.tensors), storage_writer=FileSystemWriter(folder), **_group(ranks))
        except CheckpointException as error:
            raise OSError(f"torch.distributed.checkpoint: {error}") from error
        names = [path.name for path in folder.glob(f"__{number}_*")]
        return [*names, _random_name(number), *((FACTS, ".metadata") if ranks.is_first else ())]


def captured(module: TrialModule, log: TrialLog) -> State:
    """Return the state after a step. Its tensors are not copied: the next step changes them.

    The learning rate and the next rows are functions of the counters, so they have no state of their own.
    """
    random = {"cpu": torch.get_rng_state()}
    if module.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(module.device)
    facts = {
        "counters": asdict(module.counters),
        "divergence": module.divergence.state(),
        "log": log.state(),
    }
    return State(_tensors(module), random, facts)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts of a checkpoint."""
    facts = read_json(path / FACTS)
    assert isinstance(facts, dict)
    return facts


def restore(path: Path, module: TrialModule, log: TrialLog, *, is_own: bool = True) -> None:
    """Restore a checkpoint of any number of ranks and any strategy, in a trainer whose optimizer exists.

    The log of a trial that continues another one begins with its own first step.
    """
    facts, ranks = read_facts(path), module.ranks
    reader = FileSystemReader(path)
    # A run that diverges at its first step has no optimizer state.
    _prepare_optimizer(module, names=reader.read_metadata().state_dict_metadata)
    _quiet()
    load(dict(_tensors(module)), storage_reader=reader, **_group(ranks))
    module.counters = Counters(**facts["counters"])
    module.divergence.restore(facts["divergence"])
    if is_own:
        log.restore(facts["log"])
    else:
        log.begin_at(module)
    # A rank that was not there has drawn nothing.
    if (random := path / _random_name(ranks.rank.number)).exists():
        states = torch.load(random, weights_only=True)
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and module.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], module.device)


def _tensors(module: TrialModule) -> dict[str, Tensor]:
    """Return the weights and the optimizer's state, by names that no strategy changes."""
    optimizer = _optimizer(module)
    tensors = {}
    for name, weight in module.model.named_parameters():
        tensors[f"model/{name}"] = weight.detach()
        for key, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimizer/{name}/{key}"] = value
    return tensors


def _prepare_optimizer(module: TrialModule, names: Mapping[str, Any]) -> None:
    """Allocate the optimizer's state of each parameter that a checkpoint has it of."""
    optimizer = _optimizer(module)
    for name, weight in module.model.named_parameters():
        stored = {key for key in (STEP, *MOMENTS) if f"optimizer/{name}/{key}" in names}
        if stored:
            device = _local(weight.detach()).device
            optimizer.state[weight] = {
                key: torch.zeros((), dtype=torch.float32, device=device)
                if key == STEP
                else torch.zeros_like(weight, memory_format=torch.preserve_format)
                for key in (STEP, *MOMENTS)
                if key in stored
            }


def _optimizer(module: TrialModule) -> torch.optim.Optimizer:
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _random_name(number: int) -> str:
    return f"random-{number}.pt"


def _group(ranks: Ranks) -> dict[str, Any]:
    return {"process_group": ranks.control} if isinstance(ranks, RankGroup) else {"no_dist": True}


def _quiet() -> None:
    # One rank needs no process group.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
