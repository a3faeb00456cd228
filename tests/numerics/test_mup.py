"""muP: how far training moves a model's outputs does not depend on its width."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch
from ablate.model.build import Model, build_model
from ablate.model.hf import to_hugging_face
from ablate.training.optimizer import make_optimizer
from tests.support.trials import MakeTrial

WIDTHS = (32, 64, 128, 256)
RATE, STEPS = 2e-2, 4


def random_batch() -> Batch:
    ids = np.random.default_rng(0).integers(1, 64, (4, 32), dtype=np.int32)
    zeros, index = np.zeros_like(ids), np.zeros(4, np.int32)
    ones, weights = zeros + 1, np.ones(ids.shape, np.float32)
    return Batch(ids, np.roll(ids, -1, 1), weights, ones, ones.cumsum(1, dtype=np.int32) - 1, zeros, index, index)


def outputs(model: Model, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.head(model.hidden_with_loss(model.prepared(batch)))  # type: ignore[arg-type]
    return logits


def movement(trial: TrialConfig) -> float:
    """The root mean square of what a few steps change of the logits."""
    model, batch = build_model(trial, 64), random_batch()
    optimizer = make_optimizer(model, trial.optimizer)
    before = outputs(model, batch)
    for _ in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * group["rate_multiplier"]
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(batch) / 128)
        optimizer.step()
    return float((outputs(model, batch) - before).square().mean().sqrt())


def growth(
    make_trial: MakeTrial, block: str, base: str, optimizer: str = "adamw", widths: Sequence[int] = WIDTHS
) -> float:
    """The power of the width with which the movement grows."""
    moved = [
        movement(
            make_trial(
                f"block={block}",
                f"optimizer={optimizer}",
                f"scale.d_model={width}",
                "scale.n_heads=4",
                f"scale.mup_base_width={base}",
            )
        )
        for width in widths
    ]
    return float(np.polyfit([math.log(width) for width in widths], [math.log(size) for size in moved], 1)[0])


@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_the_coordinate_check(make_trial: MakeTrial, block: str) -> None:
    with_mup, without = growth(make_trial, block, "32"), growth(make_trial, block, "null")
    assert abs(with_mup) < 0.2
    assert without > 0.5


@pytest.mark.slow
def test_the_coordinate_check_of_muon(make_trial: MakeTrial) -> None:
    # Its products in bf16 are slow on some CPUs, so without the largest width.
    with_mup, without = (growth(make_trial, "gptj", base, "muon", WIDTHS[:3]) for base in ("32", "null"))
    assert abs(with_mup) < 0.2
    assert without > 0.3


def test_at_the_base_width_nothing_changes(make_trial: MakeTrial) -> None:
    assert movement(make_trial("scale.mup_base_width=32")) == movement(make_trial())


@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_transformers_computes_the_same_from_exported_weights(make_trial: MakeTrial, block: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    trial = make_trial(f"block={block}", "scale.d_model=64", "scale.n_heads=4", "scale.mup_base_width=16")
    model, batch = build_model(trial, 340), random_batch()
    config, weights = to_hugging_face(model.state_dict(), trial, qkv_groups=4, end_of_text=0)
    kind = config.pop("model_type")
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **config)).eval()  # type: ignore[no-untyped-call]
    theirs.load_state_dict(weights)
    with torch.no_grad():
        logits = theirs(torch.from_numpy(batch.input_ids_BT).long()).logits.flatten(0, 1)
    assert torch.allclose(logits, outputs(model, batch), atol=1e-5)
