"""A trial's evaluation: its passages, its way of reading them, and the unigram model beside them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.config import TrialConfig
from ablate.data.corpus import Split
from ablate.data.shards import Shards
from ablate.evaluation.bits_per_byte import score, summary, unigram_bits
from ablate.evaluation.passages import Passage, passages
from ablate.model.decoder import Decoder
from ablate.objectives.objective import checked_arms


@dataclass(frozen=True)
class Evaluator:
    """Scores a model of one trial on its held-out splits."""

    trial: TrialConfig
    shards: Shards

    def _passages(self, split: Split, documents_per_source: int) -> list[Passage]:
        return passages(
            self.shards,
            self.trial.evaluation,
            split,
            list(self.trial.corpus.sources),
            documents_per_source,
        )

    @cached_property
    def tune(self) -> list[Passage]:
        """What is scored in the course of training."""
        return self._passages("tune", self.trial.evaluation.tune_documents_per_source)

    @cached_property
    def test(self) -> list[Passage]:
        """What is scored at the end."""
        return self._passages("test", self.trial.evaluation.test_documents_per_source)

    def documents(self, model: Decoder, chosen: list[Passage]) -> pd.DataFrame:
        """Bits and bytes per metric and document; see `score`. The caller sets precision and evaluation mode."""
        trained_on_regions = any(arm.emits_region for arm in checked_arms(self.trial.objective))
        return score(
            model,
            chosen,
            end_of_text=self.shards.tokenizer.special.end_of_text,
            reads_regions=trained_on_regions and model.honours_regions,
            context_tokens=self.trial.scale.context_tokens,
            rows_per_batch=self.trial.evaluation.rows_per_batch,
        )

    def tune_summary(self, model: Decoder) -> dict[str, float]:
        """The metrics on the tune split."""
        return summary(self.documents(model, self.tune))

    def test_documents(self, model: Decoder) -> tuple[pd.DataFrame, dict[str, float]]:
        """Per-document values on the test split and their summary, with `bpb_full_unigram` for comparison."""
        documents = self.documents(model, self.test)
        return documents, {**summary(documents), "bpb_full_unigram": unigram_bits(self.test, self._unigram_V())}

    def _unigram_V(self) -> NDArray[np.float64]:
        """Token probabilities of the training mixture, add-one smoothed, documents' borders aside."""
        entries = self.trial.tokenizer.entries
        end_of_text = self.shards.tokenizer.special.end_of_text
        total = np.zeros(entries)
        for source, weight in self.trial.mixture.weights.items():
            counts = np.bincount(self.shards.tokens(source), minlength=entries).astype(np.float64)
            counts[end_of_text] = 0
            total += weight * (counts + 1) / (counts + 1).sum()
        total /= total.sum()
        return total
