"""The unigram model of a trial's training mixture, a reference for bits per byte.

Shapes: `V` vocabulary.
"""

import numpy as np
from numpy.typing import NDArray

from ablate.data.batches.mixture import Mixture
from ablate.evaluation.held_out import HeldOut


def unigram_V(held_out: HeldOut) -> NDArray[np.float64]:
    """Token probabilities of the training mixture, add-one smoothed, `<|endoftext|>` left out."""
    trial, shards = held_out.trial, held_out.shards
    assert shards is not None
    total = np.zeros(trial.tokenizer.vocab_size)
    mixture = Mixture.of(trial.mixture, trial.data_seed, trial.budget_rows)
    for source, weight in zip(mixture.sources, mixture.counts(trial.budget_rows), strict=True):
        counts = shards.counts_V(source).astype(np.float64)
        counts[shards.tokenizer.special.end_of_text] = 0
        total += weight * (counts + 1) / (counts + 1).sum()
    total /= total.sum()
    return total
