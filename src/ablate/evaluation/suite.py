"""Evaluation suites: what a trained model is scored on, by name, each with an id of its own.

A suite is a function under a decorator, like the tasks of an objective; an installed package may add one by the same
entry point (`docs/tutorial/adding-a-suite.md`). This module and the declarations of suites import no torch, because the
grid reads them before anything runs.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.config.registry import Component, Parameters, Registry, no_problem
from ablate.config.trial import TrialConfig
from ablate.errors import FailureError, UsageError, nearest
from ablate.identity import corpus_content, digest12
from ablate.records.metric import Metric

if TYPE_CHECKING:
    from ablate.evaluation.scoring import ModelReader


class Row(NamedTuple):
    """A score of one document; rows of the same metric, source and document are added up.

    Attributes:
        amount: of what the metric counts, e.g. bits or exact matches.
        units: of what it is counted by, e.g. bytes or middles.
    """

    metric: str
    source: str
    document: str
    amount: float
    units: float


Scorer = Callable[["ModelReader"], Iterable[Row]]


def no_sources(parameters: Parameters) -> Collection[str]:
    """Return (): the suite's metrics have no sources but those of the corpus."""
    return ()


def no_metric(parameters: Parameters) -> Mapping[str, str]:
    """Return {}: the suite has all its metrics whatever its parameters are."""
    return {}


@dataclass(frozen=True)
class Suite(Component):
    """A registered suite.

    Attributes:
        function: `(held_out, *, …) -> Scorer`: prepares what is scored, once, and returns the function that scores a
            model on it. Its keyword-only parameters are what YAML sets below `evaluation.suites.<name>`.
        metrics: all that its rows are in.
        data: what identifies the data that it reads, as plain values; part of the suite's id.
        reads_corpus: whether it scores held-out text of the trial's corpus. Another suite brings its own problems: they
            have no sources and no validation split.
        operational: parameters that say where something is, and do not count for the suite's id.
        missing: of given parameters, the metrics that the suite will not have, and what to type to have them.
        sources: of given parameters, the sources that a suite without a corpus has.
    """

    function: Callable[..., Scorer]
    metrics: tuple[Metric, ...]
    data: Callable[[TrialConfig], Any]
    reads_corpus: bool = True
    operational: frozenset[str] = frozenset()
    missing: Callable[[Parameters], Mapping[str, str]] = no_metric
    sources: Callable[[Parameters], Collection[str]] = no_sources


class SuiteRegistry(Registry[Suite]):
    """Suites by name; no two of them share a metric's name, because a log has one column per metric."""

    def add(self, component: Suite) -> None:
        """Register a suite. Raises FailureError where its name or that of a metric is taken."""
        owners = {metric.name: suite.name for suite in self._components.values() for metric in suite.metrics}
        for metric in component.metrics:
            if metric.name in owners:
                raise FailureError(
                    f"The suite {component.name} declares the metric {metric.name}, which is one of "
                    f"{owners[metric.name]}. Rename it in {component.function.__module__}."
                )
        super().add(component)


SUITES = SuiteRegistry("suite")


def suite(
    *,
    code_version: int,
    metrics: Sequence[Metric],
    data: Callable[[TrialConfig], Any] = corpus_content,
    problem: Callable[[Parameters], str | None] = no_problem,
    reads_corpus: bool = True,
    operational: Collection[str] = (),
    missing: Callable[[Parameters], Mapping[str, str]] = no_metric,
    sources: Callable[[Parameters], Collection[str]] = no_sources,
) -> Callable[[Callable[..., Scorer]], Callable[..., Scorer]]:
    """Register the function below as a suite under its own name.

    Args:
        code_version: part of the suite's id; raise it when its numbers change, and only then.
        metrics: all that its rows are in.
        data: what identifies the data that it reads; without it, the test split of the trial's corpus.
        problem: what is wrong with parameters that are each valid, or None.
        reads_corpus: see `Suite`.
        operational: see `Suite`.
        missing: see `Suite`.
        sources: see `Suite`.
    """

    def register(function: Callable[..., Scorer]) -> Callable[..., Scorer]:
        component = Suite(
            function.__name__,
            function,
            code_version,
            problem,
            tuple(metrics),
            data,
            reads_corpus,
            frozenset(operational),
            missing,
            sources,
        )
        SUITES.add(component)
        return function

    return register


def checked_suites(trial: TrialConfig) -> dict[str, tuple[Suite, dict[str, Any]]]:
    """The suites of a trial with their typed parameters, by name.

    Raises:
        UsageError: a suite that is not there, or parameters that it can't take.
    """
    checked = {}
    for name, parameters in trial.evaluation.suites.items():
        where = f"evaluation.suites.{name}"
        if name not in SUITES:
            raise UsageError(f"{where}: no such suite. {nearest(name, SUITES)}")
        checked[name] = SUITES.checked(name, parameters, where, "name")
    return checked


def suite_ids(trial: TrialConfig) -> dict[str, str]:
    """The id of each of a trial's suites, by name.

    Equal ids mean the same data, scored by the same code in the same way. Raises UsageError like `checked_suites`.
    """
    ids = {}
    for name, (suite, parameters) in checked_suites(trial).items():
        counting = {key: value for key, value in parameters.items() if key not in suite.operational}
        ids[name] = digest12([name, counting, suite.code_version, suite.data(trial)])
    return ids


def suite_id(trial: TrialConfig, name: str) -> str:
    """The id of one suite of a trial; see `suite_ids`."""
    return suite_ids(trial)[name]


def validation_id(trial: TrialConfig) -> str:
    """The id of what a trial is scored on during training and tuning: its suites that have a validation split."""
    suites = {name: id_ for name, id_ in suite_ids(trial).items() if SUITES[name].reads_corpus}
    return digest12([trial.evaluation.val_documents_per_source, suites])


def metrics_of(names: Iterable[str]) -> dict[str, Metric]:
    """The metrics of these suites, by name."""
    return {metric.name: metric for name in names for metric in SUITES[name].metrics}


def metric_of(name: str) -> Metric:
    """The metric of a name, with or without a source after a slash. Raises KeyError where no suite declares it."""
    return metrics_of(SUITES)[name.split("/")[0]]


def scored_names(trial: TrialConfig) -> dict[str, str]:
    """Each name of a metric that lessons may compare, with and without a source, and the suite that scores it.

    The sources are those of the trial; the suites are all.
    """
    names: dict[str, str] = {}
    for name, suite in SUITES.items():
        own = suite.sources(trial.evaluation.suites.get(name, {}))
        for metric in suite.metrics:
            if not metric.is_reference:
                sources = trial.corpus.metric_sources if suite.reads_corpus else own
                names |= dict.fromkeys((metric.name, *(f"{metric.name}/{source}" for source in sources)), name)
    return names
