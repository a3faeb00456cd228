"""The record of a tuning, and what the grid of its tuned arms keeps of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.records.provenance import Provenance
from ablate.records.schema import Extensible


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return key → value as text."""
    return {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}


@dataclass(frozen=True)
class CandidateRef:
    """A trial of a study.

    Attributes:
        storage: a URL or a path.
        study: the study's name.
        number: of the trial in its study.
    """

    storage: str
    study: str
    number: int


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How arms are tuned.

    Attributes:
        space: by key, the dimension as configured.
        metrics: what candidates are compared by.
        n_trials: how many candidates of each study are to end.
        tune_seed: the seed of the candidates.
        tune_replicates: how often each arm is tuned, under consecutive seeds from `tune_seed` on.
    """

    space: Mapping[str, Any]
    metrics: tuple[str, ...]
    n_trials: int
    sampler: str
    pruner: str
    tune_seed: int
    tune_replicates: int = 1


@dataclass(frozen=True)
class StudyOfArm:
    """A tuning of an arm: its label, which names the seed where the arm is tuned several times, and its study."""

    label: str
    options: Mapping[str, str]
    study: str


@dataclass(frozen=True, kw_only=True)
class TuningRecord(Extensible):
    """What the ledger knows of a tuning.

    Attributes:
        command: what the user typed.
        storage: of the studies; None for the journal in the ledger.
    """

    tuning_id: str
    command: str
    settings: TuningSettings
    arms: tuple[StudyOfArm, ...]
    created_at: float
    provenance: Provenance
    storage: str | None = None


@dataclass(frozen=True)
class TuningCost:
    """What a study took: candidates by how they ended, and the train tokens that they read."""

    ended: int
    pruned: int
    failed: int
    train_tokens: float


@dataclass(frozen=True, kw_only=True)
class TunedArm:
    """The best candidate of an arm's study.

    Attributes:
        values: what the candidate set, by key.
        score: on the validation split.
        untuned: the canonical form of the arm's config without tuning and without seeds.
    """

    study: str
    number: int
    trial_id: str
    values: Mapping[str, Any]
    score: float
    cost: TuningCost
    untuned: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TuningSummary:
    """How the arms of a grid were tuned.

    Attributes:
        arms: by label, the arm's tunings: one for all seeds of the grid, or one for each seed, in their order.
    """

    tuning_id: str
    settings: TuningSettings
    arms: Mapping[str, tuple[TunedArm, ...]]
