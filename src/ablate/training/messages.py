"""Messages between a trial's worker and its supervisor: plain, picklable data. Imports no torch.

The worker trains and scores. The supervisor owns the record, the log and the study, so everything that belongs there
travels as one of these messages. `ask` waits for the reply, `send` does not; messages arrive in order. A trial on
several devices has a worker per rank: rank 0 sends all of these, the others only `Ended`.

| message | reply |
|---|---|
| `Activity`, `LogRow` | |
| `TrainingBegins` | `Decision` |
| `ValidationScored` | `Decision` |
| `SyncLog` | `LogSynced` |
| `Trained` | `Recorded` |
| `SuiteScored` | |
| `StoreOpened` | |
| `Ended` | |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ablate.config.trial import TrialConfig
from ablate.data.corpus.document import Split
from ablate.ranks import ONLY_RANK, Rank
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Failure, Scores, Status, TrainResult


@dataclass(frozen=True)
class Assignment:
    """What a worker is to do.

    Attributes:
        folder: where checkpoints, weights and scores of documents go. The worker writes nothing else of it.
        suites: ids of the suites that score the test split; those that have scored it are not among them.
        split: what is scored at the end. Candidates of a study score `validation` and leave the test split alone.
        is_trained: whether the weights are there and only scores are missing.
        has_pruner: whether each evaluation on the validation split asks whether to stop.
        rank: the worker's own.
    """

    trial: TrialConfig
    folder: TrialFolder
    suites: frozenset[str]
    split: Split
    is_trained: bool
    has_pruner: bool
    rank: Rank = ONLY_RANK


@dataclass(frozen=True)
class Activity:
    """What the worker does from now on, for the live display."""

    name: str


@dataclass(frozen=True)
class LogRow:
    """One row of the log."""

    step: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingBegins:
    """The worker resumes from a checkpoint, or starts at step 0.

    Attributes:
        log_bytes: size of the log when the checkpoint was taken; rows after it are removed.
        strategy: `single`, `ddp` or `fsdp`.
    """

    from_step: int
    log_bytes: int
    strategy: str = "single"


@dataclass(frozen=True)
class ValidationScored:
    """Scores on the validation split during training.

    Attributes:
        number: of evaluations so far, this one included.
    """

    number: int
    scores: Scores


@dataclass(frozen=True)
class SyncLog:
    """A checkpoint is about to be taken: all rows must be on the disk before it."""


@dataclass(frozen=True)
class Trained:
    """The training has ended and its weights are on the disk.

    Attributes:
        validation: scores on the validation split after the last step; empty if there were none.
    """

    result: TrainResult
    validation: Scores


@dataclass(frozen=True)
class SuiteScored:
    """A suite has scored the test split. It is recorded at once, so a suite that fails later loses nothing.

    Attributes:
        suite: its id.
        conditions: what the scores were taken under.
    """

    suite: str
    scores: Scores
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreOpened:
    """Rank 0 has opened the store at which the ranks meet; the supervisor tells the others.

    Attributes:
        host: where they reach it.
    """

    host: str
    port: int


@dataclass(frozen=True)
class Ended:
    """How the worker's task ended. The last message.

    Attributes:
        status: PENDING for a worker that was asked to stop and has saved.
        failure: why there is no result.
        validation: scores on the validation split, if the worker was to score that.
        is_consequence: whether the failure only says that another rank is gone.
    """

    status: Status
    failure: Failure | None = None
    validation: Scores = field(default_factory=dict)
    is_consequence: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether the study's pruner stops the trial."""

    should_prune: bool


@dataclass(frozen=True)
class LogSynced:
    """The size of the log, all of it on the disk."""

    log_bytes: int


@dataclass(frozen=True)
class Recorded:
    """The ledger has what was sent."""


Message = Activity | LogRow | TrainingBegins | ValidationScored | SyncLog | Trained | SuiteScored | StoreOpened | Ended
Reply = Decision | LogSynced | Recorded


class Channel(Protocol):
    """A worker's way to its supervisor."""

    def send(self, message: Message) -> None:
        """Send a message that needs no reply."""

    def ask(self, message: Message) -> Any:
        """Send a message and wait for its reply; see the table above for the reply's type."""


class DirectChannel:
    """A channel to a supervisor in the same process, for tests and benchmarks."""

    def __init__(self, handle: Callable[[Message], Reply | None]) -> None:
        self._handle = handle

    def send(self, message: Message) -> None:
        """See `Channel`."""
        self._handle(message)

    def ask(self, message: Message) -> Any:
        """See `Channel`."""
        return self._handle(message)
