"""Studies as every process of a tuning sees them: samplers and pruners by name, and how a trial reports."""

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
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ablate.errors import LedgerError
from ablate.records.optuna.storage import is_url, open_storage, placed, storage_errors
from ablate.records.tuning import CandidateRef, TuningRecord

log = logging.getLogger(__name__)

# User attribute of a study: what defines it.
ABOUT = "ablate"
# Parameters that ablate sets, or that are not plain values.
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
    """Silence Optuna's warnings about experimental components inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


class CountedGridSampler(GridSampler):
    """Optuna's grid sampler, without its call that stops Optuna's own loop after the last point."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Do nothing."""


def _count_trained(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


class HyperbandPruner(optuna.pruners.HyperbandPruner):
    """Optuna's Hyperband after `n_startup_trials` candidates that are trained to the end, as its median pruner has.

    Without them a study whose first candidate is good prunes nearly all others at their first rung.
    """

    def __init__(
        self,
        min_resource: int = 1,
        max_resource: str | int = "auto",
        reduction_factor: int = 3,
        bootstrap_count: int = 0,
        n_startup_trials: int = 0,
    ) -> None:
        super().__init__(min_resource, max_resource, reduction_factor, bootstrap_count)
        self._n_startup_trials = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """See `BasePruner`. Optuna's is always asked, because it counts the trials at each rung."""
        return super().prune(study, trial) and _count_trained(study) >= self._n_startup_trials


class WilcoxonPruner(optuna.pruners.WilcoxonPruner):
    """Optuna's Wilcoxon pruner after `n_startup_trials` candidates that are trained to the end."""

    def __init__(self, *, p_threshold: float = 0.1, n_startup_steps: int = 2, n_startup_trials: int = 0) -> None:
        super().__init__(p_threshold=p_threshold, n_startup_steps=n_startup_steps)
        self._n_startup_trials = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """See `BasePruner`."""
        return super().prune(study, trial) and _count_trained(study) >= self._n_startup_trials


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": TPESampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    "random": RandomSampler,
    "grid": CountedGridSampler,
    "nsgaii": NSGAIISampler,
}
PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "none": NopPruner,
    "hyperband": HyperbandPruner,
    "median": MedianPruner,
    "wilcoxon": WilcoxonPruner,
}


def parameters_of(component: Callable[..., object]) -> list[str]:
    """Return the parameters of a sampler or pruner that a config may set."""
    return [name for name in inspect.signature(component).parameters if name not in NOT_SET]


class KeyedSampler(BaseSampler):
    """Draw candidate n from the seed, n and the trials of the study, in any process and after any kill.

    A sampler that is seeded when its process starts would draw its first candidates again after each start.

    Args:
        make: returns the sampler of a seed.
        seed: of the tuning.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number = -1

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            # Distinct for other seeds and numbers, and within the range of all samplers.
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
    """A trial of a study in the process that trains it: it reports scores, and its study's pruner may stop it.

    An error of the storage never stops the training.
    """

    ref: CandidateRef

    def should_prune(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Report scores to the study; return whether its pruner stops the trial.

        Args:
            step: the number of evaluations so far, this one included.
            metrics: on the validation split.
        """
        try:
            return self._report(step, metrics)
        except Exception as error:  # Database drivers have errors of their own.
            log.warning("Cannot reach the study %s (%r); the training continues.", self.ref.study, error)
            return False

    def _report(self, step: int, metrics: Mapping[str, float]) -> bool:
        storage, trial_id = self._storage, self._trial_id
        names = self._study.user_attrs[ABOUT]["metrics"]
        # Optuna prunes by one number.
        if len(names) > 1 or names[0] not in metrics or storage.get_trial(trial_id).state.is_finished():
            return False
        storage.set_trial_intermediate_value(trial_id, step, metrics[names[0]])
        return self._study.pruner.prune(self._study, storage.get_trial(trial_id))

    @cached_property
    def _storage(self) -> BaseStorage:
        return open_storage(self.ref.storage)

    @cached_property
    def _study(self) -> optuna.Study:
        study = optuna.load_study(study_name=self.ref.study, storage=self._storage, sampler=RandomSampler())
        study.pruner = pruner_of(study.user_attrs[ABOUT]["pruner"])
        return study

    @cached_property
    def _trial_id(self) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, self.ref.number)


def storage_of(storage: str | None, runs_dir: Path) -> str:
    """Return the storage of a tuning's studies; by default a journal in the ledger."""
    return str(runs_dir / "studies.journal") if storage is None else placed(storage)


def studies_of(tuning: TuningRecord, runs_dir: Path) -> dict[str, optuna.Study]:
    """Return by arm the studies that a tuning's record names. Raises LedgerError if they cannot be read."""
    place = storage_of(tuning.storage, runs_dir)
    if not is_url(place) and not Path(place).exists():
        raise LedgerError(f"{place}: the journal of the studies does not exist.")
    storage = open_storage(place)
    with storage_errors(place):
        there = set(optuna.get_all_study_names(storage))
        return {
            arm.label: optuna.load_study(study_name=arm.study, storage=storage)
            for arm in tuning.arms
            if arm.study in there
        }


def first_ended(study: optuna.Study, n_trials: int) -> list[FrozenTrial]:
    """Return the first `n_trials` trials that ended, by number.

    More, which another command may have asked for, would give an arm more chances than the others.
    """
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted(ended, key=lambda trial: trial.number)[:n_trials]


def pruner_of(config: Mapping[str, Any]) -> BasePruner:
    """Return a pruner by `kind` and `parameters`. Raises TypeError or ValueError for wrong parameters."""
    with quietly():
        return PRUNERS[config["kind"]](**config["parameters"])
