"""The scheduler on a made-up source and a made-up launcher: room, order, failures, preemption, interrupts."""

import contextlib
import io
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher as HydraPlugin
from omegaconf import OmegaConf
from rich.console import Console

from ablate.errors import LedgerError, UsageError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status, Submission, TrialRecord
from ablate.scheduling.hydra_task import run
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.launchers import LAUNCHERS, launcher_class, make_launcher
from ablate.scheduling.launchers.command import CommandHandles, state_elsewhere
from ablate.scheduling.launchers.hydra import HydraLauncher
from ablate.scheduling.processes import Interrupts
from ablate.scheduling.reconcile import as_reconciled, reconcile
from ablate.scheduling.scheduler import Scheduler
from ablate.scheduling.source import IsTaken
from ablate.scheduling.watch import Watch
from ablate.verbs.status import TrialStatus
from tests.support.sources import Source

ENDED = JobState(Phase.ENDED)
Act = Callable[[], JobState]


class FakeLauncher:
    """Jobs run for two polls and then do what the test says: by trial, one act per submission."""

    name = "fake"
    outlives_command = False

    def __init__(self, ledger: Ledger, acts: Mapping[str, list[Act]], parallel: int | None = 2) -> None:
        self.parallel = parallel
        self.takes_batches = parallel is None
        self.batches: list[list[str]] = []
        self.most_at_once = 0
        self.cancelled: list[str] = []
        self._ledger = ledger
        self._acts = {trial: list(of_trial) for trial, of_trial in acts.items()}
        self._running: dict[Handle, int] = {}
        self._trials: dict[Handle, str] = {}
        self._states: dict[Handle, JobState] = {}

    def check(self) -> None:
        pass

    def preview(self, jobs: Sequence[Job]) -> str:
        return ""

    def handle_for(self, job: Job) -> Handle:
        return Handle(self.name, f"{job.trial_id} {len(self._trials)}")

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        self.batches.append([job.trial_id for job in jobs])
        handles = []
        for job in jobs:
            record = self._ledger.trial(job.trial_id).record()
            assert record.status == Status.SUBMITTED, "recorded before the job can start"
            assert record.submission is not None
            handle = Handle(self.name, record.submission.job_id)
            self._trials[handle], self._running[handle] = job.trial_id, 2
            handles.append(handle)
        self.most_at_once = max(self.most_at_once, len(self._running))
        return handles

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        states = {}
        for handle in handles:
            if handle in self._running:
                self._running[handle] -= 1
                if not self._running[handle]:
                    del self._running[handle]
                    self._states[handle] = self._acts[self._trials[handle]].pop(0)()
            states[handle] = self._states.get(handle, JobState(Phase.RUNNING))
        return states

    def cancel(self, handles: Iterable[Handle]) -> None:
        for handle in handles:
            self.cancelled.append(self._trials[handle])
            self._running.pop(handle, None)
            self._states[handle] = JobState(Phase.ENDED, code=1)

    @staticmethod
    def state_elsewhere(job_id: str, runs_dir: Path) -> JobState:
        raise NotImplementedError("not in LAUNCHERS")

    @staticmethod
    def cancel_elsewhere(job_ids: Sequence[str], runs_dir: Path, *, at_once: bool) -> None:
        raise NotImplementedError("not in LAUNCHERS")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    for trial in "abcde":
        ledger.freeze(TrialRecord(trial), {})
    return ledger


@pytest.fixture
def finish(ledger: Ledger) -> Callable[[str], Act]:
    """A job that finishes its trial."""

    def finish(trial: str) -> Act:
        def act() -> JobState:
            ledger.trial(trial).begin_attempt()
            ledger.trial(trial).end_attempt(Status.FINISHED, status=Status.FINISHED)
            return ENDED

        return act

    return finish


def fails(ledger: Ledger, trial: str) -> Act:
    def act() -> JobState:
        ledger.trial(trial).begin_attempt()
        ledger.trial(trial).end_attempt(Status.FAILED, status=Status.FAILED)
        return JobState(Phase.ENDED, code=1)

    return act


