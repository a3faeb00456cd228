"""Scores a trial's model by its suites."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards
from ablate.errors import FailureError
from ablate.evaluation.held_out import HeldOut, HeldOutSplit
from ablate.evaluation.scoring import ModelReader
from ablate.evaluation.suite import Scorer, checked_suites, suite_ids
from ablate.evaluation.table import summary, table
from ablate.model.build import Model
from ablate.ranks import ALONE, Ranks


@dataclass(frozen=True)
class SuiteResult:
    """What one suite found.

    Attributes:
        documents: columns metric, source, document, amount, units.
        metrics: `metric/source` and `metric`, the mean over sources.
    """

    documents: pd.DataFrame
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evaluator:
    """Scores models of one trial; what a suite prepares is prepared once per split.

    Attributes:
        ranks: those that score a model together: all of them call the same methods, and get the same results.
    """

    trial: TrialConfig
    shards: Shards
    ranks: Ranks = ALONE

    @cached_property
    def _validation(self) -> dict[str, Scorer]:
        return self._scorers("validation", checked_suites(self.trial))

    def _scorers(self, split: HeldOutSplit, names: Collection[str]) -> dict[str, Scorer]:
        held_out = HeldOut(self.trial, self.shards, split)
        return {
            name: suite.function(held_out, **parameters)
            for name, (suite, parameters) in checked_suites(self.trial).items()
            if name in names
        }

    def score(self, model: Model, suites: Collection[str]) -> dict[str, SuiteResult]:
        """Score a model by some of the trial's suites on the test split.

        Args:
            model: in evaluation mode; the caller sets the precision.
            suites: their ids.

        Returns:
            The results by the suites' ids.

        Raises:
            FailureError: a suite whose rows are in a metric that it does not declare.
        """
        ids = {name: id_ for name, id_ in suite_ids(self.trial).items() if id_ in suites}
        return {ids[name]: self._result(model, name, score) for name, score in self._scorers("test", ids).items()}

    def validation_summary(self, model: Model) -> dict[str, float]:
        """The metrics of all suites on the validation split; like `score`."""
        metrics: dict[str, float] = {}
        for name, score in self._validation.items():
            metrics |= self._result(model, name, score).metrics
        return metrics

    def _result(self, model: Model, name: str, score: Scorer) -> SuiteResult:
        # No causal row reaches a position beyond the window; transformed rows, up to the context, would be favoured.
        reader = ModelReader(model, self.trial.scale.window_tokens, self.trial.evaluation.rows_per_batch, self.ranks)
        documents = table(score(reader))
        suite, _ = checked_suites(self.trial)[name]
        if undeclared := set(documents["metric"]) - {metric.name for metric in suite.metrics}:
            raise FailureError(
                f"The suite {name} scores {', '.join(sorted(undeclared))} and does not declare it. Add it to the "
                f"metrics of its decorator in {suite.function.__module__}."
            )
        return SuiteResult(documents, summary(documents))
