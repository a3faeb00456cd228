"""Hydra's door to processes forked from a server that has paid the imports."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class AblateLauncher(Launcher):
    """Runs each job in its own process, at most `parallel_trials` at once."""

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

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Returns when all jobs have ended; a failed one is a return with the status FAILED."""
        from ablate.grid.launch import Job, run_jobs

        jobs = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            folder = Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)
            work = partial(_run, self.hydra_context, self.task_function, config)
            jobs.append(Job(work, folder / "log.txt"))
        codes = run_jobs(jobs, parallel=self.parallel_trials)
        return [_job_return(overrides, code) for overrides, code in zip(job_overrides, codes, strict=True)]


def _run(context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
    """One job, in the child."""
    setup_globals()
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
    done.return_value = RuntimeError(f"exit code {code}") if code else None
    return done
