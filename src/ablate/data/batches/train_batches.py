"""The rows of one optimizer step, as a batch with its accounting: pure in the step's number."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch, ComputeCounts, compute_counts, pack
from ablate.data.batches.stream import Stream
from ablate.data.tokens.shards import Shards, open_shards
from ablate.objectives.objective import Objective, RowTransform


@dataclass(frozen=True)
class TrainBatch:
    """What one optimizer step reads.

    Attributes:
        batch: this rank's rows.
        train_tokens: of the windows, before any transform.
        input_tokens: that the model reads, padding aside.
        truncated_tokens: lost because a transformed row outgrew the context.
        compute_counts: what the trial's architecture computes for it.
        windows: which window each row of all ranks read, in row order, for the chained digest.
    """

    batch: Batch
    train_tokens: int
    input_tokens: int
    truncated_tokens: int
    compute_counts: ComputeCounts
    windows: tuple[str, ...]

    @property
    def loss_tokens(self) -> int:
        """Tokens with loss."""
        return self.compute_counts.loss_tokens


class TrainBatches:
    """TrainBatches by number, for one rank of `ranks`; the ranks' rows together are the same at any number of ranks."""

    def __init__(self, trial: TrialConfig, shards: Shards, *, rank: int = 0, ranks: int = 1) -> None:
        self.trial = trial
        self.rank = rank
        self.ranks = ranks
        self.stream = Stream(shards, trial)
        tokenizer = shards.tokenizer
        self.transform = RowTransform(Objective.of(trial), tokenizer.special, trial.data_seed, tokenizer.splitter)

    def __reduce__(self) -> "tuple[Callable[[TrialConfig, int, int], TrainBatches], tuple[TrialConfig, int, int]]":
        # A loader's worker maps the shards by itself; sent to it, they would be copied whole.
        return _reopened, (self.trial, self.rank, self.ranks)

    def batch(self, rows: Iterable[int]) -> tuple[Batch, int, int]:
        """The rows with these numbers, how many source tokens they hold, and how many tokens were cut off."""
        examples, tasks, sources, train_tokens = [], [], [], 0
        for row in rows:
            window = self.stream.window(row)
            example, task = self.transform.example(window.drawn_as, window.tokens_T, window.document_tokens)
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
        """The step with this number."""
        rows_per_rank = self.trial.budget.rows_per_step // self.ranks
        first_of_step = step * self.trial.budget.rows_per_step
        first = first_of_step + self.rank * rows_per_rank
        batch, train_tokens, truncated_tokens = self.batch(range(first, first + rows_per_rank))
        places = map(self.stream.place, range(first_of_step, first_of_step + self.trial.budget.rows_per_step))
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
    """The digest of all windows up to here, row by row: how rows are grouped into steps does not show in it."""
    digest = previous
    for window in windows:
        digest = hashlib.blake2b(f"{digest}\n{window}".encode(), digest_size=16).hexdigest()
    return digest
