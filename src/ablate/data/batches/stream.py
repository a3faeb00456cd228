"""Row r's window of source text: a pure function of (tokens, mixture, data seed, r)."""

import hashlib
from dataclasses import dataclass
from math import ceil

from ablate.config.trial import TrialConfig
from ablate.data.batches.epoch_order import Order
from ablate.data.batches.mixture import Mixture
from ablate.data.tokens.shards import Shards
from ablate.errors import FailureError, UsageError
from ablate.objectives.example import Tokens


@dataclass(frozen=True)
class Window:
    """What a row reads of one source.

    Attributes:
        tokens_T: the tokens.
        document_tokens: lengths of the parts that come from one document each.
        source: index of the source.
        drawn_as: the row whose draws transform it.
    """

    tokens_T: Tokens
    document_tokens: tuple[int, ...]
    source: int
    drawn_as: int


class Stream:
    """Windows by row number.

    Raises:
        FailureError: a source without a row, or shards that are not what was written.
        UsageError: more text asked of a source than `mixture.epochs` or `mixture.max_epochs` allows.
    """

    def __init__(self, shards: Shards, trial: TrialConfig) -> None:
        self.trial = trial
        self.mixture = Mixture.of(trial.mixture, trial.data_seed, trial.budget_rows)
        self.sources = self.mixture.sources
        window_tokens, packing = trial.scale.window_tokens, trial.mixture.packing
        self._rows = [shards.rows(source, packing, window_tokens) for source in self.sources]
        for source, rows in zip(self.sources, self._rows, strict=True):
            if rows.count == 0:
                raise FailureError(
                    f"The source {source} has {shards.source(source).tokens} train tokens, less than one window of "
                    f"{window_tokens} (scale.window_tokens). Give it more text or shorten the window."
                )
        counts = self.mixture.counts(trial.budget_rows)
        padded = sum(count * rows.padding_share for count, rows in zip(counts, self._rows, strict=True))
        # Rows with padding hold fewer tokens, so the budget takes more of them.
        more = trial.budget_rows / (trial.budget_rows - padded)
        self.orders = [self._order(index, ceil(more * count)) for index, count in enumerate(counts)]
        place = f"{shards.fingerprint}\n{self.sources}\n{window_tokens}\n{packing}"
        self.fingerprint = hashlib.sha256(place.encode()).hexdigest()

    def _order(self, index: int, wanted: int) -> Order:
        source, rows = self.sources[index], self._rows[index].count
        epochs, cap = self.trial.mixture.epochs, self.trial.mixture.epoch_cap(source)
        read = rows if epochs is None else max(1, ceil(wanted / epochs))
        if read > rows:
            raise UsageError(
                f"mixture.epochs={epochs:g}: takes {read:,} rows of {source}, which has {rows:,}. Give at least "
                f"mixture.epochs={ceil(100 * wanted / rows) / 100:g}, or a smaller budget.train_tokens."
            )
        if cap is not None and wanted > cap * read:
            raise UsageError(
                f"mixture.max_epochs: the budget reads {source} {wanted / read:.2f} times ({wanted:,} rows, of "
                f"{read:,} that there are), and {cap:g} is the most. Give {source} a smaller weight, the budget fewer "
                "tokens, or a larger cap."
            )
        return Order(rows, read, f"{self.trial.data_seed}/{source}")

    def place(self, row: int) -> tuple[int, int]:
        """(source, row of that source) of a row.

        Raises:
            FailureError: a row after the budget's, which a trial may read that ends by another counter, whose source
                was read as often as `mixture.max_epochs` allows.
        """
        source, rank = self.mixture.place(row)
        order, name = self.orders[source], self.sources[source]
        cap = self.trial.mixture.epoch_cap(name)
        # The last step is finished.
        if cap is not None and rank >= cap * order.read + self.trial.budget.rows_per_step:
            raise FailureError(
                f"mixture.max_epochs: row {row:,} would read {name} more than {cap:g} times. Until its "
                f"{self.trial.budget.matched_on} are spent the trial reads more rows than the budget's "
                f"{self.trial.budget_rows:,}: give {name} a smaller weight, the budget fewer tokens, or a larger cap."
            )
        return source, order.index(rank)

    def window(self, row: int) -> Window:
        """The window of a row."""
        source, index = self.place(row)
        return Window(*self._rows[source].read(index), source, self._drawn_as(row))

    def _drawn_as(self, row: int) -> int:
        """The row itself or, where only the first epoch may draw, the one that read the same first."""
        if self.trial.mixture.augmentation == "every_epoch":
            return row
        source, rank = self.mixture.place(row)
        order = self.orders[source]
        return row if rank < order.read else self.mixture.row(source, order.first_rank(rank), row)

    def reading(self, rows: int) -> dict[str, tuple[float, float]]:
        """(share of the rows, epochs) of each source in the first rows."""
        counts = zip(self.sources, self.mixture.counts(rows), self.orders, strict=True)
        return {source: (count / rows if rows else 0.0, count / order.read) for source, count, order in counts}
