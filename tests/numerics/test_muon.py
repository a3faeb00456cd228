"""Muon: which parameters it updates, how large a step is, and a trial that continues."""

from pathlib import Path

import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.identity import trial_id
from ablate.model.build import build_model
from ablate.training.optimizer import make_optimizer
from tests.support.training import trained
from tests.support.trials import MakeTrial


@pytest.fixture
def trial(make_trial: MakeTrial) -> TrialConfig:
    return make_trial("optimizer=muon", "optimizer.weight_decay=0.5")


def test_muon_updates_the_matrices_of_the_blocks_and_adamw_all_else(trial: TrialConfig) -> None:
    torch.manual_seed(0)
    model = build_model(trial, 64)
    optimizer = make_optimizer(model, trial.optimizer)
    grouped = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer.step()
    for name, parameter in model.named_parameters():
        weight = parameter.detach()
        is_hidden = weight.ndim == 2 and name.startswith("blocks.")
        assert set(optimizer.state[parameter]) == (
            {"momentum_buffer"} if is_hidden else {"step", "exp_avg", "exp_avg_sq"}
        )
        decay = 0.5 if weight.ndim == 2 else 0.0
        step = (before[name] * (1 - trial.optimizer.learning_rate * decay) - weight) / trial.optimizer.learning_rate
        if is_hidden:
            # Nearly orthogonal, times 0.2 · √(longer side): a step of AdamW's size, whatever the shape.
            singular = torch.linalg.svdvals(step) / (0.2 * max(weight.shape) ** 0.5)
            assert 0.6 < float(singular.median()) < float(singular.max()) < 1.4, name
        else:
            assert float(step.abs().max()) == pytest.approx(1, abs=0.01), "AdamW's first step"


def test_a_continued_trial_restores_the_state_of_both(make_trial: MakeTrial, tmp_path: Path) -> None:
    wsd = ("schedule=wsd", "schedule.warmup_fraction=0", "checkpoint.keep_final=true", "optimizer=muon")
    stable = make_trial(*wsd, "budget.train_tokens=640", "schedule.cooldown_fraction=0")
    branch, whole = (
        make_trial(*wsd, "budget.train_tokens=960", f"schedule.continues_at={tokens}") for tokens in ("[640]", "[]")
    )
    trained(stable, tmp_path / trial_id(stable))
    weights, _, _ = trained(branch, tmp_path / trial_id(branch))
    expected, _, _ = trained(whole, tmp_path / trial_id(whole))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
