"""Tables of a corpus and its tokens, for the terminal and for the data card in Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.config.data import CorpusConfig, TokenizerConfig
from ablate.config.parse import plain
from ablate.data.corpus.corpus import Corpus
from ablate.data.corpus.document import SPLITS
from ablate.data.tokens.pretokenized import PretokenizedSource

MEGABYTE = 1_000_000

# Rows of source, language, documents, bytes and tokens, one per range of hashes.
TokenStatistics = Sequence[tuple[str, str, int, int, int]]


@dataclass(frozen=True)
class CardTable:
    """A table of a data card.

    Attributes:
        title: its heading.
        text_columns: how many of the columns, from the first on, are text; the others are numbers.
        columns: their headers.
        rows: their cells.
    """

    title: str
    text_columns: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---"] * self.text_columns + ["---:"] * (len(self.columns) - self.text_columns)
        lines = [self.columns, rule, *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(corpus: Corpus, statistics: TokenStatistics) -> list[CardTable]:
    """Return tables of the train split, of all splits, and of the documents that were dropped."""
    return [table for table in (_train(statistics), _splits(corpus), _dropped(corpus)) if table.rows]


def _train(statistics: TokenStatistics) -> CardTable:
    totals: dict[tuple[str, str], list[int]] = {}
    for source, language, *counts in statistics:
        before = totals.get((source, language), [0, 0, 0])
        totals[source, language] = [total + count for total, count in zip(before, counts, strict=True)]
    everything = [sum(counts) for counts in zip(*totals.values(), strict=True)]
    rows = [
        (source, language or "unknown", *_numbers(counts, everything[2]))
        for (source, language), counts in sorted(totals.items())
    ]
    if not all(size_bytes for _, size_bytes, _ in totals.values()):
        # The bytes of pre-tokenized sources are unknown.
        everything[1] = 0
    rows.append(("all", "", *_numbers(everything, everything[2])))
    columns = ("source", "language", "documents", "MB", "tokens", "fraction", "bytes per token")
    return CardTable("Train text", 2, columns, tuple(rows))


def _numbers(counts: Sequence[int], all_tokens: int) -> tuple[str, ...]:
    documents, size_bytes, tokens = counts
    return (
        f"{documents:,}",
        f"{size_bytes / MEGABYTE:,.1f}" if size_bytes else "–",
        f"{tokens:,}",
        f"{tokens / max(1, all_tokens):.1%}",
        f"{size_bytes / tokens:.2f}" if size_bytes else "–",
    )


def _splits(corpus: Corpus) -> CardTable:
    statistics = corpus.statistics
    rows = []
    for source in sorted(corpus.recipe.corpus.sources):
        pretokenized = PretokenizedSource.of(corpus, source)
        cells = []
        for split in SPLITS:
            if pretokenized.parts:
                first, last = pretokenized.splits[split]
                cells += [f"{last - first:,}", "–"]
            else:
                size_bytes = statistics.total(statistics.size_bytes, source, split)
                documents = statistics.total(statistics.documents, source, split)
                cells += [f"{documents:,}", f"{size_bytes / MEGABYTE:,.1f}"]
        rows.append((source, *cells))
    columns = ("source", *(name for split in SPLITS for name in (split, "MB")))
    return CardTable("Splits", 1, columns, tuple(rows))


def _dropped(corpus: Corpus) -> CardTable:
    statistics, cleaning = corpus.statistics, corpus.recipe.cleaning
    # These have a column even if they dropped nothing.
    configured = {
        "contaminated": cleaning.decontaminate,
        "licence not allowed": cleaning.licences,
        "near_duplicate": cleaning.near_duplicates,
    }
    outcomes = {outcome for _, _, outcome in statistics.documents}
    reasons = sorted(outcomes - set(SPLITS) | {name for name, setting in configured.items() if setting})
    rows = []
    for source in sorted(corpus.recipe.corpus.sources):
        if not corpus.token_parts(source):
            counts = [statistics.total(statistics.documents, source, *names) for names in ((), *zip(reasons), SPLITS)]
            rows.append((source, *(f"{count:,}" for count in counts)))
    columns = ("source", "read", *(reason.replace("_", " ") for reason in reasons), "kept")
    return CardTable("Documents read, dropped and kept", 1, columns, tuple(rows))


def card(corpus: Corpus, tokenizer: TokenizerConfig, fingerprint: str, statistics: TokenStatistics) -> str:
    """Return the data card in Markdown; equal for equal corpora."""
    recipe = corpus.recipe
    val_fraction, test_fraction = recipe.corpus.val_fraction, recipe.corpus.test_fraction
    facts = {
        "manifest": corpus.manifest_sha256,
        "fingerprint": fingerprint,
        "splits": f"validation {val_fraction:g}, test {test_fraction:g} of the documents",
        "tokenizer": _settings(plain(tokenizer)),
        "cleaning": _settings(plain(recipe.cleaning)),
    }
    parts = [
        "# Data card",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        *(table.markdown() for table in tables(corpus, statistics)),
        "## Readers\n\n" + "\n".join(_readers(recipe.corpus)),
    ]
    return "\n\n".join(parts) + "\n"


def _settings(config: Mapping[str, object]) -> str:
    """Return the keys that are set, with their values."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in config.items()
        if value not in (None, "", [], (), {})
    )


def _readers(config: CorpusConfig) -> list[str]:
    return [
        f"- {source}.{label}: {reader.reader}, `{_settings(reader.parameters)}`"
        for source, readers in sorted(config.sources.items())
        for label, reader in sorted(readers.items())
    ]
