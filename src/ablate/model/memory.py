"""How much memory a device needs to train a trial, before anything is allocated.

Weights, gradients and the optimizer's moments follow from the number of parameters and how they are sharded.
Activations are measured by passes without data (`activations.py`). The vocabulary's part follows from its shapes
(`loss.chunk_bytes`). A shape that is in the cache needs no import of torch.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import longest_row
from ablate.data.corpus.cache import cache_folder
from ablate.model.shape_cache import remembered
from ablate.model.size import model_size

StrategyName = Literal["single", "ddp", "fsdp"]

# fp32 weights, gradients and each moment.
BYTES = 4
# A CUDA context with NCCL's and cuBLAS's workspaces, and what the allocator loses to fragmentation.
GPU_CONTEXT_BYTES, GPU_FRAGMENTATION = 10**9, 0.1
# Python with torch and Lightning imported.
CPU_PROCESS_BYTES = 5 * 10**8
# glibc keeps blocks below 32 MB on its heap, where gradients lie between freed activations. Of 8 shapes, all but the
# smallest took 96 to 257 MB more than torch allocates (LOG.md); none did where each block is mapped by itself.
CPU_HEAP_BYTES = 15 * 10**7


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes per device at the peak of a training step.

    Attributes:
        weights: fp32 parameters, or this device's part of them.
        gradients: likewise. Under FSDP they are whole where a step has several micro-batches, because they are reduced
            once a step.
        optimizer: AdamW's two moments of these weights; Muon has one of the blocks' matrices.
        gathered: what FSDP gathers: the root unit and two blocks in the dtype of the products, and one unit's fp32
            gradients on their way to the other devices.
        activations: what the backward pass reads, with its largest temporary tensors, as far as that does not lie where
            gradients will.
        logits: what the vocabulary's products need beyond that: a chunk of logits, or a gradient of the embedding.
        overhead: context, libraries and fragmentation.
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    overhead: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum(vars(self).values())


def training_memory(trial: TrialConfig, *, devices: int, strategy: StrategyName) -> TrainingMemory:
    """Return what each of `devices` devices needs.

    Args:
        trial: its `hardware.accelerator` tells whose overhead counts: `cpu`, or else a GPU's.
        devices: number of devices of all nodes; a step's rows are spread over them.
        strategy: `single` and `ddp` hold everything on each device (ddp reduces gradients where they lie:
            `gradient_as_bucket_view`), `fsdp` shards weights, gradients and moments.
    """
    hardware, kind, rows = trial.hardware, trial.optimizer.kind, trial.budget.rows_per_step
    shape = (trial.scale, trial.block, trial.architecture, trial.tokenizer.vocab_size, trial.precision, kind, rows)
    placed = (hardware.accelerator, hardware.attention, hardware.micro_batch_rows, devices, strategy)
    # A row's length depends on the objective.
    key = repr(("memory", *shape, longest_row(trial), *placed))

    def compute() -> list[int]:
        return list(vars(_computed(trial, devices, strategy)).values())

    return TrainingMemory(*remembered(cache_folder(trial.cache_dir), key, compute))


def _computed(trial: TrialConfig, devices: int, strategy: StrategyName) -> TrainingMemory:
    from ablate.model.activations import activation_bytes

    rows = -(-trial.budget.rows_per_step // devices)
    micro_rows = min(rows, trial.hardware.micro_batch_rows or rows)
    size = model_size(trial)
    moments = BYTES * (2 * size.parameters - (size.matrices if trial.optimizer.kind == "muon" else 0))
    whole, shards = BYTES * size.parameters, devices if strategy == "fsdp" else 1
    narrow_bytes = 2 if trial.precision == "bf16" else BYTES
    gradients = whole if micro_rows < rows else -(-whole // shards)
    kept, peak = activation_bytes(trial, micro_rows)
    at_loss = kept + _chunk_bytes(trial, micro_rows)
    if micro_rows < rows:
        # Gradients are there from the second micro-batch on, and that of the embedding is added at the end.
        activations, at_loss = peak, max(at_loss, BYTES * trial.tokenizer.vocab_size * trial.scale.d_model)
    else:
        # They take the place of activations, block by block.
        activations, at_loss = max(peak - kept, peak - gradients), at_loss - gradients
    memory = TrainingMemory(
        weights=-(-whole // shards),
        gradients=gradients,
        optimizer=-(-moments // shards),
        gathered=narrow_bytes * (size.root + 2 * size.block) + BYTES * max(size.root, size.block) if shards > 1 else 0,
        activations=activations,
        logits=max(0, at_loss - activations),
        overhead=0,
    )
    if trial.hardware.accelerator == "cpu":
        return replace(memory, overhead=CPU_PROCESS_BYTES + min(CPU_HEAP_BYTES, memory.total))
    return replace(memory, overhead=GPU_CONTEXT_BYTES + round(GPU_FRAGMENTATION * memory.total))


def fitting_strategy(trial: TrialConfig, *, devices: int, room_bytes: float) -> tuple[StrategyName, TrainingMemory]:
    """Return the strategy that was asked for or, with `auto`, the first that fits, else the last; and what it needs.

    Args:
        devices: number of devices of all nodes.
        room_bytes: memory of each of them.
    """
    strategy = trial.hardware.strategy
    automatic: tuple[StrategyName, ...] = ("single",) if devices == 1 else ("ddp", "fsdp")
    for name in automatic if strategy == "auto" else (strategy,):
        memory = training_memory(trial, devices=devices, strategy=name)
        if memory.total <= room_bytes:
            break
    return name, memory


def _chunk_bytes(trial: TrialConfig, rows: int) -> int:
    from ablate.model.loss import chunk_bytes

    device_type = "cpu" if trial.hardware.accelerator == "cpu" else "cuda"
    positions = rows * longest_row(trial)
    return chunk_bytes(positions, trial.tokenizer.vocab_size, trial.scale.d_model, trial.precision, device_type)
