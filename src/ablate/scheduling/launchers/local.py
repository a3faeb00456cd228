"""Jobs as processes of this machine, at most so many at once."""

import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from ablate.records.ledger import Ledger
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.launchers.command import CommandLauncher
from ablate.scheduling.processes import start_process, start_server


class LocalLauncher(CommandLauncher):
    """Forks a supervisor per job from a server that has paid the imports.

    Args:
        parallel: how many jobs run at once.
    """

    name = "local"
    takes_batches = False

    def __init__(self, *, parallel: int) -> None:
        self.parallel: int | None = parallel
        super().__init__()
        self._processes: dict[Handle, BaseProcess] = {}
        self._cancelled: set[Handle] = set()

    def check(self) -> None:
        """Do nothing: see `ablate.grid.machine` for what trials need of this machine."""

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """See `Launcher`."""
        start_server()
        handles = [self._handles.take(job) for job in jobs]
        for handle, job in zip(handles, jobs, strict=True):
            log = Ledger(job.runs_dir).trial(job.trial_id).log_path
            self._processes[handle] = start_process("ablate.scheduling.supervisor:run_job", job, output=log)
        return handles

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """See `Launcher`."""
        processes = {handle: self._processes[handle] for handle in handles}
        if processes:
            wait([process.sentinel for process in processes.values()], wait_seconds)
        else:
            time.sleep(wait_seconds)
        return {
            handle: JobState(Phase.RUNNING) if process.is_alive() else JobState(Phase.ENDED, process.exitcode or 0)
            for handle, process in processes.items()
        }

    def cancel(self, handles: Iterable[Handle]) -> None:
        """See `Launcher`."""
        for handle in handles:
            process = self._processes[handle]
            if handle in self._cancelled:
                process.kill()
                process.join()
            else:
                self._cancelled.add(handle)
                process.terminate()
