"""The notebooks of `analysis/`, headless, on a small archive; and which logs they choose."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import jupytext
import numpy as np
import pandas as pd
import pytest
from IPython.display import Image, Markdown
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

import cells
from ablate import CONF
from ablate.errors import LedgerError
from ablate.lessons.grid_results import GridResults
from ablate.records.archive import Archive, write_archive
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.trial import Status
from tests.support.ledgers import change_counts, ledger_of, make_grid

ANALYSIS = Path(__file__).parents[2] / "analysis"
# The others were not run.
FINISHED = ("lesson1_prefix_lm", "lesson2_infill")
ARMS = {"causal": 0.0, "good": -0.1, "alike": 0.0}
SEEDS = 6


def log_and_score(results: GridResults) -> None:
    """Log scores during training, in the middle of which `good` is the worst arm, and scores of single documents."""
    for arm in results.arms:
        for seed, trial in arm.trials.items():
            folder = ledger_of(results).trial(trial)
            middle = 2 + 0.1 * int(seed) + (0.3 if arm.label == "good" else 0.01 * len(arm.label))
            final = folder.record().evaluations["eval"]["bpb_full"]
            rows = [
                {
                    "step": step,
                    "progress": step / 2,
                    "data/train_tokens": 500 * step,
                    "train/loss": 4.0 / step,
                    "val/bpb_full": value,
                    "data/windows": f"w{seed}",
                }
                for step, value in ((1, middle), (2, final))
            ]
            folder.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            folder.evaluation_path("eval").parent.mkdir(parents=True)
            pd.DataFrame(
                {
                    "metric": "bpb_full",
                    "source": "code",
                    "document": [f"d{number}" for number in range(4)],
                    "amount": [
                        100 * (final + shift) for shift in (-0.1, 0.0, 0.01 if arm.label == "good" else 0.0, 0.1)
                    ],
                    "units": 100,
                }
            ).to_parquet(folder.evaluation_path("eval"))


def archive_of(folder: Path) -> Archive:
    """Two lessons, and two grids of one arm that differ in noise alone."""
    results, _ = make_grid(folder, ARMS, seeds=SEEDS)
    log_and_score(results)
    grids = []
    arms_of = {
        **dict.fromkeys(FINISHED, results.grid.arms),
        "seed_noise_0": results.grid.arms[:1],
        "seed_noise_1": results.grid.arms[2:],
    }
    for name, arms in arms_of.items():
        contrasts = results.declaration.contrasts if len(arms) > 1 else ()
        declaration = replace(results.declaration, name=name, contrasts=contrasts)
        grids.append(replace(results.grid, grid_id=name, arms=arms, declaration=declaration))
    return write_archive(results.logs, grids, folder / "data")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return archive_of(tmp_path_factory.mktemp("some archive"))


@pytest.fixture(scope="module")
def kernel(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsyncKernelManager]:
    """One kernel for all notebooks: their imports take longer than their cells."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ABLATE_LOGS", str(archive.folder))
        environment.delenv("ABLATE_WANDB", raising=False)
        for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            environment.setenv(variable, str(home))
        manager = AsyncKernelManager(kernel_name="python3")
        yield manager
        if manager.has_kernel:
            run_sync(manager.shutdown_kernel)(now=True)


def run(notebook: str, lesson: str, kernel: AsyncKernelManager) -> NotebookNode:
    """The notebook after all of its cells, started without names, in the folder in which an editor would run it."""
    whole = jupytext.read(ANALYSIS / f"{notebook}.py")
    whole.cells[:0] = [
        new_code_cell("%reset -f"),
        new_code_cell(f"import os; os.environ.update(ABLATE_LESSON={lesson!r})"),
    ]
    client = NotebookClient(whole, km=kernel, timeout=120, resources={"metadata": {"path": str(ANALYSIS)}})
    try:
        return client.execute()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()


