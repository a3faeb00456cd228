"""Steps of a preparation: each task once, whatever happens between; also as tasks of a cluster."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from ablate.config.trial import PreparationConfig
from ablate.data.corpus.preparation_step import Advance, Stage
from ablate.errors import FailureError, UsageError

LOCAL = PreparationConfig("local", 1, {})


def write_number(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Fails at the tasks that a file `broken.<number>` names, with half a result."""
    with (work / "done.txt").open("a") as file:
        file.write(f"{number}\n")
    (folder / "half").write_text("")
    if (work / f"broken.{number}").exists():
        raise FailureError(f"task {number}")
    (folder / "result").write_text(str(number))
    advance(10)


def stage(tasks: int = 4, size: int = 10) -> Stage:
    return Stage("numbers", "counting", write_number, [size] * tasks)


def done(work: Path) -> list[int]:
    return [int(line) for line in (work / "done.txt").read_text().split()]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_not_done_again(tmp_path: Path, workers: int) -> None:
    config = PreparationConfig("local", workers, {})
    # Large enough for processes of their own.
    size = 10 if workers == 1 else 10_000_000
    (tmp_path / "broken.2").write_text("")
    with pytest.raises(FailureError, match="task 2"):
        stage(size=size).run(tmp_path, config, Progress(disable=True))
    assert not (tmp_path / "numbers" / "00002").exists()
    assert not [path for path in (tmp_path / "numbers").iterdir() if path.name.startswith(".")]
    (tmp_path / "broken.2").unlink()
    before = {path.name for path in (tmp_path / "numbers").iterdir()}
    assert "00002" not in before
    assert workers == 2 or before == {"00000", "00001"}
    with Progress(disable=True) as progress:
        stage(size=size).run(tmp_path, config, progress)
        assert progress.tasks[0].completed == progress.tasks[0].total == 4 * size
    assert {0, 1, 2, 3} == set(done(tmp_path))
    assert all(done(tmp_path).count(int(name)) == 1 for name in before), "what was there was done again"
    for number in range(4):
        assert (tmp_path / "numbers" / f"{number:05d}" / "result").read_text() == str(number)


@pytest.fixture
def local_cluster(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """datatrove's executor of this machine in the place of Slurm's; gives what it was called with."""
    import datatrove.executor

    calls: list[dict[str, Any]] = []

    class Local(datatrove.executor.LocalPipelineExecutor):  # type: ignore[misc]
        def __init__(self, *, pipeline: list[Any], tasks: int, workers: int, logging_dir: str, **given: Any) -> None:
            unknown = given.keys() - {"venv_path", "job_name", "time", "partition", "cpus_per_task", "mem_per_cpu_gb"}
            if unknown:
                raise TypeError(f"unexpected argument {unknown.pop()}")
            calls.append({"tasks": tasks, "workers": workers, **given})
            super().__init__(pipeline, tasks=tasks, workers=1, logging_dir=logging_dir)

        def run(self) -> None:
            # A failed task of a job array fails no other, and not the one who submitted it.
            with suppress(RuntimeError):
                super().run()

    monkeypatch.setattr(datatrove.executor, "SlurmPipelineExecutor", Local)
    return calls


SLURM = PreparationConfig("slurm", 64, {"time": "01:00:00", "partition": "cpu"})


@pytest.mark.filterwarnings("ignore")
def test_tasks_run_on_a_cluster(tmp_path: Path, local_cluster: list[dict[str, Any]]) -> None:
    stage(2).run(tmp_path, LOCAL, Progress(disable=True))
    with Progress(disable=True) as progress:
        stage(4).run(tmp_path, SLURM, progress)
        assert progress.tasks[0].completed == 40
    assert done(tmp_path) == [0, 1, 2, 3]
    [call] = local_cluster
    assert (call["tasks"], call["workers"], call["time"], call["partition"]) == (2, 64, "01:00:00", "cpu")
    stage(4).run(tmp_path, SLURM, Progress(disable=True))
    assert len(local_cluster) == 1, "nothing is missing"


@pytest.mark.filterwarnings("ignore")
def test_a_task_that_fails_there_is_told_with_its_logs(tmp_path: Path, local_cluster: list[dict[str, Any]]) -> None:
    (tmp_path / "broken.1").write_text("")
    with pytest.raises(FailureError, match=r"counting: \d of 2 tasks failed\. Their logs: .*logs/numbers-\d+\."):
        stage(2).run(tmp_path, SLURM, Progress(disable=True))
    with pytest.raises(UsageError, match=r"preparation: unexpected argument nodes"):
        stage(2).run(tmp_path, PreparationConfig("slurm", 1, {"nodes": 3}), Progress(disable=True))


def test_without_datatrove_its_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datatrove.executor", None)
    with pytest.raises(FailureError, match=r"-e '.\[cluster\]"):
        stage(2).run(tmp_path, SLURM, Progress(disable=True))
