"""Scores a trial's model by its suites."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards
from ablate.errors import FailureError
from ablate.evaluation.held_out import HeldOut, HeldOutSplit
from ablate.evaluation.scoring import ModelReader
from ablate.evaluation.suite import SUITES, Scorer, checked_suites, suite_ids
from ablate.evaluation.suite_run import SuiteRun
from ablate.evaluation.table import summary, table
from ablate.model.build import Model
from ablate.ranks import ALONE, Ranks


@dataclass(frozen=True)
class SuiteResult:
    """What one suite found.

    Attributes:
        documents: columns metric, source, document, amount, units.
        metrics: `metric/source` and `metric`, the mean over sources.
        conditions: what the scores were taken under, such as the sandbox.
    """

    documents: pd.DataFrame
    metrics: dict[str, float]
    conditions: Mapping[str, str]


@dataclass(frozen=True)
class Evaluator:
    """Scores models of one trial; what a suite prepares is prepared once per split.

    Attributes:
        shards: None where no suite reads the corpus.
        ranks: those that score a model together: all of them call the same methods, and get the same results.
    """

    trial: TrialConfig
    shards: Shards | None
    ranks: Ranks = ALONE

    @cached_property
    def _validation(self) -> dict[str, Scorer]:
        return self._scorers("validation", [name for name in checked_suites(self.trial) if SUITES[name].reads_corpus])

    def _scorers(self, split: HeldOutSplit, names: Collection[str]) -> dict[str, Scorer]:
        held_out = HeldOut(self.trial, self.shards, split)
        return {
            name: suite.function(held_out, **parameters)
            for name, (suite, parameters) in checked_suites(self.trial).items()
            if name in names
        }

    def score(
        self, model: Model, suites: Collection[str], run_of: Callable[[str], SuiteRun] = lambda suite: SuiteRun()
    ) -> dict[str, SuiteResult]:
        """Score a model by some of the trial's suites on the test split.

        Args:
            model: in evaluation mode; the caller sets the precision.
            suites: their ids.
            run_of: returns where the suite of an id keeps its work.

        Returns:
            The results by the suites' ids.

        Raises:
            FailureError: a suite whose rows are in a metric that it does not declare.
        """
        ids = {name: id_ for name, id_ in suite_ids(self.trial).items() if id_ in suites}
        scorers = self._scorers("test", ids)
        return {ids[name]: self._result(model, name, score, run_of(ids[name])) for name, score in scorers.items()}

    def validation_summary(self, model: Model) -> dict[str, float]:
        """The metrics of all suites on the validation split; like `score`."""
        metrics: dict[str, float] = {}
        for name, score in self._validation.items():
            metrics |= self._result(model, name, score, SuiteRun()).metrics
        return metrics

    def _result(self, model: Model, name: str, score: Scorer, run: SuiteRun) -> SuiteResult:
        # No causal row reaches a position beyond the window; transformed rows, up to the context, would be favoured.
        context_tokens, rows = self.trial.scale.window_tokens, self.trial.evaluation.rows_per_batch
        reader = ModelReader(model, context_tokens, rows, self.ranks, run)
        documents = table(score(reader))
        suite, _ = checked_suites(self.trial)[name]
        if undeclared := set(documents["metric"]) - {metric.name for metric in suite.metrics}:
            raise FailureError(
                f"The suite {name} scores {', '.join(sorted(undeclared))} and does not declare it. Add it to the "
                f"metrics of its decorator in {suite.function.__module__}."
            )
        return SuiteResult(documents, summary(documents), dict(run.conditions))