def scheduler(launcher: FakeLauncher) -> tuple[Scheduler, io.StringIO]:
    printed = io.StringIO()
    return Scheduler(launcher, Console(file=printed, width=200)), printed


def test_jobs_start_in_order_as_soon_as_there_is_room(ledger: Ledger, finish: Callable[[str], Act]) -> None:
    launcher = FakeLauncher(ledger, {trial: [finish(trial)] for trial in "abcde"}, parallel=2)
    scheduler(launcher)[0].run(Source(ledger, "abcde"))
    assert launcher.batches == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert launcher.most_at_once == 2
    assert {ledger.trial(trial).status for trial in "abcde"} == {Status.FINISHED}
    assert all(ledger.trial(trial).record().submission is None for trial in "abcde")


def test_a_launcher_without_a_limit_gets_all_jobs_at_once_or_batches(
    ledger: Ledger, finish: Callable[[str], Act]
) -> None:
    launcher = FakeLauncher(ledger, {trial: [finish(trial)] for trial in "abcde"}, parallel=None)
    scheduler(launcher)[0].run(Source(ledger, "abc"))
    assert launcher.batches == [["a", "b", "c"]]
    scheduler(launcher)[0].run(Source(ledger, "de", batch=1))
    assert launcher.batches[1:] == [["d"], ["e"]]


def test_a_failed_job_stops_no_other_and_is_not_tried_again(ledger: Ledger, finish: Callable[[str], Act]) -> None:
    launcher = FakeLauncher(ledger, {"a": [fails(ledger, "a")], "b": [finish("b")]}, parallel=1)
    source = Source(ledger, "ab")
    scheduler(launcher)[0].run(source)
    assert launcher.batches == [["a"], ["b"]]
    assert source.tried == ["a"]
    assert (ledger.trial("a").status, ledger.trial("b").status) == (Status.FAILED, Status.FINISHED)


def test_a_job_that_dies_before_its_trial_begins_is_a_failure(ledger: Ledger) -> None:
    launcher = FakeLauncher(ledger, {"a": [lambda: JobState(Phase.ENDED, code=-9)]})
    scheduler(launcher)[0].run(Source(ledger, "a"))
    record = ledger.trial("a").record()
    assert record.status == Status.FAILED
    assert record.failure is not None
    assert record.failure.message == "process ended before the trial began (SIGKILL)"
    assert record.submission is None


def test_a_job_that_dies_in_its_trial_is_a_failure_with_the_signal(ledger: Ledger) -> None:
    def dies() -> JobState:
        ledger.trial("a").begin_attempt()
        return JobState(Phase.ENDED, code=-9)

    launcher = FakeLauncher(ledger, {"a": [dies]})
    scheduler(launcher)[0].run(Source(ledger, "a"))
    record = ledger.trial("a").record()
    assert record.failure is not None
    assert record.failure.message == "process exited without reporting an error (killed by SIGKILL, or out of memory?)"
    assert [attempt.ended for attempt in record.attempts] == ["died"]


def test_a_preempted_job_is_submitted_again(ledger: Ledger, finish: Callable[[str], Act]) -> None:
    def preempted() -> JobState:
        ledger.trial("a").begin_attempt()
        return JobState(Phase.PREEMPTED)

    before_it_began: Act = lambda: JobState(Phase.PREEMPTED)  # noqa: E731
    launcher = FakeLauncher(ledger, {"a": [before_it_began, preempted, finish("a")]})
    source = Source(ledger, "a")
    scheduler(launcher)[0].run(source)
    assert launcher.batches == [["a"], ["a"], ["a"]]
    assert source.tried == []
    assert [attempt.ended for attempt in ledger.trial("a").record().attempts] == ["interrupted", "finished"]


def stopped(ledger: Ledger, at_step: int) -> Act:
    """A job that a signal stops: it saves at a step, ends with exit code 1, and its trial is pending."""

    def act() -> JobState:
        folder = ledger.trial("a")
        folder.begin_attempt()
        folder.update_attempt(from_step=folder.checkpoints.newest_step or 0)
        folder.checkpoints.write(at_step, lambda scratch: [], keep_last=1)
        folder.end_attempt(Status.PENDING, status=Status.PENDING)
        return JobState(Phase.ENDED, code=1)

    return act


