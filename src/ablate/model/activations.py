"""How many bytes activations take, measured by passes without data.

The passes run under torch's memory tracker, on models of one and two layers and batches of one and two rows:
activations are affine in layers and in rows.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch, full_batch, longest_row
from ablate.data.corpus.cache import cache_folder
from ablate.model.build import build_model
from ablate.model.language_model import LanguageModel
from ablate.model.shape_cache import remembered


def activation_bytes(trial: TrialConfig, rows: int) -> tuple[int, int]:
    """Return the bytes that the backward pass reads, and its peak with temporary tensors."""
    layers, encoder_layers = trial.scale.n_layers, trial.architecture.encoder_layers
    encoder = min(1, encoder_layers)

    def of_rows(rows: int) -> NDArray[np.int64]:
        shallow = _measured(trial, 1, encoder, rows)
        deeper = shallow + (layers - 1) * (_measured(trial, 2, encoder, rows) - shallow)
        if encoder_layers > 1:
            deeper = deeper + (encoder_layers - 1) * (_measured(trial, 1, 2, rows) - shallow)
        return deeper

    # Two rows of an encoder-decoder differ, and more of them are like these two; see `_largest_batch`.
    fewest = 2 if encoder and rows > 1 else 1
    of_fewest = of_rows(fewest)
    kept, peak = (of_fewest + (rows - fewest) * (of_rows(fewest + 1) - of_fewest)).tolist()
    return kept, peak


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
    shape = (small.scale, small.block, small.architecture, small.hardware.attention, trial.precision)
    key = repr(("activations", *shape, is_flat, rows, longest_row(trial)))
    return np.array(remembered(cache_folder(trial.cache_dir), key, partial(_run, small, rows, is_flat=is_flat)))


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
        prepared = model.prepared(_largest_batch(trial, rows))
    tracker = MemTracker()
    tracker.track_external(model)
    with fake, tracker, torch.autocast("cpu", torch.bfloat16, enabled=is_narrow, cache_enabled=False):
        before = _bytes(tracker, "current")
        hidden_NC = model.hidden_with_loss(prepared)
        after = _bytes(tracker, "current")
        torch.autograd.backward(hidden_NC, torch.empty_like(hidden_NC))
    return after - before, _bytes(tracker, "peak") - before


def _largest_batch(trial: TrialConfig, rows: int) -> Batch:
    """Return full rows for which encoder and decoder have the most slots.

    Both have as many as the row that needs the most. Where prefixes have random lengths, one row of several is nearly
    all prefix and another has hardly any.
    """
    batch = full_batch(trial, rows, longest_row(trial))
    if not trial.architecture.has_encoder or rows == 1:
        return batch
    span_BT = np.zeros_like(batch.span_BT)
    span_BT[0] = 1
    return replace(batch, span_BT=span_BT)


def _bytes(tracker: MemTracker, moment: str) -> int:
    return sum(kinds["Total"] for kinds in tracker.get_tracker_snapshot(moment).values())
