"""What W&B holds is what the ledger holds: read from its offline files, or from a project."""

import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
import wandb

from ablate.errors import LedgerError
from ablate.records.ledger import Ledger
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.logs import Logs
from ablate.records.metrics import MetricsWriter
from ablate.records.schema import to_json
from ablate.records.trial import Counts, SourceReading, Status, TrainResult
from ablate.records.wandb import logs as wandb_logs
from ablate.records.wandb.logs import OfflineWandbLogs, ProjectLogs
from ablate.records.wandb.run_files import read_run
from ablate.records.wandb.writer import RunDescription, WandbWriter

TRIALS = ("a" * 12, "b" * 12)
RESULT = TrainResult(Counts(3, 2**53 + 1, flops=1e9, windows="w3"), 1.5, 10, "data", {"code": SourceReading(1.0, 0.25)})
SEMANTIC = {"budget": {"train_tokens": 300.0}, "objective": [["causal", 1.0, None]], "init_seed": 3}
SCORES = {"bpb_full": 2.125, "bpb_full/code": 2.0}


def rows(trial: str, first: int = 1) -> list[dict[str, Any]]:
    offset = 0.5 if trial == TRIALS[0] else 0.25
    return [
        {
            "step": step,
            "data/train_tokens": 100 * step,
            "data/windows": f"w{step}",
            "train/loss": 4.0 / step + offset,
            **({"val/bpb_full": 3.0} if step == 2 else {}),
        }
        for step in range(first, 4)
    ]


def mirrored(folder: Path, trial: str, logged: list[dict[str, Any]], *, is_whole: bool = True) -> None:
    about = {
        "options": {"objective": trial[0], "seed": "0"},
        "choices": {"objective": "causal"},
        "first_grid": "g",
        "semantic": json.dumps(SEMANTIC),
    }
    mirror = WandbWriter(
        mode="offline",
        project="test",
        folder=folder,
        trial_id=trial,
        description=RunDescription("causal, seed 0", "g", ("objective=causal",), {"init_seed": 3, "ablate": about}),
    )
    for row in logged:
        mirror.append(row["step"], {name: value for name, value in row.items() if name != "step"})
    if is_whole:
        mirror.append(3, {f"test/{name}": value for name, value in SCORES.items()})
        found = {"status": "finished", "evaluations": {"eval": SCORES}, **to_json(RESULT)}
        mirror.conclude({f"ablate/{name}": value for name, value in found.items()})
    mirror.close()


