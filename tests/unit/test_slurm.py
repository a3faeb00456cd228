"""Slurm: scripts, arrays, states of the queue, what becomes of trials, and what Slurm rejects; on a made-up Slurm."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ablate.config.parse import checked_parameters
from ablate.errors import FailureError, LedgerError, UsageError
from ablate.records.ledger import Ledger
from ablate.records.trial import Status, TrialRecord
from ablate.records.tuning import CandidateRef
from ablate.scheduling.batch import Batch
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.launchers import make_launcher
from ablate.scheduling.launchers.slurm.launcher import SlurmLauncher
from ablate.scheduling.launchers.slurm.options import SlurmOptions
from ablate.scheduling.launchers.slurm.queue import NoAnswerError, job_state
from ablate.scheduling.launchers.slurm.script import array_script
from ablate.scheduling.reconcile import as_reconciled, died_repeatedly, may_restart
from ablate.scheduling.scheduler import Scheduler
from ablate.verbs.cancel import cancel
from ablate.verbs.status import TrialStatus
from tests.support.slurm import OPTIONS, FakeSlurm, slurm_launcher, slurm_options
from tests.support.sources import Source


@pytest.fixture
def slurm() -> Iterator[FakeSlurm]:
    with FakeSlurm().installed() as fake:
        yield fake


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "runs")
    for trial in "abc":
        ledger.freeze(TrialRecord(trial), {})
    return ledger


def jobs_of(ledger: Ledger, count: int, devices: int = 1) -> list[Job]:
    return [Job(f"{number}", ledger.runs_dir, resources=Resources(devices=devices)) for number in range(count)]


def only_batch(ledger: Ledger) -> Batch:
    [folder] = (ledger.runs_dir / "jobs").iterdir()
    return Batch(folder)


# Scripts and arrays


def test_a_script_has_what_the_configuration_asks_for(tmp_path: Path) -> None:
    options = slurm_options(
        max_running=4,
        partition="gpu",
        account="me",
        qos="long",
        time="4:00:00",
        constraint="h100",
        mem="64G",
        modules=("cuda/13",),
        setup=("export NCCL_DEBUG=WARN",),
        flags=("--mail-type=END", "--exclusive"),
        srun_flags=("--mpi=none",),
        python="/env/bin/python",
    )
    script = array_script(options, Resources(2, 8, 6, has_gpus=True), Batch(tmp_path / "jobs" / "b"), [0, 1, 2, 7])
    for line in (
        "#SBATCH --array=0-2,7%4",
        "#SBATCH --partition=gpu",
        "#SBATCH --account=me",
        "#SBATCH --qos=long",
        "#SBATCH --time=4:00:00",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=8",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --gres=gpu:8",
        "#SBATCH --constraint=h100",
        "#SBATCH --mem=64G",
        "#SBATCH --signal=USR1@120",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --mail-type=END",
        "#SBATCH --exclusive",
        "module load cuda/13 || exit 1",
        "export NCCL_DEBUG=WARN",
    ):
        assert line in script.splitlines()
    [srun] = [line for line in script.splitlines() if line.startswith("srun ")]
    assert srun == (
        "srun --nodes=2 --ntasks-per-node=8 --cpus-per-task=6 --mpi=none /env/bin/python -m ablate.rank "
        '--batch "$folder" --number "$SLURM_ARRAY_TASK_ID"'
    )


def test_what_is_not_asked_for_is_left_to_the_cluster(tmp_path: Path) -> None:
    script = array_script(slurm_options(), Resources(), Batch(tmp_path / "a folder"), [0])
    for flag in ("partition", "account", "qos", "time", "gres", "mem", "constraint"):
        assert f"--{flag}" not in script
    assert f"folder='{tmp_path}/a folder'" in script
    assert f'#SBATCH --output="{tmp_path}/a folder/%a.log"' in script


def test_a_thousand_jobs_of_equal_resources_are_one_call(ledger: Ledger, slurm: FakeSlurm) -> None:
    jobs = [*jobs_of(ledger, 1000), *jobs_of(ledger, 5, devices=4)]
    handles = slurm_launcher().submit(jobs)
    assert len(set(handles)) == 1005
    assert len(slurm.called("sbatch")) == 2
    assert sorted(len(script.splitlines()) for script in slurm.script.values())[0] < 30
    assert sum("#SBATCH --array=0-999\n" in script for script in slurm.script.values()) == 1
    assert sum("--ntasks-per-node=4" in script for script in slurm.script.values()) == 1


def test_arrays_are_no_larger_than_slurm_allows_and_keep_to_one_limit(ledger: Ledger, slurm: FakeSlurm) -> None:
    slurm.array_size = 3
    slurm_launcher(max_running=2).submit(jobs_of(ledger, 7))
    calls = slurm.called("sbatch")
    assert [word for call in calls for word in call if "dependency" in word] == [
        "--dependency=afterany:1",
        "--dependency=afterany:2",
    ]
    assert [script.count("--array=0-2%2\n") for script in slurm.script.values()] == [1, 1, 0]


def test_a_job_finds_its_trial_and_candidate_in_the_ledger(ledger: Ledger, slurm: FakeSlurm) -> None:
    candidate = CandidateRef("storage", "study", 3)
    launcher = slurm_launcher()
    [handle] = launcher.submit([Job("a", ledger.runs_dir, candidate)])
    job = only_batch(ledger).job(0)
    assert (job.trial_id, job.runs_dir, job.candidate) == ("a", ledger.runs_dir, candidate)
    assert job.restarts_as is not None
    assert (job.restarts_as.launcher, job.restarts_as.job_id) == ("slurm", handle.job_id)
    with pytest.raises(LedgerError, match=r"has no job 1\. Do all nodes share the folder runs_dir\?"):
        only_batch(ledger).job(1)


# States


@pytest.mark.parametrize(
    ("state", "phase", "detail"),
    [
        ("PENDING", Phase.PENDING, "Priority"),
        ("REQUEUE_HOLD", Phase.PENDING, "Priority"),
        ("RUNNING", Phase.RUNNING, ""),
        ("COMPLETING", Phase.RUNNING, ""),
        ("SUSPENDED", Phase.RUNNING, ""),
        ("COMPLETED", Phase.ENDED, ""),
        ("FAILED", Phase.ENDED, "failed"),
        ("OUT_OF_MEMORY", Phase.ENDED, "out of memory"),
        ("CANCELLED", Phase.CANCELLED, "cancelled"),
        ("TIMEOUT", Phase.PREEMPTED, "timeout"),
        ("NODE_FAIL", Phase.PREEMPTED, "node fail"),
        ("PREEMPTED", Phase.PREEMPTED, "preempted"),
    ],
)
def test_states_of_squeue(state: str, phase: Phase, detail: str) -> None:
    told = job_state(state, "Priority", "7_3", "n1")
    assert (told.phase, told.detail, told.number) == (phase, detail, "7_3")
    assert (told.code != 0) == (state in ("FAILED", "OUT_OF_MEMORY"))


def test_slurm_is_asked_once_for_all_jobs_and_not_more_often_than_allowed(ledger: Ledger, slurm: FakeSlurm) -> None:
    launcher = slurm_launcher(poll_seconds=60.0)
    handles = [*launcher.submit(jobs_of(ledger, 300)), *launcher.submit(jobs_of(ledger, 300, devices=2))]
    states = launcher.poll(handles)
    before = len(slurm.called("squeue"))
    assert before <= 2
    assert {state.phase for state in states.values()} == {Phase.PENDING}
    launcher.poll(handles)
    assert len(slurm.called("squeue")) == before


def test_a_slurm_that_does_not_answer_ends_no_job(ledger: Ledger, slurm: FakeSlurm) -> None:
    launcher = slurm_launcher()
    [handle] = launcher.submit([Job("a", ledger.runs_dir)])
    slurm.set("RUNNING|None|n1")
    assert launcher.poll([handle])[handle].phase == Phase.RUNNING
    slurm.problems["squeue"] = NoAnswerError("Slurm does not answer: down")
    state = launcher.poll([handle], 0.01)[handle]
    assert (state.phase, state.detail) == (Phase.RUNNING, "Slurm does not answer: down")
    assert SlurmLauncher.state_elsewhere(handle.job_id, ledger.runs_dir).phase == Phase.PENDING


def test_a_job_that_slurm_has_forgotten_ended_as_its_script_wrote(ledger: Ledger, slurm: FakeSlurm) -> None:
    launcher = slurm_launcher()
    handles = launcher.submit(jobs_of(ledger, 5))
    batch = only_batch(ledger)
    for number, code in ((0, 0), (1, 1), (2, 137), (3, 138)):
        batch.log_path(number).touch()
        (batch.folder / f"{number}.exit").write_text(f"{code}\n")
    slurm.forget()
    states = list(launcher.poll(handles).values())
    assert [(state.phase, state.code) for state in states] == [
        (Phase.ENDED, 0),
        (Phase.ENDED, 1),
        (Phase.ENDED, -signal.SIGKILL),
        # USR1 ended a rank before it could save: the trial goes on.
        (Phase.PREEMPTED, -signal.SIGUSR1),
        # Not begun: somebody has removed it.
        (Phase.CANCELLED, 0),
    ]
    assert states[1].detail == f"exit code 1; log: {batch.log_path(1)}"


def test_a_job_whose_node_does_not_see_the_ledger_says_so(ledger: Ledger, slurm: FakeSlurm) -> None:
    launcher = slurm_launcher()
    [handle] = launcher.submit([Job("a", ledger.runs_dir)])
    slurm.set("FAILED|RaisedSignal:53(Real-time_signal_19)|n1")
    assert "Put runs_dir on a file system that all nodes share" in launcher.poll([handle])[handle].detail


# What becomes of trials


def run(ledger: Ledger, launcher: SlurmLauncher, trials: str = "a") -> tuple[Source, str]:
    printed = io.StringIO()
    source = Source(ledger, trials)
    Scheduler(launcher, Console(file=printed, width=300)).run(source)
    return source, printed.getvalue()


def acting(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, *acts: object) -> None:
    """Do the next act each time that squeue is asked while the newest job is not over."""
    todo = list(acts)
    squeue = slurm.squeue

    def squeue_after(*words: str) -> str:
        newest = slurm.jobs.get((next(reversed(slurm.numbers), ""), 0), "")
        if todo and newest.startswith(("PENDING", "RUNNING")):
            act = todo.pop(0)
            assert callable(act)
            act()
        return squeue(*words)

    monkeypatch.setattr(slurm, "squeue", squeue_after)


class Trial:
    """What the jobs of trial `a` do to its record."""

    def __init__(self, ledger: Ledger, slurm: FakeSlurm) -> None:
        self.folder = ledger.trial("a")
        self.slurm = slurm

    def begins(self) -> None:
        batches = sorted((self.folder.path.parent / "jobs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        batch = Batch(batches[-1])
        batch.log_path(0).touch()
        self.folder.begin_attempt(job=batch.job(0).restarts_as)
        self.folder.update_attempt(from_step=self.folder.checkpoints.newest_step or 0)
        self.slurm.set("RUNNING|None|n1")

    def saves(self, step: int) -> None:
        self.folder.checkpoints.write(step, lambda scratch: [], keep_last=1)

    def ends(self, status: Status, state: str) -> None:
        changes = {"status": status}
        if status == Status.SUBMITTED:
            self.folder.end_attempt(Status.PENDING, submission=self.folder.record().attempts[-1].submission, **changes)
        else:
            self.folder.end_attempt(status, **changes)
        self.slurm.set(f"{state}|None|n1")


@pytest.fixture
def trial(ledger: Ledger, slurm: FakeSlurm) -> Trial:
    return Trial(ledger, slurm)


def test_a_timed_out_trial_is_submitted_again_while_it_advances(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times_out() -> None:
        trial.begins()
        trial.saves((trial.folder.checkpoints.newest_step or 0) + 5)
        slurm.set("TIMEOUT|TimeLimit|n1")

    def finishes() -> None:
        trial.begins()
        trial.ends(Status.FINISHED, "COMPLETED")

    acting(slurm, monkeypatch, times_out, times_out, times_out, times_out, finishes)
    source, _ = run(ledger, slurm_launcher())
    assert len(slurm.called("sbatch")) == 5
    record = ledger.trial("a").record()
    assert record.status == Status.FINISHED
    assert [attempt.ended for attempt in record.attempts] == ["interrupted"] * 4 + ["finished"]
    assert source.tried == []


def test_a_trial_whose_time_limit_allows_no_step_is_given_up(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times_out() -> None:
        trial.begins()
        slurm.set("TIMEOUT|TimeLimit|n1")

    acting(slurm, monkeypatch, *[times_out] * 10)
    source, _ = run(ledger, slurm_launcher())
    assert len(slurm.called("sbatch")) == 4
    assert source.tried == ["a"]
    assert ledger.trial("a").status == Status.PENDING


def test_a_failed_trial_is_not_submitted_again(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        trial.begins()
        trial.ends(Status.FAILED, "FAILED")

    acting(slurm, monkeypatch, fails)
    source, _ = run(ledger, slurm_launcher())
    assert (len(slurm.called("sbatch")), source.tried) == (1, ["a"])


def test_a_job_that_fails_before_its_trial_begins_is_a_failure_with_its_log(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        batch = only_batch(ledger)
        batch.log_path(0).touch()
        (batch.folder / "0.exit").write_text("1\n")
        slurm.set("FAILED|NonZeroExitCode|n1")

    acting(slurm, monkeypatch, fails)
    source, _ = run(ledger, slurm_launcher())
    record = ledger.trial("a").record()
    assert (record.status, source.tried) == (Status.FAILED, ["a"])
    assert record.failure is not None
    assert "process ended before the trial began (exit code 1; log: " in record.failure.message


def test_killed_ranks_are_a_failure_with_the_signal(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_killed() -> None:
        trial.begins()
        (only_batch(ledger).folder / "0.exit").write_text("137\n")
        slurm.set("FAILED|NonZeroExitCode|n1")

    acting(slurm, monkeypatch, is_killed)
    run(ledger, slurm_launcher())
    failure = ledger.trial("a").record().failure
    assert failure is not None
    assert "killed by SIGKILL" in failure.message


def test_a_job_that_is_cancelled_by_hand_leaves_its_trial_pending(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    acting(slurm, monkeypatch, lambda: slurm.set("CANCELLED|None|"))
    source, _ = run(ledger, slurm_launcher())
    record = ledger.trial("a").record()
    assert (record.status, record.submission, source.tried) == (Status.PENDING, None, ["a"])
    assert len(slurm.called("sbatch")) == 1


@pytest.mark.parametrize("has_saved", [False, True])
def test_a_preempted_job_goes_on_by_itself_and_is_submitted_nowhere_else(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, has_saved: bool
) -> None:
    """Slurm has it again before the trial could record its end, or after it was stopped and has saved."""
    slurm_launcher().submit([Job("a", ledger.runs_dir)])
    trial.begins()
    if has_saved:
        trial.ends(Status.SUBMITTED, "PENDING")
    slurm.set("PENDING|BeginTime|")
    assert trial.folder.status == (Status.SUBMITTED if has_saved else Status.RUNNING)
    status = TrialStatus.of(trial.folder)
    assert (status.status, status.reason, status.job) == ("submitted", "BeginTime", "1_0")
    text = Scheduler(slurm_launcher(), Console(file=io.StringIO())).detach(Source(ledger, "a"))
    assert text.startswith("slurm has 0 jobs of this command")
    assert len(slurm.called("sbatch")) == 1
    # Without the job, it is a trial that died or waits to be resumed.
    slurm.forget()
    expected = Status.PENDING if has_saved else Status.FAILED
    assert as_reconciled(trial.folder, trial.folder.record()).status == expected


def test_a_detached_command_leaves_its_jobs_and_another_waits_for_them(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Scheduler(slurm_launcher(), Console(file=io.StringIO())).detach(Source(ledger, "a"))
    assert text.startswith("slurm has 1 job of this command: `python -m ablate status` shows them")
    assert ledger.trial("a").status == Status.SUBMITTED
    acting(slurm, monkeypatch, lambda: None, trial.begins, lambda: trial.ends(Status.FINISHED, "COMPLETED"))
    _, printed = run(ledger, slurm_launcher())
    assert len(slurm.called("sbatch")) == 1
    assert "Waiting for 1 trial that other processes run" in printed
    assert ledger.trial("a").status == Status.FINISHED


def test_jobs_that_a_living_command_is_about_to_submit_are_not_submitted_by_another(
    ledger: Ledger, slurm: FakeSlurm
) -> None:
    first = slurm_launcher()
    handle = first.handle_for(Job("a", ledger.runs_dir))
    state = SlurmLauncher.state_elsewhere(handle.job_id, ledger.runs_dir)
    assert (state.phase, state.detail) == (Phase.PENDING, "being submitted")
    first.submit([Job("a", ledger.runs_dir)])
    assert SlurmLauncher.state_elsewhere(handle.job_id, ledger.runs_dir).detail == "Priority"
    elsewhere = handle.job_id.replace("on fake", "on another")
    assert SlurmLauncher.state_elsewhere(elsewhere, ledger.runs_dir).phase == Phase.UNKNOWN


@pytest.mark.parametrize(("answer", "is_cancelled"), [("y", True), ("n", False), (None, False)])
def test_ctrl_c_asks_at_a_terminal_whether_to_cancel_and_leaves_the_jobs_otherwise(
    ledger: Ledger, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, answer: str | None, is_cancelled: bool
) -> None:
    acting(slurm, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr("builtins.input", lambda text: answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    printed = io.StringIO()
    console = Console(file=printed, width=300, force_terminal=answer is not None)
    with pytest.raises(KeyboardInterrupt):
        Scheduler(slurm_launcher(), console).run(Source(ledger, "ab"))
    assert bool(slurm.called("scancel")) == is_cancelled
    expected = Status.PENDING if is_cancelled else Status.SUBMITTED
    assert [ledger.trial(name).status for name in "ab"] == [expected, expected]
    assert ("jobs of this command: `python" in printed.getvalue()) != is_cancelled


def test_an_error_of_the_command_leaves_the_jobs(
    ledger: Ledger, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = slurm_launcher()

    def broken(*_: object) -> dict[Handle, JobState]:
        raise OSError("the network is gone")

    monkeypatch.setattr(launcher, "poll", broken)
    with pytest.raises(OSError, match="the network is gone"):
        run(ledger, launcher)
    assert not slurm.called("scancel")
    assert ledger.trial("a").status == Status.SUBMITTED


def test_cancel_removes_waiting_jobs_and_asks_running_ones_to_save(
    ledger: Ledger, slurm: FakeSlurm, trial: Trial
) -> None:
    Scheduler(slurm_launcher(), Console(file=io.StringIO())).detach(Source(ledger, "abc"))
    trial.begins()
    printed = io.StringIO()
    folders = [ledger.trial(name) for name in "abc"]
    assert cancel(folders, ledger, Console(file=printed, width=200), []) == 0
    assert [call[1:] for call in slurm.called("scancel")] == [["1_[1-2]"], ["--signal=USR1", "1_[0]"]]
    assert "3 jobs of slurm cancelled" in printed.getvalue()
    assert [folder.status for folder in folders[1:]] == [Status.PENDING] * 2
    assert all(only_batch(ledger).is_cancelled(number) for number in range(3))
    cancel(folders, ledger, Console(file=io.StringIO()), ["--now"])
    assert slurm.called("scancel")[-1][1:] == ["1_[0]"]


# Loops


def test_a_job_restarts_while_its_trial_advances(ledger: Ledger, trial: Trial, slurm: FakeSlurm) -> None:
    slurm_launcher().submit([Job("a", ledger.runs_dir)])
    allowed = []
    for step in (5, 5, 5, 9, 9):
        trial.begins()
        trial.saves(step)
        trial.ends(Status.SUBMITTED, "PENDING")
        allowed.append(may_restart(trial.folder))
    assert allowed == [True, True, False, True, True]


def test_a_trial_that_dies_at_one_step_in_one_job_does_not_restart_forever(
    ledger: Ledger, trial: Trial, slurm: FakeSlurm
) -> None:
    slurm_launcher().submit([Job("a", ledger.runs_dir)])
    submission = only_batch(ledger).job(0).restarts_as
    assert submission is not None
    died = []
    for step in (5, 5, 5, 5):
        trial.begins()
        died.append(died_repeatedly(trial.folder, submission))
        trial.saves(step)
    assert died == [False, False, False, True]


# What Slurm rejects


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (
            "Batch job submission failed: Job violates accounting/QOS policy (job submit limit)",
            "launcher.max_submitted=N",
        ),
        ("Batch job submission failed: Invalid account or account/partition", "Type another launcher."),
        ("Batch job submission failed: Requested node configuration is not available", "No node has what the trials"),
        ("Batch job submission failed: Requested time limit is invalid", "Type another launcher.time=…"),
        ("some plugin says no", "Slurm rejected 2 jobs: some plugin says no."),
    ],
)
def test_what_slurm_rejects_is_said_and_leaves_the_trials_pending(
    ledger: Ledger, slurm: FakeSlurm, problem: str, message: str
) -> None:
    slurm.problems["sbatch"] = FailureError(problem)
    with pytest.raises(FailureError) as caught:
        run(ledger, slurm_launcher(), "ab")
    assert message in str(caught.value)
    assert "Nothing was submitted. The script: " in str(caught.value)
    assert [ledger.trial(name).status for name in "ab"] == [Status.PENDING] * 2


def test_of_several_arrays_all_are_submitted_or_none(
    ledger: Ledger, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = slurm.sbatch

    def second_fails(*words: str) -> str:
        if slurm.numbers:
            raise FailureError("quota")
        return sbatch(*words)

    monkeypatch.setattr(slurm, "sbatch", second_fails)
    with pytest.raises(FailureError, match="quota"):
        slurm_launcher().submit([*jobs_of(ledger, 2), *jobs_of(ledger, 2, devices=2)])
    assert slurm.called("scancel") == [["scancel", "1"]]


def test_a_machine_without_slurm_and_an_unknown_partition_are_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, slurm: FakeSlurm
) -> None:
    with pytest.raises(UsageError, match=r"launcher.partition=hihg: no such partition. Did you mean high\?"):
        slurm_launcher(partition="hihg").check()
    slurm_launcher(partition="low,high").check()
    monkeypatch.setattr("ablate.scheduling.launchers.slurm.launcher.is_installed", lambda: False)
    with pytest.raises(UsageError, match=r"there is no sbatch on this machine\. Run the command on a login node"):
        slurm_launcher().check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "soon"}, "launcher.time=soon: should be minutes, hours:minutes:seconds or days-hours"),
        ({"time": 2}, "launcher.signal_seconds=120: should be from 0 up and below launcher.time=2."),
        ({"max_running": 0}, "launcher.max_running=0: should be greater than 0, or null."),
        ({"flags": ("exclusive",)}, "launcher.flags: exclusive: is no flag."),
        ({"flags": ("--array=1-3",)}, "launcher.flags: --array=1-3: set by ablate. Type launcher.max_running=…"),
        ({"flags": ("-N 3",)}, "launcher.flags: -N 3: set by ablate. Type hardware.nodes=…"),
        ({"flags": ("--partition=x",)}, "has a key of its own. Type launcher.partition=…"),
    ],
)
def test_wrong_options_are_told_before_slurm_is_asked(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        slurm_launcher(**options)
    assert message in str(caught.value)


def test_the_options_are_typed() -> None:
    assert checked_parameters(SlurmOptions, {**OPTIONS, "flags": ["--x"]}, "hydra.launcher")["flags"] == ("--x",)
    assert make_launcher("slurm", {**OPTIONS, "max_submitted": 7}).parallel == 7
    with pytest.raises(UsageError, match=r"hydra.launcher.max_running=\"two\": should be a whole number"):
        make_launcher("slurm", {**OPTIONS, "max_running": "two"})
