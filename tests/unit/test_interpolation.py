"""Budgets that follow from the scale."""

import pytest

from ablate.config.parse import composed_from_container
from ablate.grid.expand import default_container
from ablate.model.build import build_on_meta


@pytest.mark.parametrize(
    "overrides",
    [
        ["scale=demo"],
        ["scale=20m", "block=llama"],
        ["scale=4m", "block=llama", "block.key_value_heads=2", "tokenizer.vocab_size=8192"],
        ["scale=350m", "block.mlp_ratio=3"],
    ],
    ids=" ".join,
)
def test_a_budget_has_20_tokens_for_each_weight_of_a_matrix(overrides: list[str]) -> None:
    trial = composed_from_container(default_container("budget=chinchilla", *overrides)).trial
    weights = sum(weight.numel() for weight in build_on_meta(trial).parameters() if weight.ndim > 1)
    assert trial.budget.train_tokens == 20 * weights
    assert trial.schedule.decay_tokens == 20 * weights


def test_all_architectures_of_a_scale_have_the_same_budget() -> None:
    arms = [["objective=prefix"], ["objective=prefix", "architecture=encoder_decoder"]]
    tokens = {
        composed_from_container(default_container("budget=chinchilla", *arm)).trial.budget.train_tokens for arm in arms
    }
    assert len(tokens) == 1
