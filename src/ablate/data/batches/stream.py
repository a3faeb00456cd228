"""The window of train text that row r reads: a pure function of (tokens, mixture, data seed, r)."""

import hashlib
from dataclasses import dataclass
from math import ceil

from ablate.config.trial import TrialConfig
from ablate.data.batches.epoch_order import EpochOrder
from ablate.data.batches.mixture import Mixture
from ablate.data.batches.rows import packed_rows
from ablate.data.tokens.shards import Shards
from ablate.errors import FailureError, UsageError
from ablate.objectives.example import Tokens


@dataclass(frozen=True)
class Window:
    """The text of one row.

    Attributes:
        tokens_T: the tokens, all from one source.
        document_tokens: lengths of the document segments.
        source: index of the source.
        drawn_as: the row number that keys the draws of its transforms.
    """

    tokens_T: Tokens
    document_tokens: tuple[int, ...]
    source: int
    drawn_as: int


class Stream:
    """Windows by row number.

    Raises:
        FailureError: a source without a full row, or damaged shards.
        UsageError: the budget reads more of a source than `mixture.epochs` or `mixture.max_epochs` allows.
    """

    def __init__(self, shards: Shards, trial: TrialConfig) -> None:
        self.trial = trial
        self.mixture = Mixture.of(trial.mixture, trial.data_seed, trial.budget_rows)
        self.sources = self.mixture.sources
        window_tokens, packing = trial.scale.window_tokens, trial.mixture.packing
        self._rows = [packed_rows(shards, source, trial.mixture, window_tokens) for source in self.sources]
        for source, rows in zip(self.sources, self._rows, strict=True):
            if rows.count == 0:
                raise FailureError(
                    f"The source {source} has {shards.source(source).tokens} train tokens, less than one window "
                    f"(scale.window_tokens={window_tokens}). Add text to it, or shorten the window."
                )
        counts = self.mixture.counts(trial.budget_rows)
        padded = sum(count * rows.padding_fraction for count, rows in zip(counts, self._rows, strict=True))
        # Rows with padding hold fewer tokens, so the budget reads more of them.
        more = trial.budget_rows / (trial.budget_rows - padded)
        self.orders = [self._order(index, ceil(more * count)) for index, count in enumerate(counts)]
        content = f"{shards.facts.fingerprint}\n{self.sources}\n{window_tokens}\n{packing}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

    def _order(self, index: int, budget_rows: int) -> EpochOrder:
        source, rows = self.sources[index], self._rows[index].count
        epochs, cap = self.trial.mixture.epochs, self.trial.mixture.epoch_cap(source)
        read = rows if epochs is None else max(1, ceil(budget_rows / epochs))
        if read > rows:
            raise UsageError(
                f"mixture.epochs={epochs:g}: needs {read:,} rows of {source}, which has {rows:,}. Give at least "
                f"mixture.epochs={ceil(100 * budget_rows / rows) / 100:g}, or a smaller budget.train_tokens."
            )
        if cap is not None and budget_rows > cap * read:
            raise UsageError(
                f"mixture.max_epochs={cap:g}: the budget reads {source} {budget_rows / read:.2f} times "
                f"({budget_rows:,} rows of {read:,}). Give {source} a smaller weight, a smaller "
                "budget.train_tokens, or a larger max_epochs."
            )
        return EpochOrder(rows, read, f"{self.trial.data_seed}/{source}")

    def place(self, row: int) -> tuple[int, int]:
        """Return the source of a row, and the row of that source.

        Raises:
            FailureError: a trial that ends by another counter reads past its budget's rows, and more often from a
                source than `mixture.max_epochs` allows.
        """
        source, rank = self.mixture.place(row)
        order, name = self.orders[source], self.sources[source]
        cap = self.trial.mixture.epoch_cap(name)
        # One step more, because the last step is completed.
        if cap is not None and rank >= cap * order.read + self.trial.budget.rows_per_step:
            raise FailureError(
                f"mixture.max_epochs={cap:g}: row {row:,} would read {name} more often. The trial ends by its "
                f"{self.trial.budget.matched_on} and so reads more rows than the budget's {self.trial.budget_rows:,}. "
                f"Give {name} a smaller weight, a smaller "
                "budget.train_tokens, or a larger max_epochs."
            )
        return source, order.index(rank)

    def window(self, row: int) -> Window:
        """Return the window of a row."""
        source, index = self.place(row)
        return Window(*self._rows[source].read(index), source, self._drawn_as(row))

    def _drawn_as(self, row: int) -> int:
        """Return the row itself or, with `augmentation: first_epoch`, the first row that reads the same window."""
        if self.trial.mixture.augmentation == "every_epoch":
            return row
        source, rank = self.mixture.place(row)
        order = self.orders[source]
        return row if rank < order.read else self.mixture.row(source, order.first_rank(rank), row)

    def reading(self, rows: int) -> dict[str, tuple[float, float]]:
        """Return each source's fraction of the first `rows` rows, and how many epochs of it they read."""
        counts = zip(self.sources, self.mixture.counts(rows), self.orders, strict=True)
        return {source: (count / rows if rows else 0.0, count / order.read) for source, count, order in counts}
