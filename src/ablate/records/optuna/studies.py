"""What every process of a sweep knows of a study: its samplers and pruners by name, and how a trial reports to it."""

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ablate.errors import LedgerError
from ablate.records.optuna.storage import is_url, open_storage, placed, storage_errors
from ablate.records.tuning import TuningRecord

log = logging.getLogger(__name__)

# Of a study, under this name: what a sweep made it for. Of a trial: what it proposes, and who asked for it.
ABOUT = "ablate"
# What is ours to give, or no plain value.
NOT_SET = {
    "seed",
    "search_space",
    "constraints_func",
    "independent_sampler",
    "gamma",
    "weights",
    "mutation",
    "crossover",
    "elite_population_selection_strategy",
    "child_generation_strategy",
    "after_trial_strategy",
    "source_trials",
    "x0",
}


@contextmanager
def quietly() -> Iterator[None]:
    """Inside the block Optuna does not warn of what it calls experimental, as it does most of these components."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


class Grid(GridSampler):
    """Optuna's, which ends a loop of Optuna's own when all of it was tried; here it is counted before."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Ends nothing."""


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": TPESampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    "random": RandomSampler,
    "grid": Grid,
    "nsgaii": NSGAIISampler,
}
PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "none": NopPruner,
    "hyperband": HyperbandPruner,
    "median": MedianPruner,
    "wilcoxon": WilcoxonPruner,
}


def parameters_of(component: Callable[..., object]) -> list[str]:
    """The parameters of a sampler or pruner that a configuration may set."""
    return [name for name in inspect.signature(component).parameters if name not in NOT_SET]


class KeyedSampler(BaseSampler):
    """Draws candidate n from (seed, n, what the study knows by then), whoever asks and however often it was killed.

    A sampler that is seeded when its process starts would draw its first candidates again after each start.

    Args:
        make: the sampler of a seed.
        seed: of the sweep.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number = -1

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            # Far enough from those of other seeds and numbers, below what all samplers take.
            with quietly():
                self._sampler = self._make((self._seed * 1_000_003 + trial.number * 7_919) % 2**31)
        return self._sampler

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """See `BaseSampler`."""
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See `BaseSampler`."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See `BaseSampler`."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """See `BaseSampler`."""
        self._of(trial).after_trial(study, trial, state, values)


@dataclass
class Candidate:
    """One trial of a study, as the process sees it that trains it: it reports, and asks whether to go on.

    Nothing that the storage does stops a trial: one that can't be asked is gone on with.

    Attributes:
        storage: a URL or a path.
        study: the study's name.
        number: of the trial in its study.
    """

    storage: str
    study: str
    number: int

    def should_prune(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Tells the study what was measured at a step; whether the trial is worth no more.

        Args:
            step: how many evaluations there were, this one included.
            metrics: on the validation split.
        """
        try:
            return self._tell(step, metrics)
        except Exception as error:  # Drivers of databases have errors of their own.
            log.warning("The study %s can't be asked (%s: %s); the training goes on.", self.study, type(error), error)
            return False

    def _tell(self, step: int, metrics: Mapping[str, float]) -> bool:
        storage, trial_id = self._storage, self._trial_id
        names = self._study.user_attrs[ABOUT]["metrics"]
        # Optuna prunes by one number.
        if len(names) > 1 or names[0] not in metrics or storage.get_trial(trial_id).state.is_finished():
            return False
        storage.set_trial_intermediate_value(trial_id, step, metrics[names[0]])
        return self._study.pruner.prune(self._study, storage.get_trial(trial_id))

    @cached_property
    def _storage(self) -> BaseStorage:
        return open_storage(self.storage)

    @cached_property
    def _study(self) -> optuna.Study:
        found = optuna.load_study(study_name=self.study, storage=self._storage, sampler=RandomSampler())
        found.pruner = pruner_of(found.user_attrs[ABOUT]["pruner"])
        return found

    @cached_property
    def _trial_id(self) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, self.number)


def storage_of(given: str | None, runs_dir: Path) -> str:
    """Where the studies of a sweep are: a journal in the ledger, unless it says otherwise."""
    return str(runs_dir / "studies.journal") if given is None else placed(given)


def studies_of(tuning: TuningRecord, runs_dir: Path) -> dict[str, optuna.Study]:
    """Return by arm the studies that a tuning's record names. Raises LedgerError if they cannot be read."""
    place = storage_of(tuning.storage, runs_dir)
    if not is_url(place) and not Path(place).exists():
        raise LedgerError(f"{place}: the journal of its studies is not there.")
    storage = open_storage(place)
    with storage_errors(place):
        there = set(optuna.get_all_study_names(storage))
        return {
            arm.label: optuna.load_study(study_name=arm.study, storage=storage)
            for arm in tuning.arms
            if arm.study in there
        }


def first_ended(study: optuna.Study, n_trials: int) -> list[FrozenTrial]:
    """The first trials that came to an end, by number and no more than there were to be: what was asked for besides, by
    another command or at the same moment, would give an arm more chances than the others have.
    """
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted(ended, key=lambda trial: trial.number)[:n_trials]


def pruner_of(given: Mapping[str, Any]) -> BasePruner:
    """A pruner by `kind` and `parameters`. Raises TypeError or ValueError for parameters that it does not take."""
    with quietly():
        return PRUNERS[given["kind"]](**given["parameters"])