def test_a_job_that_a_signal_stops_is_preempted_and_not_failed(ledger: Ledger, finish: Callable[[str], Act]) -> None:
    launcher = FakeLauncher(ledger, {"a": [*(stopped(ledger, step) for step in (5, 8, 9)), finish("a")]})
    source = Source(ledger, "a")
    scheduler(launcher)[0].run(source)
    assert launcher.batches == [["a"]] * 4
    assert source.tried == []
    assert ledger.trial("a").status == Status.FINISHED


def test_a_job_that_is_stopped_before_it_advances_is_submitted_once_more(ledger: Ledger) -> None:
    launcher = FakeLauncher(ledger, {"a": [stopped(ledger, 5), *[stopped(ledger, 5)] * 3]})
    source = Source(ledger, "a")
    scheduler(launcher)[0].run(source)
    assert launcher.batches == [["a"]] * 3, "one attempt advanced, one did not, and one more"
    assert source.tried == ["a"]


def test_a_job_that_its_launcher_loses_is_submitted_once_more(ledger: Ledger) -> None:
    lost: Act = lambda: JobState(Phase.UNKNOWN)  # noqa: E731
    launcher = FakeLauncher(ledger, {"a": [lost, lost, lost]})
    scheduler(launcher)[0].run(Source(ledger, "a"))
    assert launcher.batches == [["a"], ["a"]]
    assert ledger.trial("a").status == Status.PENDING


def submitted(ledger: Ledger, trial: str, handle: Handle, at: float) -> None:
    submission = Submission(handle.launcher, handle.job_id, at)
    ledger.trial(trial).update(status=Status.SUBMITTED, submission=submission)