def outputs(notebook: str, lesson: str, kernel: AsyncKernelManager) -> tuple[str, int]:
    """All text of the notebook's outputs, and how many figures it shows; it has no errors and no warnings."""
    whole = run(notebook, lesson, kernel)
    shown = [output for cell in whole.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "\n".join(output.get("text") or output["data"].get("text/markdown", "") for output in shown)
    assert not [output for output in shown if output.output_type == "error" or output.get("name") == "stderr"], text
    return text, sum("image/png" in output.get("data", {}) for output in shown)


def mean_score(arm: str) -> float:
    """The mean over seeds that `make_grid` gives an arm: offset + seed effect + noise."""
    noise = np.random.default_rng(5).normal(scale=0.002, size=(len(ARMS), SEEDS))[list(ARMS).index(arm)]
    return float(np.mean(2 + ARMS[arm] + 0.1 * np.arange(SEEDS) + noise))


def test_the_template_shows_a_lesson_of_one_s_own(kernel: AsyncKernelManager) -> None:
    shown = [output for cell in run("my_lesson", FINISHED[1], kernel).cells for output in cell.get("outputs", [])]
    text = "\n".join(output.get("text") or output["data"].get("text/plain", "") for output in shown)
    assert not [output for output in shown if output.output_type == "error" or output.get("name") == "stderr"], text
    assert "{'good': ('better', ()), 'alike': ('equivalent', ())}" in text
    assert f"{mean_score('good'):.4f}" in text
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2


@pytest.mark.parametrize("name", cells.LESSONS)
def test_the_notebook_of_a_lesson_runs(name: str, archive: Archive, kernel: AsyncKernelManager) -> None:
    text, figures = outputs("lesson", name, kernel)
    assert f"Read: the archive {archive.folder}" in text
    assert f"# Lesson {name[len('lesson')]}: " in text
    assert text.count("**The paper**") == 1
    if name in FINISHED:
        assert f"| bpb_full | good | {mean_score('good'):.4f} |" in text
        assert "| better |" in text
        assert "| equivalent |" in text
        assert "not yet run" not in text
        assert figures == 2
    else:
        assert f"{name}: not yet run: python -m ablate experiment={name}" in text
        assert figures == 0


@pytest.mark.parametrize(
    ("notebook", "expected", "figures"),
    [
        ("learning_curves", ["| lesson2_infill | bpb_full | 3 | 50%, 100% | 100% | good | 100% |"], 2),
        (
            "seed_noise",
            [
                "1 of 2 comparisons claim a difference that is not there: 50%, 95% interval 1% to 99%; 5% are allowed.",
                "seeds, Welch",
                "seed × document",
            ],
            0,
        ),
    ],
)
def test_a_notebook_of_all_lessons_runs(
    notebook: str, expected: list[str], figures: int, archive: Archive, kernel: AsyncKernelManager
) -> None:
    text, shown = outputs(notebook, "", kernel)
    assert f"Read: the archive {archive.folder}" in text
    assert shown == figures
    for name in cells.LESSONS:
        assert (f"| {name} |" in text) == (name in FINISHED)
        assert (f"{name}: not yet run" in text) == (name not in FINISHED)
    for line in expected:
        assert line in text


def test_the_lessons_are_those_of_the_experiments() -> None:
    assert tuple(sorted(path.stem for path in (CONF / "experiment").glob("lesson*.yaml"))) == cells.LESSONS


class Numbers:
    """A stub of W&B's readers that keeps its arguments."""

    def __init__(self, source: object, declared: object) -> None:
        self.arguments = (source, declared)

    @property
    def where(self) -> str:
        return f"W&B {self.arguments[0]}"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a repository; the working folder is its `analysis`, and W&B's readers are stubs."""
    stub = ModuleType("ablate.records.wandb.logs")
    stub.__dict__.update(OfflineWandbLogs=Numbers, ProjectLogs=Numbers)
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    (tmp_path / "analysis").mkdir()
    monkeypatch.chdir(tmp_path / "analysis")
    for variable in (cells.FOLDER, cells.WANDB):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def make_ledger(folder: Path, name: str | None) -> GridResults:
    """A ledger in `folder/runs` with a grid of this name."""
    results, _ = make_grid(folder, {"causal": 0.0, "good": -0.1}, name=name)
    return results


def test_nothing_at_all_says_what_to_do(checkout: Path) -> None:
    with pytest.raises(LedgerError, match=r"analysis.data: neither .* python -m ablate experiment=.* ABLATE_LOGS="):
        cells.logs()


def test_the_archive_is_read_where_no_lesson_was_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_ledger(checkout, None)
    write_archive(results.logs, results.logs.grids(), checkout / "analysis" / "data")
    assert isinstance(cells.logs(), Archive)
    assert capsys.readouterr().out == f"Read: the archive {checkout}/analysis/data\n"


def test_a_ledger_with_a_lesson_is_read_through_wandb(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ledger(checkout, "lesson2_infill")
    for folder in (checkout / "analysis", checkout):
        monkeypatch.chdir(folder)
        logs = cells.logs()
        assert isinstance(logs, Numbers)
        assert logs.arguments[0] == checkout / "runs"
        assert isinstance(logs.arguments[1], LedgerLogs)
    monkeypatch.setenv("ABLATE_WANDB", "someone/lessons")
    logs = cells.logs()
    assert isinstance(logs, Numbers)
    assert logs.arguments[0] == "someone/lessons"
    monkeypatch.setenv("ABLATE_WANDB", "ledger")
    assert isinstance(cells.logs(), LedgerLogs)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"Read: W&B {checkout}/runs"
    assert printed[2] == "Read: W&B someone/lessons"
    assert printed[3] == f"Read: the ledger {checkout}/runs"


def test_a_ledger_without_wandb_says_how_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ledger(tmp_path, "lesson2_infill")
    monkeypatch.chdir(tmp_path)
    for variable in (cells.FOLDER, cells.WANDB):
        monkeypatch.delenv(variable, raising=False)
    assert cells.find(cells.logs(), "lesson2_infill") is None
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"Read: W&B's offline files below {tmp_path}/runs"
    assert "contains no offline run" in printed[1]
    assert "ABLATE_WANDB=" in printed[1]
    monkeypatch.setenv("ABLATE_WANDB", "ledger")
    lesson = cells.find(cells.logs(), "lesson2_infill")
    assert lesson is not None
    assert "ABLATE_WANDB=ledger" in str(cells.variance({"lesson2_infill": lesson}).data)


def test_a_folder_is_named_from_the_root(
    checkout: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.folder.rename(checkout / "other")
    try:
        monkeypatch.setenv("ABLATE_LOGS", "other")
        logs = cells.logs()
        assert logs.where == str(checkout / "other")
        assert cells.find(logs, "lesson2_infill") is not None
    finally:
        (checkout / "other").rename(archive.folder)


def test_a_lesson_that_came_to_nothing_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_ledger(tmp_path, "lesson2_infill")
    ledger = ledger_of(results)
    for trial in results.trials_of("good"):
        change_counts(ledger.trial(trial), train_tokens=10, loss_tokens=9)
    assert cells.find(LedgerLogs(ledger), "lesson2_infill") is None
    for trial in (*results.trials_of("causal"), *results.trials_of("good")):
        ledger.trial(trial).update(status=Status.PENDING, evaluations={})
    assert cells.find(LedgerLogs(ledger), "lesson2_infill") is None
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("lesson2_infill: no lesson. The arms differ by 9900.0% in train_tokens")
    assert second == "lesson2_infill: no lesson. No seed is finished in every arm (finished: causal 0/3, good 0/3)."
    for part in (cells.declaration, cells.table, cells.comparisons, cells.curves, cells.notes):
        nothing = part(None)
        assert isinstance(nothing, Markdown)
        assert nothing.data == "*Nothing to show.*"


def test_a_figure_has_its_size_in_page_pixels(archive: Archive) -> None:
    image = cells.curves(cells.find(archive, "lesson2_infill"))
    assert isinstance(image, Image)
    assert image.data.startswith(b"\x89PNG")
    assert image.width == 883, "two panels of 4.6 inches, 96 pixels each"
