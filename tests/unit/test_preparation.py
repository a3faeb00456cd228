"""Preparation steps: each task is done once, whatever interrupts them; on this machine and on a cluster."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from ablate.config.data import PreparationConfig
from ablate.data.corpus.preparation import run_step
from ablate.data.corpus.preparation_step import Advance, PreparationStep
from ablate.errors import FailureError, UsageError

LOCAL = PreparationConfig("local", 1, {})


def write_number(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Fail with half a result if there is a file `broken.<number>`."""
    with (work / "done.txt").open("a") as file:
        file.write(f"{number}\n")
    (folder / "half").write_text("")
    if (work / f"broken.{number}").exists():
        raise FailureError(f"task {number}")
    (folder / "result").write_text(str(number))
    advance(10)


def step(tasks: int = 4, size: int = 10) -> PreparationStep:
    return PreparationStep("numbers", "counting", write_number, [size] * tasks)


def done(work: Path) -> list[int]:
    return [int(line) for line in (work / "done.txt").read_text().split()]


@pytest.mark.parametrize(
    # Two workers may have done task 3 by the time task 2 fails, and may not have done task 0 or task 1.
    ("workers", "least_done", "may_be_done"),
    [(1, 2, {"00000", "00001"}), (2, 1, {"00000", "00001", "00003"})],
)
def test_done_tasks_are_not_repeated(tmp_path: Path, workers: int, least_done: int, may_be_done: set[str]) -> None:
    config = PreparationConfig("local", workers, {})
    # Large enough for worker processes.
    size = 10 if workers == 1 else 10_000_000
    (tmp_path / "broken.2").write_text("")
    with pytest.raises(FailureError, match="task 2"):
        run_step(step(size=size), tmp_path, config, Progress(disable=True))
    assert not (tmp_path / "numbers" / "00002").exists()
    assert not [path for path in (tmp_path / "numbers").iterdir() if path.name.startswith(".")]
    (tmp_path / "broken.2").unlink()
    before = {path.name for path in (tmp_path / "numbers").iterdir()}
    assert before <= may_be_done
    assert len(before) >= least_done
    with Progress(disable=True) as progress:
        run_step(step(size=size), tmp_path, config, progress)
        assert progress.tasks[0].completed == progress.tasks[0].total == 4 * size
    assert {0, 1, 2, 3} == set(done(tmp_path))
    assert all(done(tmp_path).count(int(name)) == 1 for name in before), "a done task was repeated"
    for number in range(4):
        assert (tmp_path / "numbers" / f"{number:05d}" / "result").read_text() == str(number)


@pytest.fixture
def local_cluster(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the Slurm executor by datatrove's local one; return the arguments of each call."""
    import datatrove.executor

    calls: list[dict[str, Any]] = []

    class Local(datatrove.executor.LocalPipelineExecutor):  # type: ignore[misc]
        def __init__(self, *, pipeline: list[Any], tasks: int, workers: int, logging_dir: str, **options: Any) -> None:
            unknown = options.keys() - {"venv_path", "job_name", "time", "partition", "cpus_per_task", "mem_per_cpu_gb"}
            if unknown:
                raise TypeError(f"unexpected argument {unknown.pop()}")
            calls.append({"tasks": tasks, "workers": workers, **options})
            super().__init__(pipeline, tasks=tasks, workers=1, logging_dir=logging_dir)

        def run(self) -> None:
            # In a job array, a failed task fails neither the other tasks nor the submitting process.
            with suppress(RuntimeError):
                super().run()

    monkeypatch.setattr(datatrove.executor, "SlurmPipelineExecutor", Local)
    return calls


SLURM = PreparationConfig("slurm", 64, {"time": "01:00:00", "partition": "cpu"})


@pytest.mark.filterwarnings("ignore")
def test_tasks_run_on_a_cluster(tmp_path: Path, local_cluster: list[dict[str, Any]]) -> None:
    run_step(step(2), tmp_path, LOCAL, Progress(disable=True))
    with Progress(disable=True) as progress:
        run_step(step(4), tmp_path, SLURM, progress)
        assert progress.tasks[0].completed == 40
    assert done(tmp_path) == [0, 1, 2, 3]
    [call] = local_cluster
    assert (call["tasks"], call["workers"], call["time"], call["partition"]) == (2, 64, "01:00:00", "cpu")
    run_step(step(4), tmp_path, SLURM, Progress(disable=True))
    assert len(local_cluster) == 1, "nothing is missing"


@pytest.mark.filterwarnings("ignore")
def test_a_failed_cluster_task_is_reported_with_its_logs(tmp_path: Path, local_cluster: list[dict[str, Any]]) -> None:
    (tmp_path / "broken.1").write_text("")
    with pytest.raises(FailureError, match=r"counting: \d of 2 tasks failed\. Their logs: .*logs/numbers-\d+\."):
        run_step(step(2), tmp_path, SLURM, Progress(disable=True))
    with pytest.raises(UsageError, match=r"preparation: unexpected argument nodes"):
        run_step(step(2), tmp_path, PreparationConfig("slurm", 1, {"nodes": 3}), Progress(disable=True))


def test_a_missing_datatrove_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datatrove.executor", None)
    with pytest.raises(FailureError, match=r"-e '.\[cluster\]"):
        run_step(step(2), tmp_path, SLURM, Progress(disable=True))
