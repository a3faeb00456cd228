"""One arm's study: what it proposes, what was found of that, and who works on it."""

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
from ablate.identity import differences
from ablate.lessons.metric import METRICS, metric
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

# What a trial's record counts, beside the metrics on the validation split; of each, less is better.
COUNTED = ("flops", "parameters", "train_tokens", "input_tokens", "loss_tokens", "training_seconds")


def checked_metrics(names: tuple[str, ...], pruner: str) -> tuple[str, ...]:
    """The metrics that a sweep judges by. Raises UsageError."""
    known = [*METRICS, *COUNTED]
    for name in names:
        if name.split("/")[0] not in known:
            raise UsageError(f"hydra.sweeper.metrics: {name}: no such metric. {nearest(name, known)}")
    if len(names) > 1 and pruner != "none":
        raise UsageError(
            f"hydra.sweeper.pruner={pruner}: prunes by one number, and hydra.sweeper.metrics has {len(names)} "
            f"({', '.join(names)}). Type hydra.sweeper.pruner=none, or give one metric."
        )
    if pruner != "none" and names[0] in COUNTED:
        raise UsageError(
            f"hydra.sweeper.pruner={pruner}: is asked on the validation split, where {names[0]} is not measured. Type "
            "hydra.sweeper.pruner=none."
        )
    return names


def directions(names: tuple[str, ...]) -> list[StudyDirection]:
    """Which way is better."""
    return [
        StudyDirection.MINIMIZE if name in COUNTED or metric(name).less_is_better else StudyDirection.MAXIMIZE
        for name in names
    ]


def make_sampler(sweep: TuningConfig, space: Space) -> BaseSampler:
    """The sweep's sampler, which draws the same candidates however often it was killed. Raises UsageError."""
    given = dict(sweep.samplers.get(sweep.sampler, {}))
    if sweep.sampler == "grid":
        return SAMPLERS["grid"](_grid(space, given), seed=sweep.sampler_seed)
    make = _checked("sampler", sweep.sampler, SAMPLERS[sweep.sampler], given)
    # Made once here, so that what it does not take is told before the first trial.
    make(seed=sweep.sampler_seed)
    return KeyedSampler(lambda seed: make(seed=seed), sweep.sampler_seed)


def grid_size(sweep: TuningConfig, space: Space) -> int | None:
    """How many candidates there are at all; None where a sampler does not go through them."""
    if sweep.sampler != "grid":
        return None
    size = 1
    for values in _grid(space, dict(sweep.samplers.get("grid", {}))).values():
        size *= len(values)
    return size


def _grid(space: Space, given: dict[str, Any]) -> dict[str, list[Any]]:
    points = given.pop("points", 8)
    if given or not isinstance(points, int) or points < 2:
        raise UsageError(
            f"hydra.sweeper.samplers.grid: takes points, a whole number from 2 on; given {given or points}."
        )
    if hanging := [dimension.key for dimension in space.dimensions if dimension.config.when]:
        raise UsageError(
            f"hydra.sweeper.sampler=grid: {', '.join(hanging)} is asked for only now and then (when), which a grid "
            "can't. Choose tpe or random."
        )
    return {name: values for dimension in space.dimensions for name, values in dimension.grid(points).items()}


def checked_pruner(sweep: TuningConfig, most_steps: int) -> dict[str, Any]:
    """The sweep's pruner as a study keeps it, for the processes that ask it. Raises UsageError."""
    given = dict(sweep.pruners.get(sweep.pruner, {}))
    if sweep.pruner == "none":
        return {"kind": "none", "parameters": {}}
    _checked("pruner", sweep.pruner, PRUNERS[sweep.pruner], given)
    if most_steps < 2:
        raise UsageError(
            f"hydra.sweeper.pruner={sweep.pruner}: is asked at each of evaluation.val_evaluations={most_steps}, and "
            "only before the last can it prune. Raise it, e.g. evaluation.val_evaluations=9."
        )
    if sweep.pruner == "hyperband":
        given.setdefault("max_resource", most_steps)
        if given.get("min_resource", 1) >= most_steps:
            raise UsageError(
                f"hydra.sweeper.pruners.hyperband.min_resource={given['min_resource']}: prunes nothing before it, and "
                f"the last evaluation is evaluation.val_evaluations={most_steps}. Lower it, or raise that."
            )
    made = {"kind": sweep.pruner, "parameters": given}
    try:
        pruner_of(made)
    except (TypeError, ValueError) as error:
        raise UsageError(f"hydra.sweeper.pruners.{sweep.pruner}: {error}") from None
    return made