def exact(value: Any) -> str:
    """As JSON, in which 3 is not 3.0, and order is nothing."""
    return json.dumps(value, sort_keys=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two trials, logged to both; the second went on from its second step."""
    runs_dir = tmp_path_factory.mktemp("runs dir")
    ledger = Ledger(runs_dir)
    ledger.grid_path("g").parent.mkdir()
    for trial in TRIALS:
        folder = ledger.trial(trial)
        folder.path.mkdir()
        writer = MetricsWriter(folder.metrics_path)
        for row in rows(trial):
            writer.append(row["step"], {name: value for name, value in row.items() if name != "step"})
        writer.close()
        folder.update(status=Status.FINISHED, evaluations={"eval": SCORES}, result=RESULT)
    mirrored(runs_dir / TRIALS[0], TRIALS[0], rows(TRIALS[0]))
    # What the first attempt logged after its checkpoint is logged again, otherwise in this test.
    killed = [*rows(TRIALS[1])[:2], {"step": 3, "train/loss": 99.0}]
    mirrored(runs_dir / TRIALS[1], TRIALS[1], killed, is_whole=False)
    time.sleep(1.1)  # W&B names folders by the second.
    mirrored(runs_dir / TRIALS[1], TRIALS[1], rows(TRIALS[1], first=3))
    return runs_dir


def both(runs: Path) -> tuple[LedgerLogs, OfflineWandbLogs]:
    declared = LedgerLogs(Ledger(runs))
    return declared, OfflineWandbLogs(runs, declared)


@pytest.mark.parametrize("columns", [None, ["train/loss", "val/bpb_full", "not/there"]])
def test_offline_files_and_ledger_give_one_table(runs: Path, columns: list[str] | None) -> None:
    ledger, offline = both(runs)
    expected = ledger.history(TRIALS, ["eval"], columns)
    pd.testing.assert_frame_equal(offline.history(TRIALS, ["eval"], columns), expected)
    assert len(expected) == 6
    if columns is None:
        assert expected["test/bpb_full"].dropna().tolist() == [2.125, 2.125]
        assert expected["train/loss"].max() < 5, "the killed attempt's last row is gone"
        pd.testing.assert_frame_equal(offline.history(TRIALS[::-1], ["eval"]), ledger.history(TRIALS[::-1], ["eval"]))


def test_scores_of_another_evaluation_do_not_count(runs: Path) -> None:
    ledger, offline = both(runs)
    for logs in (ledger, offline):
        assert not [name for name in logs.history(TRIALS, ["other"]) if str(name).startswith("test/")]


def test_a_record_is_the_ledger_s(runs: Path) -> None:
    ledger, offline = both(runs)
    for trial in TRIALS:
        expected, found = ledger.record(trial), offline.record(trial)
        for key in ("trial_id", "status", "evaluations", "result"):
            assert exact(to_json(getattr(found, key))) == exact(to_json(getattr(expected, key))), key
        assert exact(found.semantic) == exact(SEMANTIC)
        assert found.options["objective"] == trial[0]
    assert offline.record("c" * 12).status == "pending"


class Attempts:
    """One trial's attempts, each a run of W&B's of its own, and what they come to when read together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, rows: dict[int, dict[str, float]], about: dict[str, Any] | None) -> None:
        mirror = WandbWriter(
            mode="offline",
            project="test",
            folder=self.folder,
            trial_id=TRIALS[0],
            description=RunDescription("a run", None, (), {}),
        )
        for step, values in rows.items():
            mirror.append(step, values)
        if about is not None:
            mirror.conclude({f"ablate/{name}": value for name, value in about.items()})
        mirror.close()
        time.sleep(1.1)  # W&B names folders by the second.

    def read(self, declared: Logs) -> OfflineWandbLogs:
        return OfflineWandbLogs(self.folder, declared)

    def status(self, declared: Logs) -> str:
        return str(self.read(declared).record(TRIALS[0]).status)


def test_a_status_is_that_of_the_newest_attempt(runs: Path, tmp_path: Path) -> None:
    declared, attempts = both(runs)[0], Attempts(tmp_path)
    attempts.add({}, None)
    assert attempts.status(declared) == "running", "begun, and nothing logged yet"
    attempts.add({1: {"train/loss": 3.0}}, {"status": "pending"})
    assert attempts.status(declared) == "pending", "preempted"
    attempts.add({2: {"train/loss": 2.0}}, None)
    assert attempts.status(declared) == "running", "taken up again"


def test_a_trial_that_is_scored_again_keeps_what_it_has(runs: Path, tmp_path: Path) -> None:
    declared, attempts = both(runs)[0], Attempts(tmp_path)
    attempts.add(
        {1: {"train/loss": 3.0}, 2: {"train/loss": 2.0, "test/x": 0.5, "test/y": 0.25}},
        {"status": "finished", "evaluations": {"one": {"x": 0.5, "y": 0.25}}, **to_json(RESULT)},
    )
    attempts.add({2: {"test/x": 0.7}}, {"status": "finished", "evaluations": {"two": {"x": 0.7}}, **to_json(RESULT)})
    # The scoring that fails last takes nothing away: the trial stays finished, as in the ledger.
    attempts.add({}, {"status": "failed"})
    logs = attempts.read(declared)
    record = logs.record(TRIALS[0])
    assert record.evaluations == {"one": {"x": 0.5, "y": 0.25}, "two": {"x": 0.7}}
    assert record.status == "finished"
    for suite, scores in record.evaluations.items():
        table = logs.history([TRIALS[0]], [suite])
        assert table["train/loss"].tolist() == [3.0, 2.0]
        assert table.filter(like="test/").iloc[-1].to_dict() == {f"test/{name}": x for name, x in scores.items()}


