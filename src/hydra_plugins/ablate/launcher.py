"""Hydra's door to processes forked from a server that has paid the imports."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class AblateLauncher(Launcher):
    """Runs each job in its own process, at most `parallel_trials` at once."""

    # Jobs may come one after the other, while others run.
    takes_more = True

    def __init__(self, parallel_trials: int) -> None:
        self.parallel_trials = parallel_trials
        self.hydra_context: HydraContext
        self.task_function: TaskFunction
        self.config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands to every launcher."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Iterable[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Returns when all jobs have ended; a failed one is a return with the status FAILED."""
        from ablate.grid.launch import run_jobs

        launched: list[list[str]] = []

        def jobs() -> Iterator[partial[None]]:
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                launched.append(list(overrides))
                yield partial(_run, self.hydra_context, self.task_function, self.config, launched[-1], number)

        codes = run_jobs(jobs(), parallel=self.parallel_trials)
        return [_job_return(overrides, code) for overrides, code in zip(launched, codes, strict=True)]


def _run(
    context: HydraContext, task_function: TaskFunction, master: DictConfig, overrides: list[str], number: int
) -> None:
    """One job, in the child: composed there, so that a thousand jobs don't wait for each other's composing."""
    from ablate.grid.launch import print_into

    setup_globals()
    config = context.config_loader.load_sweep_config(master, overrides)
    print_into(Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir) / "log.txt")
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    HydraConfig.instance().set_config(config)
    done = run_job(
        hydra_context=context,
        task_function=task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    # Raises what the job raised.
    assert done.return_value is None


def _job_return(overrides: Sequence[str], code: int) -> JobReturn:
    done = JobReturn(overrides=list(overrides), status=JobStatus.FAILED if code else JobStatus.COMPLETED)
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    done.return_value = RuntimeError(ended) if code else None
    return done
