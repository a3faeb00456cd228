"""Supervisor and worker as processes: killed, stopped, out of order, and what each of them imports and writes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from ablate.config.parse import trial_to_container
from ablate.config.trial import TrialConfig
from ablate.identity import semantic, trial_id
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.optuna.studies import Candidate
from ablate.records.trial import Counts, Status, TrainResult, TrialRecord
from ablate.records.tuning import CandidateRef
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Phase
from ablate.scheduling.launchers.local import LocalLauncher
from ablate.scheduling.processes import start_process, start_server
from ablate.scheduling.reconcile import reconcile
from ablate.scheduling.recorder import Recorder, record_end
from ablate.training.messages import Activity, Decision, Ended, LogRow, LogSynced, SuiteScored, SyncLog, TrainingBegins
from tests.support.command_line import wait_for
from tests.support.trials import MakeTrial

LONG = ("objective=causal", "budget.train_tokens=200000", "checkpoint.every_steps=5")
SHORT = ("objective=causal", "budget.train_tokens=3200", "checkpoint.every_steps=3")


def freeze(trial: TrialConfig, runs_dir: Path) -> tuple[TrialFolder, Job]:
    ledger = Ledger(runs_dir)
    record = TrialRecord(trial_id(trial), semantic=semantic(trial))
    ledger.freeze(record, trial_to_container(trial))
    return ledger.trial(record.trial_id), Job(record.trial_id, runs_dir)


@pytest.fixture
def start() -> Iterator[Callable[[Job], BaseProcess]]:
    """Starts a job's supervisor; what is left of it is killed."""
    start_server()
    started: list[BaseProcess] = []

    def start(job: Job) -> BaseProcess:
        log = Ledger(job.runs_dir).trial(job.trial_id).log_path
        started.append(start_process("ablate.scheduling.supervisor:run_job", job, output=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


def worker_of(supervisor: BaseProcess) -> psutil.Process:
    """The only other child of the fork server that began after the supervisor."""
    own = psutil.Process(supervisor.pid)
    server = own.parent()
    assert server is not None
    later = [child for child in server.children() if child.create_time() >= own.create_time() and child.pid != own.pid]
    return max(later, key=lambda child: child.create_time())


def rows(folder: TrialFolder) -> int:
    return len(read_metrics(folder.metrics_path))


def test_the_supervisor_imports_no_torch() -> None:
    program = (
        "import sys, ablate.scheduling.supervisor, ablate.scheduling.launchers.local, ablate.scheduling.scheduler\n"
        "print(sorted({'torch', 'lightning', 'pandas', 'optuna', 'wandb', 'hydra', 'omegaconf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_worker_that_is_killed_is_a_failure_with_the_signal(
    make_trial: MakeTrial, tmp_path: Path, start: Callable[[Job], BaseProcess]
) -> None:
    folder, job = freeze(make_trial(*LONG), tmp_path / "runs")
    supervisor = start(job)
    wait_for(lambda: rows(folder) > 3)
    worker_of(supervisor).kill()
    supervisor.join(60)
    assert supervisor.exitcode == 1
    record = folder.record()
    assert record.status == Status.FAILED
    assert record.failure is not None
    assert "exited without reporting an error (killed by SIGKILL" in record.failure.message
    assert not folder.is_locked


def test_a_worker_ends_with_its_supervisor_and_writes_nothing_after_it(
    make_trial: MakeTrial, tmp_path: Path, start: Callable[[Job], BaseProcess]
) -> None:
    folder, job = freeze(make_trial(*LONG), tmp_path / "runs")
    supervisor = start(job)
    wait_for(lambda: rows(folder) > 3)
    worker = worker_of(supervisor)
    supervisor.kill()
    supervisor.join()
    worker.wait(10)
    before = sorted(path.name for path in folder.checkpoints.folder.iterdir())
    time.sleep(0.5)
    assert sorted(path.name for path in folder.checkpoints.folder.iterdir()) == before
    assert folder.record().status == Status.RUNNING
    reconcile(folder, code=-9)
    assert folder.record().status == Status.FAILED


def test_a_worker_that_has_nothing_to_send_ends_with_its_supervisor_too(
    make_trial: MakeTrial, tmp_path: Path, start: Callable[[Job], BaseProcess]
) -> None:
    quiet = ("tracking.log_every_steps=10000000", "checkpoint.every_steps=10000000", "evaluation.val_evaluations=0")
    folder, job = freeze(make_trial("objective=causal", "budget.train_tokens=20000000", *quiet), tmp_path / "runs")
    supervisor = start(job)
    wait_for(lambda: folder.status == Status.RUNNING and folder.record().attempts[-1].activity == "training")
    worker = worker_of(supervisor)
    supervisor.kill()
    supervisor.join()
    _, alive = psutil.wait_procs([worker], 10)
    for process in alive:
        process.kill()
    assert not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_supervisor_saves_at_the_step_s_boundary_and_the_trial_is_pending(
    make_trial: MakeTrial, tmp_path: Path, start: Callable[[Job], BaseProcess], number: signal.Signals
) -> None:
    trial = make_trial(*LONG)
    folder, job = freeze(trial, tmp_path / "runs")
    supervisor = start(job)
    wait_for(lambda: rows(folder) > 3)
    assert supervisor.pid is not None
    os.kill(supervisor.pid, number)
    supervisor.join(60)
    record = folder.record()
    assert record.status == Status.PENDING
    assert record.failure is None
    assert record.attempts[-1].ended == "pending"
    newest = folder.checkpoints.newest_step
    assert newest is not None
    assert newest >= read_metrics(folder.metrics_path)[-1]["step"]


def test_rows_arrive_in_order_and_a_finished_trial_has_the_files_of_one(
    make_trial: MakeTrial, tmp_path: Path, start: Callable[[Job], BaseProcess]
) -> None:
    trial = make_trial(*SHORT)
    folder, job = freeze(trial, tmp_path / "runs")
    supervisor = start(job)
    supervisor.join(120)
    assert supervisor.exitcode == 0, folder.log_path.read_text()
    record = folder.record()
    assert record.status == Status.FINISHED
    assert record.result is not None
    steps = [row["step"] for row in read_metrics(folder.metrics_path)]
    assert steps == sorted(set(steps))
    assert steps[-1] == record.result.counters.steps
    assert not list(folder.path.glob("lease.*"))
    assert not folder.checkpoints.folder.exists()
    assert folder.model_path.exists()


def test_a_second_supervisor_of_a_running_trial_leaves_it_alone(
    make_trial: MakeTrial, tmp_path: Path, start: Callable[[Job], BaseProcess]
) -> None:
    folder, job = freeze(make_trial(*LONG), tmp_path / "runs")
    start(job)
    wait_for(lambda: folder.status == Status.RUNNING)
    second = start(job)
    second.join(60)
    assert second.exitcode == 0
    assert len(folder.record().attempts) == 1


def test_the_local_launcher_knows_its_jobs_and_cancels_them(make_trial: MakeTrial, tmp_path: Path) -> None:
    folder, job = freeze(make_trial(*LONG), tmp_path / "runs")
    launcher = LocalLauncher(parallel=1)
    reserved = launcher.handle_for(job)
    [handle] = launcher.submit([job])
    assert handle == reserved
    assert launcher.poll([handle])[handle].phase == Phase.RUNNING
    assert LocalLauncher.state_elsewhere(handle.job_id, job.runs_dir).phase == Phase.PENDING, "its command lives"
    wait_for(lambda: rows(folder) > 0)
    launcher.cancel([handle])
    wait_for(lambda: launcher.poll([handle], 0.2)[handle].is_over)
    assert launcher.poll([handle])[handle].code == 1
    assert folder.status == Status.PENDING


def test_the_recorder_answers_with_the_bytes_that_are_on_the_disk(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(*SHORT)
    folder, _ = freeze(trial, tmp_path / "runs")
    folder.begin_attempt()
    recorder = Recorder(folder, trial)
    recorder.handle(TrainingBegins(from_step=0, log_bytes=0))
    recorder.handle(LogRow(1, {"train/loss": 5.0}))
    size = recorder.handle(SyncLog())
    assert size == LogSynced(folder.metrics_path.stat().st_size)
    recorder.handle(LogRow(2, {"train/loss": 4.0}))
    recorder.handle(Activity("scoring"))
    assert [row["step"] for row in read_metrics(folder.metrics_path)] == [1, 2]
    recorder.close(Ended(Status.PENDING))
    # The next attempt resumes from the checkpoint that was taken after row 1.
    assert isinstance(size, LogSynced)
    resumed = Recorder(folder, trial)
    resumed.handle(TrainingBegins(from_step=1, log_bytes=size.log_bytes))
    assert [row["step"] for row in read_metrics(folder.metrics_path)] == [1]
    assert folder.record().attempts[-1].activity == "scoring"
    folder.update(result=TrainResult(Counts(steps=2), 1.0, 10, "data"))
    resumed.handle(SuiteScored("a suite", {"bpb_full": 3.0}))
    assert folder.record().evaluations == {"a suite": {"bpb_full": 3.0}}
    ended = Ended(Status.FINISHED)
    record_end(folder, trial, ended, Job(folder.trial_id, folder.path.parent), is_scoring=False)
    resumed.close(ended)
    assert folder.record().evaluations == {"a suite": {"bpb_full": 3.0}}


def test_scores_in_the_log_are_reported_although_an_attempt_ended_before_its_training(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[int] = []

    def should_prune(self: Candidate, step: int, metrics: Mapping[str, float]) -> bool:
        reported.append(step)
        return True

    monkeypatch.setattr(Candidate, "should_prune", should_prune)
    trial = make_trial(*SHORT, "evaluation.val_evaluations=2")
    folder, _ = freeze(trial, tmp_path / "runs")
    reference = CandidateRef("storage", "study", 0)
    recorder = Recorder(folder, trial, reference)
    folder.begin_attempt()
    recorder.handle(TrainingBegins(from_step=0, log_bytes=0))
    recorder.handle(LogRow(2, {"progress": 0.5, "val/bpb_full": 3.0}))
    synced = recorder.handle(SyncLog())
    assert isinstance(synced, LogSynced)
    recorder.close(Ended(Status.PENDING))
    # Ends while it prepares its data.
    folder.begin_attempt()
    folder.begin_attempt()
    recorder = Recorder(folder, trial, reference)
    assert recorder.handle(TrainingBegins(from_step=2, log_bytes=synced.log_bytes)) == Decision(True)
    recorder.close(Ended(Status.PENDING))
    assert reported == [1]
