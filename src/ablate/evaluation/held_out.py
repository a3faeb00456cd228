"""The held-out text of a trial, as suites read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ablate.config.trial import TrialConfig
from ablate.objectives.objective import Objective
from ablate.objectives.prompt import Prompts

if TYPE_CHECKING:
    from ablate.data.corpus.overlap import SeenText
    from ablate.data.tokens.shards import Shards
    from ablate.data.tokens.tokenizer import Tokenizer

HeldOutSplit = Literal["validation", "test"]


@dataclass(frozen=True)
class HeldOutDocument:
    """A document that a model did not train on.

    Attributes:
        source: the name of its scores (see `CorpusConfig.scored_source`).
        seen: which of its 13-grams also occur in the training text; None if that was not measured.
    """

    source: str
    name: str
    text: str
    seen: "SeenText | None" = None

    @cached_property
    def content(self) -> bytes:
        """The text in UTF-8."""
        return self.text.encode()


@dataclass(frozen=True)
class HeldOut:
    """One held-out split of a trial's corpus, with the tokenizer and the prompts of the trial.

    Attributes:
        shards: None where no suite reads the corpus, and the tokenizer does not come from it.
        split: `validation` is scored during training and tuning, `test` once at the end.
    """

    trial: TrialConfig
    shards: "Shards | None"
    split: HeldOutSplit

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The trial's tokenizer."""
        if self.shards is not None:
            return self.shards.tokenizer
        from ablate.data.tokens.tokenizer import Tokenizer

        return Tokenizer.of(self.trial.tokenizer, lambda: iter(()))

    def documents(self, per_source: int) -> Iterator[tuple[str, str, str]]:
        """(source, name, text) of each scored source's first documents by hash, sources in the order of their names.

        Args:
            per_source: how many; on the validation split at most `evaluation.val_documents_per_source`.
        """
        for document in self.measured_documents(per_source):
            yield document.source, document.name, document.text

    def measured_documents(self, per_source: int) -> list[HeldOutDocument]:
        """Return the documents like `documents`, with their overlap with the training text."""
        from ablate.data.corpus.overlap import SeenText

        assert self.shards is not None
        corpus = self.trial.corpus
        if self.split == "validation":
            per_source = min(per_source, self.trial.evaluation.val_documents_per_source)
        chosen: dict[str, list[HeldOutDocument]] = {source: [] for source in corpus.scored_sources}
        for source, labels in corpus.sources.items():
            missing = per_source * len(labels)
            for document in self.shards.held_out(self.split, source):
                of_source = chosen[name := corpus.scored_source(source, document.label)]
                if len(of_source) < per_source:
                    seen = SeenText.of(document)
                    of_source.append(HeldOutDocument(name, document.name, document.text, seen))
                    missing -= 1
                if missing == 0:
                    break
        return [document for documents in chosen.values() for document in documents]

    @cached_property
    def prompts(self) -> Prompts:
        """How the trial's model is prompted, in the way that its objective's rows taught it."""
        honours_spans = self.trial.architecture.honours_bidirectional_spans
        return Prompts(Objective.of(self.trial), self.tokenizer.special, honours_spans)