def _checked(
    kind: str, name: str, component: Callable[..., Any], given: Mapping[str, Any]
) -> Callable[..., BaseSampler]:
    allowed = parameters_of(component)
    for key in given:
        if key not in allowed:
            raise UsageError(f"hydra.sweeper.{kind}s.{name}.{key}: unknown key. {nearest(key, allowed)}")

    def make(**more: Any) -> Any:
        try:
            with quietly():
                return component(**given, **more)
        except (TypeError, ValueError, ImportError) as error:
            raise UsageError(f"hydra.sweeper.{kind}s.{name}: {error}") from None

    return make


@dataclass
class ArmStudy:
    """The study of one arm.

    Attributes:
        study: Optuna's.
        n_trials: how many candidates are to come to an end.
        failed_now: candidates that failed in this command; another one tries them again.
        refused_now: candidates that can't be run, in this command.
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
        """Opens a study, or makes it.

        Args:
            storage: where it is kept.
            name: its name.
            sampler: who proposes.
            about: what it is for, as plain values; the pruner may change from one command to the next, the rest not.
            n_trials: how many candidates are to come to an end.

        Raises:
            UsageError: a study of this name that was made for something else.
        """
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            directions=directions(tuple(about["metrics"])),
            load_if_exists=True,
        )
        known = study.user_attrs.get(ABOUT)
        if known is None and study.get_trials(deepcopy=False):
            raise UsageError(
                f"hydra.sweeper.study: the study {name} is there and was not made by ablate. Give another name."
            )
        if known is not None and (changed := differences(_fixed(known), _fixed(about))):
            listed = "\n".join(f"  {difference}" for difference in changed)
            raise UsageError(
                f"hydra.sweeper.study: the study {name} was made for another sweep, and its trials say nothing of this "
                f"one:\n{listed}\nGive another name, or null for one of its own."
            )
        if known != about:
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
        """Its trials in these states, or all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    @property
    def ended(self) -> int:
        """How many candidates came to an end, of those that were to."""
        return len(first_ended(self.study, self.n_trials))

    @property
    def is_spent(self) -> bool:
        """Whether nothing more is to be asked: as many candidates are made as were wanted, or none can be run."""
        if self.trials(TrialState.WAITING):
            return False
        return self._made + self.failed_now >= self.n_trials or self.refused_now >= self.n_trials

    @property
    def _made(self) -> int:
        return len(self.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING))

    def ask(self, sweeper: str) -> optuna.Trial:
        """A new trial, in which nothing is drawn yet, under the name of who asks."""
        trial = self.study.ask()
        trial.set_user_attr("sweeper", sweeper)
        return trial

    def adopt(self, found: FrozenTrial, sweeper: str) -> optuna.Trial:
        """A trial that a sweeper left when it was killed; what was drawn in it stays.

        Raises:
            UpdateFinishedTrialError: another sweeper was faster, and it has come to its end.
        """
        trial = optuna.Trial(self.study, found._trial_id)
        trial.set_user_attr("sweeper", sweeper)
        return trial

    def refuse(self, trial: optuna.Trial, reason: str) -> None:
        """Ends a trial that can't be run as it was drawn, for good."""
        trial.set_user_attr("refused", reason)
        self.refused_now += 1
        self.tell(trial.number, TrialState.FAIL)

    def try_again(self) -> None:
        """Puts what failed in an earlier command before what comes next, once each."""
        everything = self.trials()
        tried = {trial.user_attrs.get("again") for trial in everything}
        for trial in everything:
            is_refused = "refused" in trial.user_attrs
            if self._made >= self.n_trials:
                return
            if trial.state == TrialState.FAIL and trial.number not in tried and not is_refused:
                self.study.enqueue_trial(dict(trial.params), user_attrs={"again": trial.number})

    def reported(self, number: int) -> set[int]:
        """The steps at which a trial has told what was measured."""
        return {step for trial in self.trials() if trial.number == number for step in trial.intermediate_values}

    def tell(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        """Says how a trial ended; of one that another process told of, nothing."""
        self.study.tell(number, values=values, state=state, skip_if_finished=True)

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial that came to its end; None while there is none, and where there are several metrics."""
        done = [trial for trial in first_ended(self.study, self.n_trials) if trial.state == TrialState.COMPLETE]
        if len(self.study.directions) > 1 or not done:
            return None
        sign = 1 if self.study.direction == StudyDirection.MINIMIZE else -1
        return min(done, key=lambda trial: sign * trial.values[0])


def _fixed(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if name in ("space", "metrics", "arm", "validation")}
