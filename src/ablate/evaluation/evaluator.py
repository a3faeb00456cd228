"""A trial's evaluation: what it is scored on, how it is asked, and the unigram model beside it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.config.trial import TrialConfig
from ablate.data.batches.mixture import Mixture
from ablate.data.corpus.document import Split
from ablate.data.tokens.shards import Shards
from ablate.evaluation.passages import Passage, passages
from ablate.evaluation.suites import bits_per_byte, infill
from ablate.evaluation.suites.infill import Middle, middles
from ablate.evaluation.table import summary
from ablate.model.build import Model
from ablate.objectives.objective import Objective
from ablate.objectives.prompt import Prompts


@dataclass(frozen=True)
class HeldOut:
    """What of one split is scored."""

    passages: list[Passage]
    middles: list[Middle]


@dataclass(frozen=True)
class Evaluator:
    """Scores a model of one trial on its held-out splits."""

    trial: TrialConfig
    shards: Shards

    def _held_out(self, split: Split, passage_documents: int, infill_documents: int) -> HeldOut:
        config, sources = self.trial.evaluation, list(self.trial.corpus.sources)
        return HeldOut(
            passages(self.shards, config, split, sources, passage_documents),
            middles(self.shards, config, split, sources, infill_documents),
        )

    @cached_property
    def validation(self) -> HeldOut:
        """What is scored in the course of training."""
        config = self.trial.evaluation
        documents = config.val_documents_per_source
        return self._held_out("validation", documents, min(documents, config.infill_documents_per_source))

    @cached_property
    def test(self) -> HeldOut:
        """What is scored at the end."""
        config = self.trial.evaluation
        return self._held_out("test", config.test_documents_per_source, config.infill_documents_per_source)

    @cached_property
    def prompts(self) -> Prompts:
        """How this trial's model is asked."""
        tokenizer = self.shards.tokenizer
        objective = Objective.from_config(
            self.trial.objective, self.trial.infill, tokenizer.special, self.trial.data_seed, tokenizer.splitter
        )
        return Prompts(objective, self.trial.architecture.kind != "causal_decoder")

    def documents(self, model: Model, held_out: HeldOut) -> pd.DataFrame:
        """Amounts per metric and document; see `table`. The caller sets precision and evaluation mode."""
        knobs = {
            "context_tokens": self.trial.scale.context_tokens,
            "rows_per_batch": self.trial.evaluation.rows_per_batch,
        }
        found = [bits_per_byte.score(model, held_out.passages, self.prompts, **knobs)]
        if held_out.middles:
            found.append(infill.score(model, held_out.middles, self.prompts, **knobs))
        return pd.concat(found, ignore_index=True)

    def validation_summary(self, model: Model) -> dict[str, float]:
        """The metrics on the validation split."""
        return summary(self.documents(model, self.validation))

    def test_documents(self, model: Model) -> tuple[pd.DataFrame, dict[str, float]]:
        """Per-document values on the test split and their summary, with `bpb_full_unigram` for comparison."""
        documents = self.documents(model, self.test)
        unigram = summary(bits_per_byte.unigram_rows(self.test.passages, self._unigram_V()))
        return documents, {**summary(documents), "bpb_full_unigram": unigram["bpb_full_unigram"]}

    def _unigram_V(self) -> NDArray[np.float64]:
        """Token probabilities of the training mixture, add-one smoothed, documents' borders aside."""
        entries = self.trial.tokenizer.vocab_size
        end_of_text = self.shards.tokenizer.special.end_of_text
        total = np.zeros(entries)
        mixture = Mixture.of(self.trial.mixture, self.trial.data_seed, self.trial.budget_rows)
        for source, weight in zip(mixture.sources, mixture.counts(self.trial.budget_rows), strict=True):
            counts = self.shards.counts_V(source).astype(np.float64)
            counts[end_of_text] = 0
            total += weight * (counts + 1) / (counts + 1).sum()
        total /= total.sum()
        return total
