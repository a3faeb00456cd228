"""What `plan` predicts, against a model that is really there and against finished trials."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from ablate.data.batches.compute_counts import compute_counts
from ablate.grid.plan import _hours
from ablate.model.build import build_model, build_on_meta
from ablate.model.flops import training_flops
from ablate.model.memory import full_batch
from tests.support.command_line import with_tiny
from tests.support.in_process import run_in_process
from tests.support.text import write_text
from tests.support.trials import MakeTrial


def test_planned_flops_are_those_that_torch_counts(make_trial: MakeTrial) -> None:
    trial = make_trial()
    trial = replace(trial, precision="fp32", hardware=replace(trial.hardware, attention="dense"))
    batch = full_batch(trial, 2)
    model: Any = build_model(trial, trial.tokenizer.vocab_size)
    with FlopCounterMode(display=False) as counter:
        hidden_NC = model.hidden_with_loss(model.prepared(batch))
        (hidden_NC @ model.head.weight.T).sum().backward()
    counts = compute_counts(batch, trial.architecture)
    # torch counts masked pairs too.
    pairs = 2 * trial.scale.context_tokens**2
    planned = training_flops(build_on_meta(trial), **{**vars(counts), "decoder_pairs": pairs})
    assert counter.get_total_flops() == pytest.approx(planned, rel=0.02)


def test_hours_come_from_the_ledger_before_a_prior() -> None:
    measured = _hours(7200, 1e15, [1.0, 2.0, 4.0], "bf16", "H100")
    assert measured is not None
    assert (measured.low, measured.expected, measured.high, measured.source) == (0.5, 1.0, 2.0, "ledger")
    prior = _hours(7200, 989e12 * 3600, [], "bf16", "H100")
    assert prior is not None
    assert (prior.low, prior.expected, prior.high, prior.source) == (2.0, 2.5, 5.0, "prior")
    assert _hours(7200, 1e15, [], "bf16", None) is None


def test_a_plan_says_what_fits_and_ends_with_1_above_the_budget(tmp_path: Path) -> None:
    write_text(tmp_path / "text", 40, seed=0)
    words = with_tiny(
        tmp_path, "plan", "-m", "objective=causal,prefix", "replicates=2", "hardware=gpu", "precision=bf16"
    )
    done = run_in_process(tmp_path, *words, "--device", "H100", "--budget", "1h", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [(arm["trials"], arm["fits"], arm["hours"]["source"]) for arm in plan["arms"]] == [(2, True, "prior")] * 2
    assert plan["is_within_budget"] is True
    assert run_in_process(tmp_path, *words, "--device", "H100", "--budget", "0h").returncode == 1
    assert "a number with its unit" in run_in_process(tmp_path, *words, "--budget", "3").stderr
    assert not (tmp_path / "runs").exists()