def test_what_another_command_has_submitted_is_waited_for_and_not_submitted_twice(
    ledger: Ledger, finish: Callable[[str], Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CommandHandles("local").reserve(Job("a", ledger.runs_dir))
    submitted(ledger, "a", other, at=0.0)
    launcher = FakeLauncher(ledger, {"b": [finish("b")]})
    polls = []

    def poll(handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        handles = list(handles)
        polls.append(handles)
        if len(polls) == 5:
            # The other command's job runs and finishes.
            finish("a")()
        return FakeLauncher.poll(launcher, handles, wait_seconds)

    monkeypatch.setattr(launcher, "poll", poll)
    runner, printed = scheduler(launcher)
    runner.run(Source(ledger, "ab"))
    assert launcher.batches == [["b"]]
    assert "Waiting for 1 trial that other processes run" in printed.getvalue()


def test_a_trial_that_another_command_submits_at_the_same_moment_is_not_submitted_twice(
    ledger: Ledger, finish: Callable[[str], Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = CommandHandles("local").reserve(Job("a", ledger.runs_dir))
    launcher = FakeLauncher(ledger, {"a": [finish("a")], "b": [finish("b")]})
    source = Source(ledger, "ab")
    next_job = source.next_job

    def next_job_late(is_taken: IsTaken) -> Job | None:
        job = next_job(is_taken)
        if job is not None and job.trial_id == "a" and ledger.trial("a").status == Status.PENDING:
            # Between our choice of the trial and our record of it.
            submitted(ledger, "a", theirs, at=0.0)
        return job

    def poll(handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        handles = list(handles)
        if handles:
            # Their job runs and finishes.
            finish("a")()
        return FakeLauncher.poll(launcher, handles, wait_seconds)

    monkeypatch.setattr(source, "next_job", next_job_late)
    monkeypatch.setattr(launcher, "poll", poll)
    scheduler(launcher)[0].run(source)
    assert launcher.batches == [["b"]]


def test_what_nobody_runs_and_no_launcher_knows_is_submitted_again(
    ledger: Ledger, finish: Callable[[str], Act]
) -> None:
    submitted(ledger, "a", Handle("fake", "gone"), at=0.0)
    launcher = FakeLauncher(ledger, {"a": [finish("a")]})
    scheduler(launcher)[0].run(Source(ledger, "a"))
    assert launcher.batches == [["a"]]


def of_dead_command(ledger: Ledger, trial: str) -> Handle:
    """The handle of a job whose command was killed."""
    job_id = CommandHandles("local").reserve(Job(trial, ledger.runs_dir)).job_id
    return Handle("local", job_id.replace(f" {os.getpid()} ", f" {2**22 + 1} "))


def test_a_job_of_a_dead_command_has_ended(ledger: Ledger) -> None:
    living = CommandHandles("local").reserve(Job("a", Path())).job_id
    assert state_elsewhere(living).phase == Phase.PENDING
    assert state_elsewhere(of_dead_command(ledger, "a").job_id).phase == Phase.ENDED
    elsewhere = living.partition(" on ")[0] + " on another host"
    assert state_elsewhere(elsewhere).phase == Phase.UNKNOWN


@pytest.mark.parametrize(("is_scoring", "status"), [(False, Status.PENDING), (True, Status.FINISHED)])
def test_a_trial_submitted_by_a_dead_command_is_shown_and_recorded_as_what_it_is(
    ledger: Ledger, is_scoring: bool, status: Status
) -> None:
    folder = ledger.trial("a")
    submitted(ledger, "a", of_dead_command(ledger, "a"), at=0.0)
    folder.update(is_scoring=is_scoring)
    assert as_reconciled(folder, folder.record()).status == status
    assert TrialStatus.of(folder).status == status
    assert folder.status == Status.SUBMITTED, "readers write nothing"
    reconcile(folder)
    assert (folder.status, folder.record().submission) == (status, None)


def test_a_trial_stays_submitted_while_its_command_lives_or_is_out_of_sight(ledger: Ledger) -> None:
    living = CommandHandles("local").reserve(Job("a", ledger.runs_dir))
    elsewhere = Handle("local", living.job_id.partition(" on ")[0] + " on another host")
    for handle in (living, elsewhere, Handle("of a package", "17")):
        submitted(ledger, "a", handle, at=0.0)
        reconcile(ledger.trial("a"))
        assert TrialStatus.of(ledger.trial("a")).status == Status.SUBMITTED


def test_the_table_of_launchers_makes_them_from_their_parameters() -> None:
    for name in LAUNCHERS:
        assert launcher_class(name).name == name
    assert make_launcher("local", {"parallel": 3}).parallel == 3
    with pytest.raises(UsageError, match=r"launcher=locale: no such launcher. Did you mean local\?"):
        make_launcher("locale", {})
    with pytest.raises(UsageError, match=r"hydra.launcher.paralel: unknown key"):
        make_launcher("local", {"parallel": 3, "paralel": 4})


def test_an_interrupt_cancels_the_jobs_and_leaves_their_trials_pending(ledger: Ledger) -> None:
    still_running = JobState(Phase.RUNNING)

    def begin() -> JobState:
        ledger.trial("a").begin_attempt()
        return still_running

    def interrupt() -> JobState:
        os.kill(os.getpid(), signal.SIGTERM)
        return still_running

    launcher = FakeLauncher(ledger, {"a": [begin], "b": [interrupt]}, parallel=2)
    runner, printed = scheduler(launcher)
    with pytest.raises(KeyboardInterrupt):
        runner.run(Source(ledger, "abc"))
    assert sorted(launcher.cancelled) == ["a", "b"]
    assert [ledger.trial(trial).status for trial in "abc"] == [Status.PENDING] * 3
    assert ledger.trial("a").record().attempts[-1].ended == "interrupted"
    assert "Running trials save at their next step" in printed.getvalue()
    assert "Interrupted. 0 of 3 trials are finished. The same command continues with them." in printed.getvalue()


def test_jobs_that_do_not_stop_in_time_are_cancelled_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> JobState:
        os.kill(os.getpid(), signal.SIGTERM)
        return JobState(Phase.RUNNING)

    monkeypatch.setattr("ablate.scheduling.scheduler.PATIENCE_SECONDS", 0.0)
    launcher = FakeLauncher(ledger, {"a": [interrupt]})
    with pytest.raises(KeyboardInterrupt):
        scheduler(launcher)[0].run(Source(ledger, "a"))
    assert launcher.cancelled == ["a", "a"]
    assert ledger.trial("a").status == Status.PENDING


def test_a_signal_to_a_launcher_that_runs_jobs_in_the_command_s_process_ends_the_whole_batch(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Hydra's basic launcher does, which goes on after an exception of a job."""
    supervised = []

    def supervise(job: Job) -> bool:
        supervised.append(job.trial_id)
        return False

    class Basic:
        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
            for _ in job_overrides:
                with contextlib.suppress(Exception):
                    run(OmegaConf.create({"trial_id": "a", "runs_dir": str(ledger.runs_dir), "candidate": None}))
            return []

    monkeypatch.setattr("ablate.scheduling.supervisor.supervise", supervise)
    launcher = HydraLauncher(cast("HydraPlugin", Basic()))
    with pytest.raises(KeyboardInterrupt):
        launcher.submit([Job("a", ledger.runs_dir), Job("b", ledger.runs_dir)])
    assert supervised == ["a"]
    with pytest.raises(RuntimeError, match="the trial a did not finish"):
        run(OmegaConf.create({"trial_id": "a", "runs_dir": str(ledger.runs_dir), "candidate": None}))


def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().counted():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_ends_the_jobs_before_it_is_raised(ledger: Ledger, finish: Callable[[str], Act]) -> None:
    class Failing(Source):
        def next_job(self, is_taken: IsTaken) -> Job | None:
            if self.submitted:
                raise LedgerError("the disk is full")
            return super().next_job(is_taken)

    launcher = FakeLauncher(ledger, {"a": [finish("a")]})
    with pytest.raises(LedgerError, match="the disk is full"):
        Scheduler(launcher, Console(file=io.StringIO())).run(Failing(ledger, ["a", "b"]))
    assert launcher.cancelled == ["a"]
    assert ledger.trial("a").status == Status.PENDING


def test_a_job_that_cannot_be_submitted_leaves_its_trial_pending(ledger: Ledger, finish: Callable[[str], Act]) -> None:
    class Failing(FakeLauncher):
        def submit(self, jobs: Sequence[Job]) -> list[Handle]:
            if self.batches:
                raise OSError("no more processes")
            return super().submit(jobs)

    launcher = Failing(ledger, {"a": [finish("a")]})
    with pytest.raises(OSError, match="no more processes"):
        Scheduler(launcher, Console(file=io.StringIO())).run(Source(ledger, ["a", "b"]))
    assert launcher.cancelled == ["a"]
    assert [ledger.trial(trial).status for trial in "ab"] == [Status.PENDING, Status.PENDING]


def test_the_display_reads_a_record_only_after_it_changed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for trial in "ab":
        ledger.trial(trial).update(status=Status.PENDING)
    out = io.StringIO()
    watch = Watch(Source(ledger, ["a", "b", "c"]), Console(file=out))
    read = TrialFolder.record
    reads: list[str] = []

    def recorded(folder: TrialFolder) -> TrialRecord:
        reads.append(folder.trial_id)
        return read(folder)

    monkeypatch.setattr(TrialFolder, "record", recorded)
    for _ in range(3):
        watch.look()
    assert sorted(trial for trial in reads if trial != "c") == ["a", "b"]
    ledger.trial("a").write(TrialRecord("a", status=Status.FINISHED))
    reads.clear()
    watch.look()
    assert "b" not in reads
    assert "finished" in out.getvalue()


def test_an_interrupt_while_a_batch_is_collected_leaves_its_trials_pending(ledger: Ledger) -> None:
    class Interrupted(Source):
        def next_job(self, is_taken: IsTaken) -> Job | None:
            if self.submitted:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().next_job(is_taken)

    launcher = FakeLauncher(ledger, {}, parallel=None)
    with pytest.raises(KeyboardInterrupt):
        Scheduler(launcher, Console(file=io.StringIO())).run(Interrupted(ledger, ["a", "b", "c"]))
    assert not launcher.batches
    assert [ledger.trial(trial).status for trial in "abc"] == [Status.PENDING] * 3
