"""The held-out text of a trial, as suites read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Literal

from ablate.config.trial import TrialConfig
from ablate.objectives.objective import Objective
from ablate.objectives.prompt import Prompts

if TYPE_CHECKING:
    from ablate.data.tokens.shards import Shards
    from ablate.data.tokens.tokenizer import Tokenizer

HeldOutSplit = Literal["validation", "test"]


@dataclass(frozen=True)
class HeldOut:
    """One held-out split of a trial's corpus, with the tokenizer and the prompts of the trial.

    Attributes:
        split: `validation` is scored during training and tuning, `test` once at the end.
    """

    trial: TrialConfig
    shards: "Shards"
    split: HeldOutSplit

    @property
    def tokenizer(self) -> "Tokenizer":
        """The trial's tokenizer."""
        return self.shards.tokenizer

    def documents(self, per_source: int) -> Iterator[tuple[str, str, str]]:
        """(source, name, text) of each source's first documents by hash, sources in the order of their names.

        Args:
            per_source: how many; on the validation split at most `evaluation.val_documents_per_source`.
        """
        if self.split == "validation":
            per_source = min(per_source, self.trial.evaluation.val_documents_per_source)
        for source in sorted(self.trial.corpus.sources):
            for name, text in islice(self.shards.held_out(self.split, source), per_source):
                yield source, name, text

    @cached_property
    def prompts(self) -> Prompts:
        """How the trial's model is prompted, in the way that its objective's rows taught it."""
        honours_spans = self.trial.architecture.honours_bidirectional_spans
        return Prompts(Objective.of(self.trial), self.tokenizer.special, honours_spans)
