"""How much memory a device needs to train a trial, before anything is allocated.

Weights, gradients and the optimizer's moments follow from the number of parameters and how they are sharded.
Activations are measured by passes without data, under torch's memory tracker, on models of one and two layers and
batches of one and two rows: they are affine in layers and in rows. The vocabulary's part follows from its shapes
(`loss.chunk_bytes`).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch
from ablate.data.corpus.cache import cache_folder
from ablate.model.build import build_model, build_on_meta
from ablate.model.language_model import LanguageModel
from ablate.model.loss import chunk_bytes
from ablate.model.memory_cache import remembered

StrategyName = Literal["single", "ddp", "fsdp"]

# fp32 weights, gradients and each moment.
BYTES = 4
# A CUDA context with NCCL's and cuBLAS's workspaces, and what the allocator loses to fragmentation.
GPU_CONTEXT_BYTES, GPU_FRAGMENTATION = 10**9, 0.1
# Python with torch and Lightning imported.
CPU_PROCESS_BYTES = 5 * 10**8


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
    rows = -(-trial.budget.rows_per_step // devices)
    micro_rows = min(rows, trial.hardware.micro_batch_rows or rows)
    parameters, matrices, root, block = _parameters(trial)
    moments = BYTES * (2 * parameters - (matrices if trial.optimizer.kind == "muon" else 0))
    whole, shards = BYTES * parameters, devices if strategy == "fsdp" else 1
    narrow_bytes = 2 if trial.precision == "bf16" else BYTES
    gradients = whole if micro_rows < rows else -(-whole // shards)
    kept, peak = _activation_bytes(trial, micro_rows)
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
        gathered=narrow_bytes * (root + 2 * block) + BYTES * max(root, block) if shards > 1 else 0,
        activations=activations,
        logits=max(0, at_loss - activations),
        overhead=0,
    )
    if trial.hardware.accelerator == "cpu":
        return replace(memory, overhead=CPU_PROCESS_BYTES)
    return replace(memory, overhead=GPU_CONTEXT_BYTES + round(GPU_FRAGMENTATION * memory.total))


def fitting_strategy(trial: TrialConfig, *, devices: int, room_bytes: float) -> tuple[StrategyName, TrainingMemory]:
    """Return the strategy that was asked for or, with `auto`, the first that fits, else the last; and what it needs.

    Args:
        devices: number of devices of all nodes.
        room_bytes: memory of each of them.
    """
    wanted = trial.hardware.strategy
    automatic: tuple[StrategyName, ...] = ("single",) if devices == 1 else ("ddp", "fsdp")
    for name in automatic if wanted == "auto" else (wanted,):
        memory = training_memory(trial, devices=devices, strategy=name)
        if memory.total <= room_bytes:
            break
    return name, memory


def _parameters(trial: TrialConfig) -> tuple[int, int, int, int]:
    """Count the parameters of the model, of the blocks' matrices, of FSDP's root unit and of the largest block."""
    model = build_on_meta(trial)
    sizes = [sum(weight.numel() for weight in block.parameters()) for block in model.all_blocks()]
    parameters = sum(weight.numel() for weight in model.parameters())
    matrices = sum(weight.numel() for block in model.all_blocks() for weight in block.parameters() if weight.ndim > 1)
    return parameters, matrices, parameters - sum(sizes), max(sizes)


def _chunk_bytes(trial: TrialConfig, rows: int) -> int:
    device_type = "cpu" if trial.hardware.accelerator == "cpu" else "cuda"
    positions = rows * trial.scale.context_tokens
    return chunk_bytes(positions, trial.tokenizer.vocab_size, trial.scale.d_model, trial.precision, device_type)


def _activation_bytes(trial: TrialConfig, rows: int) -> tuple[int, int]:
    """Return the bytes that the backward pass reads, and its peak with temporary tensors."""
    layers, encoder_layers = trial.scale.n_layers, trial.architecture.encoder_layers
    encoder = min(1, encoder_layers)

    def of_rows(rows: int) -> NDArray[np.int64]:
        shallow = _measured(trial, 1, encoder, rows)
        deeper = shallow + (layers - 1) * (_measured(trial, 2, encoder, rows) - shallow)
        if encoder_layers > 1:
            deeper = deeper + (encoder_layers - 1) * (_measured(trial, 1, 2, rows) - shallow)
        return deeper

    one = of_rows(1)
    kept, peak = (one + (rows - 1) * (of_rows(2) - one)).tolist()
    return kept, peak


# By what the bytes depend on: many arms of a grid share it.
_measurements: dict[str, NDArray[np.int64]] = {}


def _measured(trial: TrialConfig, layers: int, encoder_layers: int, rows: int) -> NDArray[np.int64]:
    """Measure a model of so many layers: bytes after its forward pass, and at the peak of its backward pass."""
    small = replace(
        trial,
        scale=replace(trial.scale, n_layers=layers),
        architecture=replace(trial.architecture, encoder_layers=encoder_layers),
        # sdpa's kernel keeps what FlexAttention keeps: queries, keys, values, the output and a number per query.
        hardware=replace(
            trial.hardware, attention="dense" if trial.hardware.attention == "dense" else "sdpa", accelerator="cpu"
        ),
    )
    # On a CPU in bf16, attention keeps its weights.
    is_flat = trial.hardware.accelerator != "cpu"
    key = repr((small.scale, small.block, small.architecture, small.hardware.attention, trial.precision, is_flat, rows))
    if key not in _measurements:
        run = partial(_run, small, rows, is_flat=is_flat)
        _measurements[key] = np.array(remembered(cache_folder(trial.cache_dir), key, run))
    return _measurements[key]


def _run(trial: TrialConfig, rows: int, *, is_flat: bool) -> tuple[int, int]:
    """Run a model of 8 vocabulary entries forward and backward without data, its gradients in place."""
    fake, device, is_narrow = FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"), trial.precision == "bf16"
    with torch.device("meta"):
        model: LanguageModel[Any] = build_model(trial, 8)
    with fake:
        model.to_empty(device=device)
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
    # Masks depend on numbers, so they are real. Outside autocast they take the kernel that a GPU has for bf16.
    with torch.autocast("cpu", torch.bfloat16, enabled=is_narrow and not is_flat):
        prepared = model.prepared(full_batch(trial, rows))
    tracker = MemTracker()
    tracker.track_external(model)
    with fake, tracker, torch.autocast("cpu", torch.bfloat16, enabled=is_narrow, cache_enabled=False):
        before = _bytes(tracker, "current")
        hidden_NC = model.hidden_with_loss(prepared)
        after = _bytes(tracker, "current")
        torch.autograd.backward(hidden_NC, torch.empty_like(hidden_NC))
    return after - before, _bytes(tracker, "peak") - before


def _bytes(tracker: MemTracker, moment: str) -> int:
    return sum(kinds["Total"] for kinds in tracker.get_tracker_snapshot(moment).values())


def full_batch(trial: TrialConfig, rows: int) -> Batch:
    """Return rows of one segment that all have loss; an encoder reads their first halves."""
    length = trial.scale.context_tokens
    zeros = np.zeros((rows, length), np.int32)
    ones, index = zeros + 1, zeros[:, 0]
    span = zeros.copy()
    if trial.architecture.has_encoder:
        span[:, : length // 2] = 1
    return Batch(zeros, zeros, ones.astype(np.float32), ones, ones.cumsum(1, dtype=np.int32) - 1, span, index, index)
