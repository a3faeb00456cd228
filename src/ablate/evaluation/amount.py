"""How much text a suite scores where its configuration names no number."""

from ablate.config.trial import TrialConfig

# Of a trial's training time, for one suite.
TIME_FRACTION = 0.1
# A training step takes about three forward passes: one forward, and two for the gradients.
FORWARD_PASSES = 3
LEAST, MOST = 25, 500


def affordable(trial: TrialConfig, tokens: float) -> int:
    """Return how many readings of so many tokens a suite scores of each scored source: a tenth of the training's time.

    It follows from the budget and not from a clock, because all arms and machines must score the same text. Between 25
    and 500: fewer say nothing of a source, and of more the documents are no longer what limits a comparison.
    """
    budget = TIME_FRACTION * FORWARD_PASSES * trial.budget.train_tokens
    return min(MOST, max(LEAST, int(budget / tokens / len(trial.corpus.scored_sources))))