def test_scores_of_an_unknown_evaluation_are_told(runs: Path, tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    attempts.add({1: {"train/loss": 3.0, "test/x": 0.5}}, None)
    logs = attempts.read(both(runs)[0])
    assert logs.record(TRIALS[0]).evaluations == {}
    [problem] = logs.problems
    assert TRIALS[0] in problem
    assert "ablate/evaluations" in problem


def test_attempts_are_in_the_order_of_their_time(runs: Path, tmp_path: Path) -> None:
    [whole] = (runs / TRIALS[0]).glob("wandb/offline-run-*/*.wandb")
    killed, later = sorted((runs / TRIALS[1]).glob("wandb/offline-run-*/*.wandb"))
    # An online attempt's folder, which comes after an offline one's by its name.
    for file, name in ((killed, "run-20260101_000000-x"), (later, "offline-run-20260102_000000-x")):
        (tmp_path / name).mkdir()
        shutil.copy(file, tmp_path / name / f"run-{TRIALS[1]}.wandb")
    table = OfflineWandbLogs(tmp_path, both(runs)[0]).history([TRIALS[1]], ["eval"])
    assert table["train/loss"].max() < 5, "the earlier attempt's last row is gone"
    assert whole.exists()


@pytest.fixture(scope="module")
def many(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many files as several processes read."""
    [file] = (runs / TRIALS[0]).glob("wandb/offline-run-*/*.wandb")
    folder = tmp_path_factory.mktemp("many")
    for number in range(wandb_logs.MANY_FILES):
        place = folder / "runs" / f"offline-run-{number}" / f"run-{number:012}.wandb"
        place.parent.mkdir(parents=True)
        shutil.copy(file, place)
    body = (
        "print('begun')\nfrom pathlib import Path\nfrom ablate.records.wandb import logs as wandb_logs\n"
        f"found = wandb_logs._read_all(sorted(Path({str(folder)!r}).glob('runs/*/*.wandb')))\n"
        "print(sum(len(attempt.rows) for attempt in found))\n"
    )
    (folder / "script.py").write_text(body)
    (folder / "guarded.py").write_text("if __name__ == '__main__':\n" + textwrap.indent(body, "    "))
    return folder


@pytest.mark.parametrize("words", [["script.py"], ["-m", "guarded"]])
def test_many_files_are_read_from_a_script_and_a_module(many: Path, words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], cwd=many, capture_output=True, text=True)
    assert done.stdout.split() == ["begun", str(3 * wandb_logs.MANY_FILES)], done.stderr


def test_a_worker_that_dies_costs_nothing(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying:
        def __init__(self, *_: Any) -> None:
            raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(wandb_logs, "ProcessPoolExecutor", Dying)
    monkeypatch.setattr(wandb_logs, "_can_have_workers", lambda: True)
    found = wandb_logs._read_all(sorted(many.glob("runs/*/*.wandb")))
    assert sum(len(attempt.rows) for attempt in found) == 3 * wandb_logs.MANY_FILES


def test_trials_of_one_grid_are_read_together(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Declared:
        def grids(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(trial_ids=list(TRIALS)), SimpleNamespace(trial_ids=["c" * 12])]

    asked: list[Sequence[Path]] = []
    read_all = wandb_logs._read_all

    def counting(paths: Sequence[Path]) -> Any:
        asked.append(paths)
        return read_all(paths)

    monkeypatch.setattr(wandb_logs, "_read_all", counting)
    logs = OfflineWandbLogs(runs, cast("Logs", Declared()))
    for trial in TRIALS:
        assert logs.record(trial).status == "finished"
    assert [len(paths) for paths in asked] == [3], "three files of two trials, at once"


def test_the_reader_gives_what_the_command_gives(runs: Path) -> None:
    [path] = (runs / TRIALS[0]).glob("wandb/offline-run-*/*.wandb")
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    found = read_run(path)
    assert found.problem is None
    assert found.rows == [line["history"]["item"] for line in said if line["type"] == "history"]
    [run] = [line["run"]["config"]["update"] for line in said if line["type"] == "run"]
    assert found.config == run
    summary: dict[str, Any] = {}
    for line in said:
        if line["type"] == "summary":
            summary |= line["summary"]["update"]
    assert found.summary() == summary
    assert found.summary("ablate/") == {name: value for name, value in summary.items() if name.startswith("ablate/")}


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.97])
def test_a_cut_file_gives_what_stands_before_the_cut(runs: Path, tmp_path: Path, keep: float) -> None:
    [path] = (runs / TRIALS[0]).glob("wandb/offline-run-*/*.wandb")
    content = path.read_bytes()
    place = tmp_path / "offline-run-1-x" / f"run-{TRIALS[0]}.wandb"
    place.parent.mkdir()
    place.write_bytes(content[: int(len(content) * keep)])
    logs = OfflineWandbLogs(tmp_path, both(runs)[0])
    rows_before = len(logs.history([TRIALS[0]], ["eval"]))
    assert rows_before <= 3
    [problem] = logs.problems
    assert str(place) in problem
    assert f"{rows_before} " in problem
    assert "metrics.jsonl" in problem, "where the rest is"
    assert logs.record(TRIALS[0]).status in ("pending", "running", "finished")


def test_a_flipped_bit_and_a_foreign_file_are_told(runs: Path, tmp_path: Path) -> None:
    [path] = (runs / TRIALS[0]).glob("wandb/offline-run-*/*.wandb")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.wandb").write_bytes(content)
    assert "damaged after" in str(read_run(tmp_path / "flipped.wandb").problem)
    (tmp_path / "foreign.wandb").write_text("hello")
    assert "is not a W&B file" in str(read_run(tmp_path / "foreign.wandb").problem)
    (tmp_path / "empty.wandb").write_text("")
    assert "is empty" in str(read_run(tmp_path / "empty.wandb").problem)
    (tmp_path / "newer.wandb").write_bytes(path.read_bytes()[:6] + b"\x01")
    assert "wandb leet inspect" in str(read_run(tmp_path / "newer.wandb").problem)


def test_no_files_at_all_are_told(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="contains no offline run of W&B"):
        OfflineWandbLogs(tmp_path, both(runs)[0]).history(TRIALS, ["eval"])


class FakeRun:
    """Of W&B's run, what is asked of it; JSON there has one kind of number, so that 1.0 comes back as 1."""

    def __init__(self, path: Path, state: str) -> None:
        found = read_run(path)
        self.state = state
        self.config = whole(found.config)
        self.summary_metrics = whole(found.summary())
        self._rows = [whole(row) for row in found.rows]

    def scan_history(self) -> list[dict[str, Any]]:
        return self._rows


def whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: whole(inner) for name, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


class FakeApi:
    """Answers as W&B does, from the newest offline file of a run."""

    def __init__(self, runs: Path, state: str = "finished") -> None:
        self.runs, self.state = runs, state
        self.asked: list[str] = []

    def run(self, path: str) -> FakeRun:
        self.asked.append(path)
        files = sorted((self.runs / path.rpartition("/")[2]).glob("wandb/offline-run-*/*.wandb"))
        if not files:
            raise ValueError(f"Could not find run <Run {path} (not found)>")
        return FakeRun(files[-1], self.state)


def test_a_project_gives_the_same_table_and_record(runs: Path) -> None:
    ledger, offline = both(runs)
    api = FakeApi(runs)
    project = ProjectLogs("me/lessons", ledger, api)
    pd.testing.assert_frame_equal(project.history(TRIALS[:1], ["eval"]), ledger.history(TRIALS[:1], ["eval"]))
    found = project.record(TRIALS[0])
    assert exact(to_json(found)) == exact(to_json(offline.record(TRIALS[0])))
    assert found.result is not None
    assert isinstance(found.result.counters.flops, float)
    assert project.problems == []
    assert project.record("c" * 12).status == "pending", "a run that is not there"
    assert ["c" * 12 in problem and "ablate sync" in problem for problem in project.problems] == [True]
    assert api.asked == [f"me/lessons/{TRIALS[0]}", f"me/lessons/{'c' * 12}"], "each run once, by its trial's id"


def test_a_run_that_was_taken_up_again_is_running(runs: Path) -> None:
    project = ProjectLogs("me/lessons", both(runs)[0], FakeApi(runs, state="running"))
    assert project.record(TRIALS[0]).status == "running", "its summary is still that of its earlier attempt"


@pytest.mark.parametrize("name", ["lessons", "offlin", "/lessons", "me/", "me/lessons/run"])
def test_a_project_without_its_entity_is_told(runs: Path, name: str) -> None:
    with pytest.raises(LedgerError, match="ENTITY/PROJECT"):
        ProjectLogs(name, both(runs)[0])


@pytest.mark.parametrize(
    "error", [ValueError("api_key not configured"), wandb.errors.UsageError("No API key"), OSError("no route to host")]
)
def test_a_project_that_cannot_be_read_is_told(runs: Path, error: Exception) -> None:
    class Refusing:
        def run(self, path: str) -> FakeRun:
            raise error

    with pytest.raises(LedgerError, match="wandb login"):
        ProjectLogs("me/lessons", both(runs)[0], Refusing()).record(TRIALS[0])
