"""The types of the data: mixture, corpus, cleaning, preparation and tokenizer."""

from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass as typed

from ablate.config.fields import (
    OPERATIONAL,
    STRICT,
    Count,
    CountOrZero,
    Fraction,
    Name,
    NotNegative,
    SourceName,
    fold,
)

Weights = Annotated[dict[str, NotNegative], Field(min_length=1)]
Packing = Literal["windows", "best_fit", "groups"]
PACKINGS: tuple[Packing, ...] = get_args(Packing)
Epochs = Annotated[float, Field(ge=1, allow_inf_nan=False)]


@typed(frozen=True, config=STRICT)
class StageConfig:
    """Other weights, from a fraction of the budget on."""

    from_fraction: Annotated[float, Field(gt=0, lt=1)]
    weights: Weights


@typed(frozen=True, config=STRICT)
class MixtureConfig:
    """Which sources rows come from, how often, and whether documents that share a row attend to each other.

    `epochs` null reads all of a source before any of it again; a number reads a part of it so often over the whole
    budget. `max_epochs`, one for all or by source, rejects a budget that reads more often. `augmentation:
    first_epoch` repeats an objective's draws whenever a row is read again. `packing: windows` splits a source every
    `window_tokens`, `best_fit` packs whole documents, `groups` packs the documents of a repository, package or work as
    one, with `<sep>` between them. `<|endoftext|>` ends each document; with `leading_end_of_text` it also begins each.
    """

    weights: Weights
    stages: tuple[StageConfig, ...]
    epochs: Epochs | None
    max_epochs: Annotated[Epochs | dict[str, Epochs] | None, OPERATIONAL]
    augmentation: Literal["every_epoch", "first_epoch"]
    packing: Packing
    document_mask: bool
    restart_positions: bool
    leading_end_of_text: bool = True

    def epoch_cap(self, source: str) -> float | None:
        """How often a source may be read."""
        return self.max_epochs.get(source) if isinstance(self.max_epochs, dict) else self.max_epochs

    def budget_fraction(self, source: str) -> float:
        """The part of the whole budget's rows that a source has, through all stages."""
        weights = [self.weights, *(stage.weights for stage in self.stages)]
        borders = [0.0, *(stage.from_fraction for stage in self.stages), 1.0]
        shares = [of_stage.get(source, 0.0) / sum(of_stage.values()) for of_stage in weights]
        return sum((end - start) * share for (start, end), share in zip(pairwise(borders), shares, strict=True))


@typed(frozen=True, config=STRICT)
class ReaderConfig:
    """One place that documents are read from."""

    reader: Name
    parameters: dict[str, Any]


@typed(frozen=True, config=STRICT)
class CorpusConfig:
    """Named readers by source, and the split by hash. `manifest_sha256` is null for a corpus of your own.

    A mixture weighs sources; scores are reported for each reader of a source (see `scored_source`).
    """

    sources: Annotated[
        dict[SourceName, Annotated[dict[str, Annotated[ReaderConfig, fold("reader")]], Field(min_length=1)]],
        Field(min_length=1),
    ]
    val_fraction: Fraction
    test_fraction: Fraction
    manifest_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None

    def scored_source(self, source: str, label: str) -> str:
        """Return the name of a reader's scores: SOURCE.LABEL, or the source where it has one reader.

        Pre-tokenized shards have no names of their own: their last documents are held out, whatever reader they are of.
        """
        readers = self.sources[source]
        is_whole = len(readers) == 1 or any(reader.reader == "megatron" for reader in readers.values())
        return source if is_whole else f"{source}.{label}"

    @property
    def scored_sources(self) -> tuple[str, ...]:
        """Names of the scores of all readers, sorted; a metric is the mean over them."""
        names = {self.scored_source(source, label) for source, labels in self.sources.items() for label in labels}
        return tuple(sorted(names))

    @property
    def metric_sources(self) -> tuple[str, ...]:
        """Names that may follow a metric and a slash: scored sources, and sources as means over their readers."""
        return tuple(dict.fromkeys((*self.sources, *self.scored_sources)))


ProblemKind = Literal["not_utf8", "binary", "bad_json", "no_text", "too_long", "bad_value"]


@typed(frozen=True, config=STRICT)
class CleaningConfig:
    """Which documents of a corpus are kept; what is kept makes its manifest.

    `skip` names the problems that are counted instead of ending the preparation; a document above `max_bytes` is one.
    `licences` null asks for none. `near_duplicates` is the Jaccard similarity of word shingles from which on only the
    first of two documents stays, `decontaminate` the benchmarks whose problems no document may hold.
    """

    skip: tuple[ProblemKind, ...]
    min_bytes: CountOrZero
    max_bytes: Count
    licences: tuple[str, ...] | None
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None
    decontaminate: tuple[Literal["humaneval"], ...]


@typed(frozen=True, config=STRICT)
class PreparationConfig:
    """Where a corpus is read and tokenized: in `workers` processes (null: one a core) of this machine, or as tasks of
    datatrove's Slurm or Ray executor, whose own arguments follow.
    """

    executor: Literal["local", "slurm", "ray"]
    workers: Count | None
    parameters: dict[str, Any]


@typed(frozen=True, config=STRICT)
class TokenizerConfig:
    """What turns text into tokens; `vocab_size` is the size of the model's vocabulary, special tokens included.

    `bpe` is trained on the train split, `bytes` has none to train, `gpt2` and `codegen2` (its extension, with the ids
    of the release) come with a package, `file` is the `tokenizer.json` at `path`, whose SHA-256 the grid fills in.
    `hub` is the folder `path` of a model of transformers, with the special tokens that it has.
    """

    kind: Literal["bpe", "bytes", "gpt2", "codegen2", "file", "hub"]
    vocab_size: Annotated[int, Field(gt=0, le=2**31 - 1)]
    mask_sentinels: CountOrZero
    path: Annotated[str | None, OPERATIONAL]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None

    @property
    def is_file(self) -> bool:
        """Whether `path` names it."""
        return self.kind in ("file", "hub")
