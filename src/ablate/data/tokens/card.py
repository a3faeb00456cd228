"""What a corpus and its tokens are, in tables: for the terminal, and as a data card in Markdown."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablate.config.parse import plain
from ablate.config.trial import CleaningConfig, CorpusConfig, TokenizerConfig
from ablate.data.corpus.corpus import Corpus
from ablate.data.corpus.document import SPLITS
from ablate.data.tokens.pretokenized import PretokenizedSource

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class CardTable:
    """A table: its title, what its columns are called, and its rows; the first columns are text, the others numbers.

    Attributes:
        texts: how many of the columns are text.
    """

    title: str
    texts: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown."""
        rule = ["---"] * self.texts + ["---:"] * (len(self.columns) - self.texts)
        lines = [self.columns, rule, *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Values of a configuration that say nothing.
_NOTHING: tuple[object, ...] = (None, "", [], (), {})

# Source, language, documents, bytes, tokens: of a range of hashes.
TokenCounts = Sequence[tuple[str, str, int, int, int]]


def tables(corpus: Corpus, counted: TokenCounts) -> list[CardTable]:
    """What is in the train split, how the documents were split, and what was dropped and why."""
    return [table for table in (_train(counted), _splits(corpus), _dropped(corpus)) if table.rows]


def _train(counted: TokenCounts) -> CardTable:
    counts: dict[tuple[str, str], list[int]] = {}
    for source, language, *numbers in counted:
        before = counts.setdefault((source, language), [0, 0, 0])
        counts[source, language] = [one + more for one, more in zip(before, numbers, strict=True)]
    total = [sum(numbers) for numbers in zip(*counts.values(), strict=True)]
    rows = [
        (source, language or "not said", *_numbers(numbers, total[2]))
        for (source, language), numbers in sorted(counts.items())
    ]
    if not all(numbers[1] for numbers in counts.values()):
        # Of tokens made elsewhere nobody knows the bytes.
        total[1] = 0
    rows.append(("all", "", *_numbers(total, total[2])))
    columns = ("source", "language", "documents", "MB", "tokens", "share", "bytes a token")
    return CardTable("Text to train on", 2, columns, tuple(rows))


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
    found = corpus.statistics
    rows = []
    for source in sorted(corpus.recipe.corpus.sources):
        elsewhere = PretokenizedSource.of(corpus, source)
        cells = []
        for split in SPLITS:
            if elsewhere.parts:
                first, last = elsewhere.borders[split]
                cells += [f"{last - first:,}", "–"]
                continue
            cells.append(f"{found.total(found.documents, source, split):,}")
            cells.append(f"{found.total(found.size_bytes, source, split) / MEGABYTE:,.1f}")
        rows.append((source, *cells))
    columns = ("source", *(name for split in SPLITS for name in (split, "MB")))
    return CardTable("Splits", 1, columns, tuple(rows))


def _dropped(corpus: Corpus) -> CardTable:
    found = corpus.statistics
    cleaning = corpus.recipe.cleaning
    # What was asked for is told also where it found nothing.
    asked = {
        "contaminated": cleaning.decontaminate,
        "licence not allowed": cleaning.licences,
        "near_duplicate": cleaning.near_duplicates,
    }
    reasons = sorted(
        {became for _, _, became in found.documents} - set(SPLITS) | {name for name in asked if asked[name]}
    )
    rows = []
    for source in sorted(corpus.recipe.corpus.sources):
        if corpus.token_parts(source):
            continue
        documents = found.total(found.documents, source)
        cells = [f"{found.total(found.documents, source, reason):,}" for reason in reasons]
        rows.append((source, f"{documents:,}", *cells, f"{found.total(found.documents, source, *SPLITS):,}"))
    columns = ("source", "read", *(reason.replace("_", " ") for reason in reasons), "kept")
    return CardTable("Documents read, dropped and kept", 1, columns, tuple(rows))


def card(corpus: Corpus, tokenizer: TokenizerConfig, fingerprint: str, counted: TokenCounts) -> str:
    """The data card in Markdown; the same corpus has the same card."""
    recipe = corpus.recipe
    parts = [
        "# Data card",
        _facts(
            {
                "manifest": corpus.manifest_sha256,
                "fingerprint": fingerprint,
                "splits": f"tune {recipe.corpus.val_fraction:g}, test {recipe.corpus.test_fraction:g} of the documents",
                "tokenizer": _told(tokenizer),
                "cleaning": _told(recipe.cleaning),
            }
        ),
        *(table.markdown() for table in tables(corpus, counted)),
        "## Where it was read\n\n" + "\n".join(_readers(recipe.corpus)),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _told(config: TokenizerConfig | CleaningConfig) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in plain(config).items() if value not in _NOTHING)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _readers(config: CorpusConfig) -> Iterable[str]:
    for source, readers in sorted(config.sources.items()):
        for label, reader in sorted(readers.items()):
            given = ", ".join(
                f"{name} {_value(value)}" for name, value in reader.parameters.items() if value not in _NOTHING
            )
            yield f"- {source}.{label}: {reader.reader}, `{given}`"
