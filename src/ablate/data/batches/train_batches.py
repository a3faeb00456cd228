"""The rows of one optimizer step as a batch with its counts: a pure function of the step's number."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch, pack
from ablate.data.batches.compute_counts import ComputeCounts, compute_counts
from ablate.data.batches.stream import Stream
from ablate.data.tokens.shards import Shards, open_shards
from ablate.objectives.objective import Objective, RowTransform


@dataclass(frozen=True)
class TrainBatch:
    """What one optimizer step reads.

    Attributes:
        batch: this rank's rows.
        train_tokens: of the windows, before transforms.
        input_tokens: that the model reads, without padding.
        truncated_tokens: lost because a transformed row was longer than the context.
        compute_counts: what the trial's architecture computes for the batch.
        windows: the window of each row of all ranks, in row order, for the chained digest.
    """

    batch: Batch
    train_tokens: int
    input_tokens: int
    truncated_tokens: int
    compute_counts: ComputeCounts
    windows: tuple[str, ...]

    @property
    def loss_tokens(self) -> int:
        """Number of targets with loss."""
        return self.compute_counts.loss_tokens


class TrainBatches:
    """Train batches by step number, for one of `ranks` ranks. Together, the ranks read the same rows at any number.

    A rank reads consecutive rows of a step: at least one, if there are no more ranks than rows in a step.
    """

    def __init__(self, trial: TrialConfig, shards: Shards, *, rank: int = 0, ranks: int = 1) -> None:
        self.trial = trial
        self.rank = rank
        self.ranks = ranks
        self.shards = shards
        self.stream = Stream(shards, trial)
        tokenizer = shards.tokenizer
        self.transform = RowTransform(
            Objective.of(trial), tokenizer.special, trial.data_seed, tokenizer.splitter, trial.budget_rows
        )

    def __reduce__(self) -> tuple[Callable[..., "TrainBatches"], tuple[TrialConfig, int, int]]:
        # A loader worker opens the shards itself, because pickling would copy them whole.
        return _reopened, (self.trial, self.rank, self.ranks)

    def batch(self, rows: Iterable[int]) -> tuple[Batch, int, int]:
        """Return the rows with these numbers, their number of train tokens, and how many tokens were truncated."""
        examples, tasks, sources, train_tokens = [], [], [], 0
        for row in rows:
            window = self.stream.window(row)
            example, task = self.transform.example(window.drawn_as, window.tokens_T, window.document_tokens, row)
            examples.append(example)
            tasks.append(task)
            sources.append(window.source)
            train_tokens += len(window.tokens_T)
        batch, truncated_tokens = pack(
            examples,
            tasks=tasks,
            sources=sources,
            context_tokens=self.trial.scale.context_tokens,
            document_mask=self.trial.mixture.document_mask,
            restart_positions=self.trial.mixture.restart_positions,
        )
        return batch, train_tokens, truncated_tokens

    def __getitem__(self, step: int) -> TrainBatch:
        """Return the batch of a step."""
        rows_per_step = self.trial.budget.rows_per_step
        first_of_step = step * rows_per_step
        # Where the ranks do not divide the rows, some have one more than others.
        first, last = (first_of_step + rank * rows_per_step // self.ranks for rank in (self.rank, self.rank + 1))
        batch, train_tokens, truncated_tokens = self.batch(range(first, last))
        places = map(self.stream.place, range(first_of_step, first_of_step + rows_per_step))
        return TrainBatch(
            batch=batch,
            train_tokens=train_tokens,
            input_tokens=int((batch.document_BT > 0).sum()),
            truncated_tokens=truncated_tokens,
            compute_counts=compute_counts(batch, self.trial.architecture),
            windows=tuple(f"{source}:{index}" for source, index in places),
        )


def _reopened(trial: TrialConfig, rank: int, ranks: int) -> TrainBatches:
    return TrainBatches(trial, open_shards(trial), rank=rank, ranks=ranks)


def chained_digest(previous: str, windows: tuple[str, ...]) -> str:
    """Return the digest of all windows so far, row by row, so it does not depend on how many rows a step has."""
    digest = previous
    for window in windows:
        digest = hashlib.blake2b(f"{digest}\n{window}".encode(), digest_size=16).hexdigest()
    return digest
