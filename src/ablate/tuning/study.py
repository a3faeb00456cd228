"""The Optuna study of one arm: its sampler, its pruner, and its candidates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ablate.config.tuning import TuningConfig
from ablate.errors import UsageError, nearest
from ablate.evaluation.suite import SUITES, metric_of
from ablate.identity import differences
from ablate.records.optuna.studies import (
    ABOUT,
    PRUNERS,
    SAMPLERS,
    KeyedSampler,
    first_ended,
    parameters_of,
    pruner_of,
    quietly,
)
from ablate.tuning.space import Space

# Counts of a trial's record that a study may minimise, beside metrics on the validation split.
COUNTED = ("flops", "parameters", "train_tokens", "input_tokens", "loss_tokens", "training_seconds")


def checked_metrics(names: tuple[str, ...], pruner: str) -> tuple[str, ...]:
    """Return the metrics that a tuning minimises or maximises. Raises UsageError."""
    # Candidates are scored on the validation split, which other suites lack.
    suites = [suite for suite in SUITES.values() if suite.reads_corpus]
    known = [*(metric.name for suite in suites for metric in suite.metrics), *COUNTED]
    for name in names:
        if name.split("/")[0] not in known:
            raise UsageError(f"hydra.sweeper.metrics: {name}: no such metric. {nearest(name, known)}")
    if len(names) > 1 and pruner != "none":
        raise UsageError(
            f"hydra.sweeper.pruner={pruner}: prunes by one metric, and hydra.sweeper.metrics has {len(names)} "
            f"({', '.join(names)}). Type hydra.sweeper.pruner=none, or give one metric."
        )
    if pruner != "none" and names[0] in COUNTED:
        raise UsageError(
            f"hydra.sweeper.pruner={pruner}: prunes by scores on the validation split, and {names[0]} is none. Type "
            "hydra.sweeper.pruner=none."
        )
    return names


def directions(names: tuple[str, ...]) -> list[StudyDirection]:
    """Return the direction of each metric."""
    return [
        StudyDirection.MINIMIZE if name in COUNTED or metric_of(name).less_is_better else StudyDirection.MAXIMIZE
        for name in names
    ]


def make_sampler(config: TuningConfig, space: Space, number: int = 0) -> BaseSampler:
    """Return a sampler that suggests the same candidates however often it is restarted. Raises UsageError.

    Args:
        config: names the sampler, its parameters and its seed.
        space: what it samples from.
        number: of the tuning; each draws other candidates.
    """
    seed = config.sampler_seed + number
    parameters = dict(config.samplers.get(config.sampler, {}))
    if config.sampler == "grid":
        return SAMPLERS["grid"](_grid(space, parameters), seed=seed)
    make = _checked("sampler", config.sampler, SAMPLERS[config.sampler], parameters)
    # Raises an error about its parameters before the first trial.
    make(seed=seed)
    return KeyedSampler(lambda seed: make(seed=seed), seed)


def grid_size(config: TuningConfig, space: Space) -> int | None:
    """Return the number of points of a grid search; None for other samplers."""
    if config.sampler != "grid":
        return None
    return math.prod(map(len, _grid(space, dict(config.samplers.get("grid", {}))).values()))


def _grid(space: Space, parameters: dict[str, Any]) -> dict[str, list[Any]]:
    points = parameters.pop("points", 8)
    if parameters or not isinstance(points, int) or points < 2:
        raise UsageError(
            f"hydra.sweeper.samplers.grid: takes points, an integer of at least 2; got {parameters or points}."
        )
    if conditional := [dimension.key for dimension in space.dimensions if dimension.config.when]:
        raise UsageError(
            f"hydra.sweeper.sampler=grid: does not support when, which {', '.join(conditional)} has. Choose tpe or "
            "random."
        )
    return {name: values for dimension in space.dimensions for name, values in dimension.grid(points).items()}


def checked_pruner(config: TuningConfig, evaluations: int) -> dict[str, Any]:
    """Return the pruner as a study stores it, for the processes that use it. Raises UsageError.

    Args:
        config: names the pruner and its parameters.
        evaluations: how often a trial is scored on the validation split.
    """
    parameters = dict(config.pruners.get(config.pruner, {}))
    if config.pruner == "none":
        return {"kind": "none", "parameters": {}}
    _checked("pruner", config.pruner, PRUNERS[config.pruner], parameters)
    if evaluations < 2:
        raise UsageError(
            f"hydra.sweeper.pruner={config.pruner}: prunes at every validation but the last, and there is no other "
            "with "
            f"evaluation.val_evaluations={evaluations}. Raise it, e.g. evaluation.val_evaluations=9."
        )
    if config.pruner == "hyperband":
        parameters.setdefault("max_resource", evaluations)
        if parameters.get("min_resource", 1) >= evaluations:
            raise UsageError(
                f"hydra.sweeper.pruners.hyperband.min_resource={parameters['min_resource']}: nothing is pruned before "
                f"it, and the last evaluation is evaluation.val_evaluations={evaluations}. Lower it, or raise that."
            )
    pruner = {"kind": config.pruner, "parameters": parameters}
    try:
        pruner_of(pruner)
    except (TypeError, ValueError) as error:
        raise UsageError(f"hydra.sweeper.pruners.{config.pruner}: {error}") from None
    return pruner


def _checked(
    kind: str, name: str, component: Callable[..., Any], parameters: Mapping[str, Any]
) -> Callable[..., BaseSampler]:
    allowed = parameters_of(component)
    for key in parameters:
        if key not in allowed:
            raise UsageError(f"hydra.sweeper.{kind}s.{name}.{key}: unknown key. {nearest(key, allowed)}")

    def make(**more: Any) -> Any:
        try:
            with quietly():
                return component(**parameters, **more)
        except (TypeError, ValueError, ImportError) as error:
            raise UsageError(f"hydra.sweeper.{kind}s.{name}: {error}") from None

    return make


@dataclass
class ArmStudy:
    """The study of one arm.

    Attributes:
        study: Optuna's study.
        n_trials: the number of candidates to train or prune.
        failed_now: candidates that failed in this command; the next command retries them.
        refused_now: candidates of this command with an invalid configuration.
    """

    study: optuna.Study
    n_trials: int
    failed_now: int = 0
    refused_now: int = 0

    @classmethod
    def open(
        cls,
        storage: BaseStorage,
        name: str,
        sampler: BaseSampler,
        about: dict[str, Any],
        n_trials: int,
    ) -> "ArmStudy":
        """Open or create a study.

        Args:
            storage: the study's storage.
            name: the study's name.
            sampler: suggests the candidates.
            about: what defines the study, as plain values. Only the pruner may differ from an earlier command's.
            n_trials: the number of candidates to train or prune.

        Raises:
            UsageError: the study exists and was created for something else.
        """
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            directions=directions(tuple(about["metrics"])),
            load_if_exists=True,
        )
        earlier = study.user_attrs.get(ABOUT)
        if earlier is None and study.get_trials(deepcopy=False):
            raise UsageError(
                f"hydra.sweeper.study: the study {name} exists and was not created by ablate. Choose another name."
            )
        if earlier is not None and (changed := differences(_fixed(earlier), _fixed(about))):
            changes = "\n".join(f"  {difference}" for difference in changed)
            raise UsageError(
                f"hydra.sweeper.study: the study {name} belongs to another tuning, so its trials can't be used here:\n"
                f"{changes}\nChoose another name, or null for one of its own."
            )
        if earlier != about:
            study.set_user_attr(ABOUT, about)
            with quietly():
                study.set_metric_names(about["metrics"])
        study.pruner = pruner_of(about["pruner"])
        return cls(study, n_trials)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study_name

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Its trials in these states, or all of them."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    @property
    def ended(self) -> int:
        """How many of the `n_trials` candidates ended."""
        return len(first_ended(self.study, self.n_trials))

    @property
    def is_spent(self) -> bool:
        """Whether to ask for no more candidates: there are enough, or none is valid."""
        if self.trials(TrialState.WAITING):
            return False
        return self._made + self.failed_now >= self.n_trials or self.refused_now >= self.n_trials

    @property
    def _made(self) -> int:
        return len(self.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING))

    def ask(self, sweeper: str) -> optuna.Trial:
        """Ask for a new trial, without parameters yet, under the name of this process's sweeper."""
        trial = self.study.ask()
        trial.set_user_attr("sweeper", sweeper)
        return trial

    def adopt(self, orphan: FrozenTrial, sweeper: str) -> optuna.Trial:
        """Take over a trial of a sweeper that was killed; its parameters stay.

        Raises:
            UpdateFinishedTrialError: another sweeper took it over earlier, and it has ended.
        """
        trial = optuna.Trial(self.study, orphan._trial_id)
        trial.set_user_attr("sweeper", sweeper)
        return trial

    def refuse(self, trial: optuna.Trial, reason: str) -> None:
        """Fail a trial with an invalid configuration; it is not retried."""
        trial.set_user_attr("refused", reason)
        self.refused_now += 1
        self.tell(trial.number, TrialState.FAIL)

    def try_again(self) -> None:
        """Enqueue the trials that failed in an earlier command, once each."""
        trials = self.trials()
        retried = {trial.user_attrs.get("again") for trial in trials}
        for trial in trials:
            is_refused = "refused" in trial.user_attrs
            if self._made >= self.n_trials:
                return
            if trial.state == TrialState.FAIL and trial.number not in retried and not is_refused:
                self.study.enqueue_trial(dict(trial.params), user_attrs={"again": trial.number})

    def reported(self, number: int) -> set[int]:
        """The steps at which a trial has reported intermediate values."""
        return {step for trial in self.trials() if trial.number == number for step in trial.intermediate_values}

    def tell(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        """Set how a trial ended, unless another process has set it."""
        self.study.tell(number, values=values, state=state, skip_if_finished=True)

    @property
    def best(self) -> FrozenTrial | None:
        """The best completed trial; None while there is none, and with several metrics."""
        completed = [trial for trial in first_ended(self.study, self.n_trials) if trial.state == TrialState.COMPLETE]
        if len(self.study.directions) > 1 or not completed:
            return None
        sign = 1 if self.study.direction == StudyDirection.MINIMIZE else -1
        return min(completed, key=lambda trial: sign * trial.values[0])


def _fixed(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if name in ("space", "metrics", "arm", "validation")}
