"""The task that Hydra's launchers run. Imports nothing before a job runs."""

from typing import Any


def run(config: Any) -> None:
    """Run the trial that a job's overrides name, as it was frozen. Hydra's launchers import this function by name.

    The rest of what Hydra has composed is ignored: a YAML file that is edited while a job waits cannot change a trial.
    """
    import signal
    from pathlib import Path

    from ablate.records.ledger import Ledger
    from ablate.records.trial import Status
    from ablate.records.tuning import CandidateRef
    from ablate.scheduling.job import Job
    from ablate.scheduling.processes import raise_interrupt
    from ablate.scheduling.supervisor import supervise

    candidate = None if config.candidate is None else CandidateRef(**config.candidate)
    job = Job(config.trial_id, Path(config.runs_dir), candidate=candidate)
    if not supervise(job):
        is_stopped = Ledger(job.runs_dir).trial(job.trial_id).status == Status.PENDING
        if is_stopped and signal.getsignal(signal.SIGTERM) is raise_interrupt:
            # The launcher runs its jobs in the command's own process, so the signal was meant for all of them.
            raise KeyboardInterrupt
        raise RuntimeError(f"the trial {config.trial_id} did not finish; its record says why")
