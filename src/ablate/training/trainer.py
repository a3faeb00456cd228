"""Lightning's trainer for one rank of a trial, and the strategy that its ranks train by."""

import logging
import os
import warnings

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from ablate.config.trial import TrialConfig
from ablate.model.memory import StrategyName
from ablate.ranks import ONLY_RANK, Rank

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


class RankEnvironment(ClusterEnvironment):
    """Tells Lightning which rank this is, and that the processes are there.

    Lightning would guess otherwise: from `SLURM_NTASKS`, also without srun, or by starting `sys.argv` once per device.
    """

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        """Always: a supervisor, torchrun or srun has created them."""
        return True

    @property
    def main_address(self) -> str:
        """Not used: the process group exists before the trainer."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """Not used: the process group exists before the trainer."""
        return int(os.environ.get("MASTER_PORT", "0"))

    @staticmethod
    def detect() -> bool:
        """Never: it is passed."""
        return False

    def world_size(self) -> int:
        """How many ranks there are."""
        return self._rank.count

    def set_world_size(self, size: int) -> None:
        """Do nothing: it is known."""

    def global_rank(self) -> int:
        """Number among all ranks."""
        return self._rank.number

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: it is known."""

    def local_rank(self) -> int:
        """Number among the ranks of this node."""
        return self._rank.local

    def node_rank(self) -> int:
        """Number of this node."""
        return self._rank.node


def needs_group(trial: TrialConfig, rank: Rank) -> bool:
    """Whether the trial needs a process group: for several ranks, or a strategy that was asked for."""
    return rank.count > 1 or trial.hardware.strategy in ("ddp", "fsdp")


def build_trainer(trial: TrialConfig, strategy: StrategyName = "single", rank: Rank = ONLY_RANK) -> pl.Trainer:
    """Return a Lightning trainer that trains and does nothing else: log, evaluation and weights are ours to write."""
    # One step in flight is enough for rows that are made in a millisecond.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning 2.6 takes a class that torch 2.13 deprecates.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*", category=FutureWarning)
    # It warns of srun wherever Slurm is installed, whatever environment it is given.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    # Lightning announces which accelerators there are, and advertises a product, at every start.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator=trial.hardware.accelerator,
        devices=rank.local_count,
        num_nodes=rank.nodes,
        strategy=_strategy(strategy, rank),
        plugins=[RankEnvironment(rank)],
        precision=PRECISIONS[trial.precision],  # type: ignore[arg-type]
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    # Ours saves at the step's end. Lightning's SIGTERM handler raises at the batch's end instead and, on several
    # ranks, broadcasts from inside the handler, where another rank may not follow (pytorch-lightning#20806).
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _strategy(name: StrategyName, rank: Rank) -> Strategy | str:
    if name == "ddp":
        # Gradients are reduced where they lie.
        return DDPStrategy(gradient_as_bucket_view=True)
    if name == "fsdp":
        # Its defaults shard over nodes and split tensors over a node's devices.
        return ModelParallelStrategy(data_parallel_size=rank.count, tensor_parallel_size=1)
    return "auto"
