"""A trial that continues another one ends in the bits of one that was never interrupted."""

from pathlib import Path

import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.identity import parent_of, trial_id
from ablate.training.parent import parent_state
from tests.support.training import trained
from tests.support.trials import MakeTrial

# No warm-up: that of a longer budget would be longer.
WSD = ("schedule=wsd", "schedule.warmup_fraction=0", "checkpoint.keep_final=true", "objective=mixed")


def run(trial: TrialConfig, runs_dir: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    weights, rows, _ = trained(trial, runs_dir / trial_id(trial))
    return weights, rows


def test_cooldown_branches_of_one_stable_phase_end_in_the_bits_of_whole_trials(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    stable = make_trial(*WSD, "budget.train_tokens=640", "schedule.cooldown_fraction=0")
    run(stable, tmp_path)
    for tokens in (960, 1280):
        budget = (*WSD, f"budget.train_tokens={tokens}", "schedule.cooldown_fraction=0.3")
        branch, whole = make_trial(*budget, "schedule.continues_at=[640]"), make_trial(*budget)
        assert trial_id(branch) != trial_id(whole), "the parent is part of the id"
        weights, rows = run(branch, tmp_path)
        expected, expected_rows = run(whole, tmp_path)
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        assert [row["step"] for row in rows] == [row["step"] for row in expected_rows if int(str(row["step"])) > 4]
        assert rows == expected_rows[-len(rows) :]


def test_a_stable_phase_may_continue_a_shorter_one(make_trial: MakeTrial) -> None:
    budget = (*WSD, "budget.train_tokens=4000", "schedule.cooldown_fraction=0.2")
    last = make_trial(*budget, "schedule.continues_at=[800,1600]")
    middle = make_trial(*WSD, "budget.train_tokens=1600", "schedule.cooldown_fraction=0", "schedule.continues_at=[800]")
    first = make_trial(*WSD, "budget.train_tokens=800", "schedule.cooldown_fraction=0")
    parents = [parent_of(trial) for trial in (last, middle, first)]
    assert [parent and trial_id(parent) for parent in parents] == [trial_id(middle), trial_id(first), None]
    assert trial_id(last) != trial_id(make_trial(*budget, "schedule.continues_at=[1600]"))


def test_a_parent_that_is_missing_or_kept_no_state_is_named_with_its_command(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    stable = make_trial(*WSD, "budget.train_tokens=400", "schedule.cooldown_fraction=0", "checkpoint.keep_final=false")
    branch = make_trial(*WSD, "budget.train_tokens=800", "schedule.continues_at=[400]")
    with pytest.raises(UsageError) as missing:
        parent_state(branch, tmp_path)
    assert f"the trial {trial_id(stable)} (data_seed=0)" in str(missing.value)
    assert "at 400 train tokens, is not finished" in str(missing.value)
    assert "-m schedule=wsd schedule.cooldown_fraction=0 budget.train_tokens=400 checkpoint.keep_final=true" in str(
        missing.value
    )
    run(stable, tmp_path)
    with pytest.raises(UsageError, match="did not keep its last state"):
        parent_state(branch, tmp_path)
    assert parent_state(stable, tmp_path) is None
