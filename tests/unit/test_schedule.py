"""Learning rates over a budget."""

import pytest

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.training.schedule import learning_rate
from tests.support.trials import container_of


def trial(*overrides: str) -> TrialConfig:
    return composed_from_container(container_of(*overrides)).trial


def test_codegen1_anneals_over_300k_of_350k_steps_after_its_warm_up_and_stays_flat() -> None:
    schedule = trial("schedule=codegen1", "budget.train_tokens=350_000").schedule
    steps = {1_500: 1e-4, 3_000: 2e-4, 153_000: 1.1e-4, 303_000: 2e-5, 330_000: 2e-5, 350_000: 2e-5}
    assert [learning_rate(2e-4, schedule, step) for step in steps] == pytest.approx(list(steps.values()), rel=1e-6)
    assert learning_rate(2e-4, schedule, 302_000) > learning_rate(2e-4, schedule, 303_000)


def test_wsd_stays_at_its_peak_until_the_cooldown() -> None:
    schedule = trial("schedule=wsd", "budget.train_tokens=1000", "schedule.final_fraction=0.1").schedule
    rates = [learning_rate(1.0, schedule, tokens) for tokens in (25, 50, 400, 800, 850, 1000, 1200)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.1 + 0.9 * 0.5, 0.1, 0.1])


def test_wsd_without_a_cooldown_stays_at_its_peak() -> None:
    schedule = trial("schedule=wsd", "budget.train_tokens=1000", "schedule.cooldown_fraction=0").schedule
    assert [learning_rate(1.0, schedule, tokens) for tokens in (50, 1000, 2000)] == [1.0, 1.0, 1.0]
