"""Any of Hydra's launchers, batch by batch: each job travels as overrides and runs the frozen trial."""

import time
from collections.abc import Iterable, Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher as HydraPlugin

from ablate.config.quoting import quoted
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.launchers.command import CommandLauncher
from ablate.scheduling.processes import Interrupts, handling, raise_interrupt


def job_overrides(job: Job) -> list[str]:
    """Return a job as overrides; quoted, because 22292e012950 is a trial and would be read as a number."""
    overrides = [f"trial_id={quoted(job.trial_id)}", f"runs_dir={quoted(str(job.runs_dir))}"]
    if job.candidate is not None:
        storage, study = quoted(job.candidate.storage), quoted(job.candidate.study)
        overrides.append(f"candidate={{storage:{storage},study:{study},number:{job.candidate.number}}}")
    return overrides


class HydraLauncher(CommandLauncher):
    """Submits a batch and returns when all of its jobs have ended, as Hydra's launchers do.

    Args:
        plugin: Hydra's launcher, after its `setup`.
    """

    name = "hydra"
    takes_batches = True
    # The plugin has limits of its own.
    parallel: int | None = None

    def __init__(self, plugin: HydraPlugin) -> None:
        self._plugin = plugin
        super().__init__()
        self._states: dict[Handle, JobState] = {}

    def check(self) -> None:
        """Do nothing: the plugin says what it lacks when it is made."""

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """Submit jobs and wait until all have ended. Raises KeyboardInterrupt on signals that end a command."""
        handles = [self._handles.take(job) for job in jobs]
        number = len(self._states)
        self._states |= dict.fromkeys(handles, JobState(Phase.ENDED, code=1, detail="interrupted"))
        with handling(Interrupts.heard(), raise_interrupt):
            returns = self._plugin.launch([job_overrides(job) for job in jobs], initial_job_idx=number)
        self._states |= dict(zip(handles, map(_state, returns), strict=True))
        return handles

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """See `Launcher`."""
        states = {handle: self._states[handle] for handle in handles}
        if not states:
            time.sleep(wait_seconds)
        return states

    def cancel(self, handles: Iterable[Handle]) -> None:
        """Do nothing: all jobs have ended when `submit` returns."""


def _state(job_return: JobReturn) -> JobState:
    if job_return.status == JobStatus.COMPLETED:
        return JobState(Phase.ENDED)
    return JobState(Phase.ENDED, code=1, detail=str(job_return._return_value))
