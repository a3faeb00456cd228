"""Measure the overhead of a tuning per candidate, and compare it with a bare Optuna study of the same length.

    python bench/tuning_overhead.py [--trials 2000] [--samplers random,tpe] [--storage journal,sqlite]

No trial is trained: each is recorded as finished at once. The time is that of all other work per candidate: sampling,
composing, checking, hashing and freezing the configuration, reading the result, and reporting it to the study. Optuna's
own loop samples from the same space, with the same sampler and storage, and does nothing else.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf
from rich.console import Console

from ablate import CONF
from ablate.evaluation.suite import validation_id
from ablate.grid.expand import Seeds
from ablate.records.ledger import Ledger
from ablate.records.optuna.storage import open_storage
from ablate.records.optuna.studies import SAMPLERS, KeyedSampler, quietly
from ablate.records.trial import Attempt, Counts, Status, TrainResult
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.scheduler import Scheduler
from ablate.tuning.run import owner
from ablate.tuning.source import TuningSource
from ablate.tuning.tuning import Tuning

RATE = {"optimizer.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}


def make_tuning(runs_dir: Path, trials: int, sampler: str, storage: str) -> Tuning:
    """Create a tuning as the command line does."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", ["budget=smoke"], RunMode.MULTIRUN)
        node: Any = OmegaConf.to_container(master.hydra.sweeper, resolve=True)
        for key in ("_target_", "exclude", "params", "zip", "verb", "is_grid", "command", "names"):
            del node[key]
        node |= {"space": RATE, "n_trials": trials, "sampler": sampler, "storage": storage}
        arguments = ["budget=smoke", f"runs_dir={runs_dir}"]
        return Tuning.of(loader, master, arguments, node, "bench", print)


def score(rate: float) -> float:
    """Return a quadratic score of a learning rate."""
    return 2 + (rate - 0.006) ** 2


class InstantLauncher:
    """Record each trial as finished on submission, and keep the seconds since the last submission.

    Args:
        ledger: the ledger of the trials.
        validation_id: the id of the validation scores.
    """

    name = "instant"
    parallel: int | None = 1
    takes_batches = False
    outlives_command = False

    def __init__(self, ledger: Ledger, validation_id: str) -> None:
        self.seconds: list[float] = []
        self._ledger = ledger
        self._validation_id = validation_id
        self._since = time.perf_counter()

    def check(self) -> None:
        """See `Launcher`."""

    def preview(self, jobs: Sequence[Job]) -> str:
        """See `Launcher`."""
        return ""

    def handle_for(self, job: Job) -> Handle:
        """See `Launcher`."""
        return Handle(self.name, job.trial_id)

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """See `Launcher`."""
        self.seconds.append(time.perf_counter() - self._since)
        [job] = jobs
        folder = self._ledger.trial(job.trial_id)
        rate = float(folder.record().options["optimizer.learning_rate"])
        attempt = Attempt(started_at=0.0, host="", pid=0, ended="finished")
        folder.update(
            status=Status.FINISHED,
            started_at=0.0,
            finished_at=0.0,
            result=TrainResult(Counts(), 0.0, 0, ""),
            attempts=(attempt,),
            validation={self._validation_id: {"bpb_continuation": score(rate)}},
        )
        self._since = time.perf_counter()
        return [self.handle_for(job)]

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """See `Launcher`."""
        return dict.fromkeys(handles, JobState(Phase.ENDED))

    def cancel(self, handles: Iterable[Handle]) -> None:
        """See `Launcher`."""

    @staticmethod
    def state_elsewhere(job_id: str, runs_dir: Path) -> JobState:
        """See `Launcher`."""
        return JobState(Phase.ENDED)

    @staticmethod
    def cancel_elsewhere(job_ids: Sequence[str], runs_dir: Path, *, at_once: bool) -> None:
        """See `Launcher`."""


def tuning_seconds(runs_dir: Path, trials: int, sampler: str, storage: str) -> list[float]:
    """Return the seconds per candidate of a tuning."""
    tuning = make_tuning(runs_dir, trials, sampler, storage)
    tuning.ledger.check_writable()
    [[sample, *_]] = tuning.corners.values()
    console = Console(file=io.StringIO())
    launcher = InstantLauncher(tuning.ledger, validation_id(Seeds(0, 0).on(sample.trial)))
    with owner(tuning.ledger) as name:
        source = TuningSource(tuning, tuning.studies(open_storage(storage)), name, console)
        Scheduler(launcher, console).run(source)
    return launcher.seconds


def bare_seconds(trials: int, sampler: str, storage: str) -> list[float]:
    """Return the seconds per candidate of Optuna's own loop."""
    with quietly():
        keyed_sampler = KeyedSampler(lambda seed: SAMPLERS[sampler](seed=seed), 0)
    study = optuna.create_study(storage=open_storage(storage), sampler=keyed_sampler)
    seconds = []
    for _ in range(trials):
        started = time.perf_counter()
        study.optimize(lambda trial: score(trial.suggest_float("rate", 1e-4, 1e-1, log=True)), n_trials=1)
        seconds.append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Print the milliseconds per candidate, overall and in the first and last tenth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--samplers", default="random,tpe")
    parser.add_argument("--storage", default="journal,sqlite")
    options = parser.parse_args()
    for sampler in options.samplers.split(","):
        for kind in options.storage.split(","):
            for name in ("tuning", "Optuna alone"):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder)
                    storage = str(path / "s.journal") if kind == "journal" else f"sqlite:///{path}/s.db"
                    if name == "tuning":
                        seconds = tuning_seconds(path / "runs", options.trials, sampler, storage)
                    else:
                        seconds = bare_seconds(options.trials, sampler, storage)
                tenth = max(1, len(seconds) // 10)
                first, last = (1e3 * statistics.median(part) for part in (seconds[:tenth], seconds[-tenth:]))
                whole = sum(seconds)
                print(
                    f"{sampler:7} {kind:8} {name:13} {len(seconds)} candidates in {whole:6.1f} s, "
                    f"{1e3 * statistics.median(seconds):5.1f} ms each (first tenth {first:5.1f}, last {last:5.1f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
