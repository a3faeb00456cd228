"""Grids from the command line whose trials end at once, with scores that are known from arm and seed."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from ablate.config.parse import trial_from_container
from ablate.evaluation.suite import suite_ids
from ablate.records.ledger import Ledger
from ablate.records.trial import Counts, Status, TrainResult
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.launchers.local import LocalLauncher

# By objective: what a seed scores.
Scores = Mapping[str, Callable[[int], float]]


def scoring_launcher(scores: Scores, metrics: Sequence[str] = ("bpb_full",)) -> type[LocalLauncher]:
    """Return a launcher that finishes each trial when it is submitted, with the same score on all these metrics."""

    class ScoringLauncher(LocalLauncher):
        def submit(self, jobs: Sequence[Job]) -> list[Handle]:
            for job in jobs:
                folder = Ledger(job.runs_dir).trial(job.trial_id)
                trial = trial_from_container(folder.frozen())
                [suite] = suite_ids(trial).values()
                seed = trial.data_seed
                row = {"step": 1, "data/train_tokens": 1000, "data/windows": f"w{seed}", "train/loss": 1.0}
                folder.metrics_path.write_text(json.dumps(row) + "\n")
                objective = folder.record().options.get("objective", "causal")
                folder.update(
                    status=Status.FINISHED,
                    result=TrainResult(Counts(2, 1000, 1000, 990, 0, 1e9, f"w{seed}"), 1.0, 10, "data"),
                    evaluations={suite: dict.fromkeys(metrics, scores[objective](seed))},
                )
            return [self.handle_for(job) for job in jobs]

        def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
            return {handle: JobState(Phase.ENDED) for handle in handles}

        def cancel(self, handles: Iterable[Handle]) -> None:
            raise AssertionError("nothing runs")

    return ScoringLauncher
