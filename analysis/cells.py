"""What the notebooks beside this file show: the logs to read, a lesson by its name, and its parts, one for a cell."""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from IPython.display import Image, Markdown
from matplotlib.figure import Figure
from scipy import stats

from ablate.errors import LedgerError
from ablate.lessons.aa_test import aa_test
from ablate.lessons.lesson import Lesson
from ablate.records.archive import Archive
from ablate.records.logs import Logs
from ablate.records.open_logs import open_logs
from ablate.reports.curves import draw_curves
from ablate.reports.figure import METADATA, style
from ablate.reports.forest import draw_forest
from ablate.reports.noise_tables import aa_table, by_lesson, required_seeds_table, variance_table
from ablate.reports.notes import notes as notes_of
from ablate.reports.paper import AA_GRIDS, AA_SEEDS, NOT_RUN, newest_by_name
from ablate.reports.table import accounting_table, lesson_table
from ablate.reports.wording import direction, lesson_or_gap, question
from ablate.reports.written import markdown_table

TEXTS: dict[str, dict[str, Any]] = {
    row["lesson"]: row for row in yaml.safe_load(Path(__file__).with_name("codegen2.yaml").read_text(encoding="utf-8"))
}
LESSONS = tuple(TEXTS)
# Environment variables: the folder of a ledger or an archive, and the source of the numbers.
FOLDER, WANDB = "ABLATE_LOGS", "ABLATE_WANDB"
EXPLAINED = (
    f"{FOLDER}=FOLDER names another ledger or archive, {WANDB}=offline|ENTITY/PROJECT|ledger the numbers' source"
)
# The column of a trial's log with the fraction of its budget that is spent.
PROGRESS = "progress"
FIGURE_DPI, PAGE_DPI = 160, 96
NOTHING = Markdown("*Nothing to show.*")


def logs() -> Logs:
    """Open the logs to read, and print which these are.

    The folder is `ABLATE_LOGS`, else `runs` if a named lesson was run there, else `analysis/data`. A ledger's numbers
    are read from W&B's offline files below it, unless `ABLATE_WANDB` names a project, or `ledger` for its own files.

    Raises:
        LedgerError: neither a ledger nor an archive is there.
    """
    folder = _folder()
    try:
        declared = open_logs(folder)
    except LedgerError:
        raise LedgerError(
            f"{folder}: neither a ledger nor an archive of one is here. Run a lesson, e.g. python -m ablate "
            f"experiment={LESSONS[1]}, or say where: {EXPLAINED}."
        ) from None
    is_archive = isinstance(declared, Archive)
    source = os.environ.get(WANDB) or ("ledger" if is_archive else "offline")
    if source == "ledger":
        print(f"Read: the {'archive' if is_archive else 'ledger'} {folder}")
        return declared
    from ablate.records.wandb.logs import OfflineWandbLogs, ProjectLogs

    wandb_logs = OfflineWandbLogs(folder, declared) if source == "offline" else ProjectLogs(source, declared)
    print(f"Read: {wandb_logs.where}")
    return wandb_logs


def _folder() -> Path:
    """The folder to read. A notebook runs in the repository's root or in a folder of it."""
    here = Path.cwd()
    root = next((folder for folder in (here, here.parent) if (folder / "analysis").is_dir()), here)
    if folder := os.environ.get(FOLDER):
        return root / Path(folder).expanduser()
    runs = root / "runs"
    if (runs / "grids").is_dir() and newest_by_name(open_logs(runs)):
        return runs
    return root / "analysis" / "data"


def find(logs: Logs, name: str) -> Lesson | None:
    """The newest lesson of a name; None, with a line that says why, where there is none."""
    results = newest_by_name(logs).get(name)
    if results is None:
        print(f"{name}: {NOT_RUN}: python -m ablate experiment={name}")
        return None
    try:
        lesson = lesson_or_gap(results)
    except LedgerError as error:
        print(f"{name}: {error} ({EXPLAINED}.)")
        return None
    if isinstance(lesson, str):
        print(f"{name}: no lesson. {lesson}")
        return None
    return lesson


def every(logs: Logs) -> dict[str, Lesson]:
    """The five lessons and all other named ones, by name; a line for each that is not there."""
    others = [name for name in newest_by_name(logs) if name not in LESSONS and not name.startswith(AA_GRIDS)]
    return {name: lesson for name in (*LESSONS, *others) if (lesson := find(logs, name)) is not None}


def text(name: str, *parts: str) -> Markdown:
    """What `codegen2.yaml` says about a lesson."""
    return _markdown(*(f"{TEXTS[name][part]}\n" for part in parts)) if name in TEXTS else NOTHING


def published(name: str) -> Markdown:
    """The figures that the paper shows."""
    rows = TEXTS.get(name, {}).get("published", [])
    return _markdown(*(f"- {row['what']}: {row['value']} ({row['from']})" for row in rows)) if rows else NOTHING


def declaration(lesson: Lesson | None) -> Markdown:
    """The question, and what was declared with it."""
    if lesson is None:
        return NOTHING
    results, declared = lesson.results, lesson.results.declaration
    primary = results.primary_metric
    compared = [
        contrast.name if contrast.metric == primary else f"{contrast.name} (on `{contrast.metric}`)"
        for contrast in results.contrasts
    ]
    return _markdown(
        f"**{question(lesson)}**",
        "",
        f"Grid `{results.grid_id}`: `{results.grid.command}`",
        "",
        f"- primary metric: `{primary}` ({results.metric(primary).unit}, {direction(lesson, primary)}); smallest "
        f"effect: {declared.smallest_effect:g}",
        f"- arms: {', '.join(arm.label for arm in results.arms)}; the baseline is {results.baseline}",
        f"- compared: {'; '.join(compared) or 'nothing'}",
        f"- matched on {declared.matched_on}; looks at {', '.join(map(str, declared.looks))} seeds; "
        f"{declared.confidence:.0%} intervals",
    )


def table(lesson: Lesson | None) -> Markdown:
    """The metrics that have declared comparisons."""
    return _table(lesson_table(lesson, declared_only=True), numbers_from=2) if lesson else NOTHING


def comparisons(lesson: Lesson | None) -> Image | Markdown:
    """The figure of the declared comparisons."""
    return _image(draw_forest(lesson), "Comparisons") if lesson and lesson.comparisons else NOTHING


def curves(lesson: Lesson | None) -> Image | Markdown:
    """The figure of the loss curves."""
    return _image(draw_curves(lesson), "Loss curves") if lesson else NOTHING


def notes(lesson: Lesson | None) -> Markdown:
    """How certain the table is, and what its metrics measure."""
    if lesson is None:
        return NOTHING
    problems = getattr(lesson.results.logs, "problems", [])
    return _markdown(*(f"- {note}" for note in (*notes_of(lesson), *problems)))


def accounting(lesson: Lesson | None) -> Markdown:
    """Tokens, operations and time, as means per trial."""
    return _table(accounting_table(lesson)) if lesson else NOTHING


def required_seeds(lessons: Mapping[str, Lesson]) -> Markdown:
    """The seeds that each declared comparison requires, paired and not."""
    return _table(required_seeds_table(lessons), numbers_from=3)


def variance(lessons: Mapping[str, Lesson]) -> Markdown:
    """The variance components of each declared comparison."""
    rows = variance_table(lessons)
    if lessons and rows.empty:
        return _markdown(f"*No scores of single documents are kept here; W&B has none, {WANDB}=ledger reads ours.*")
    return _table(rows, numbers_from=3)


def final_order(lessons: Mapping[str, Lesson]) -> Markdown:
    """The fraction of the budget from which the order of the arms is the final one."""
    return _table(by_lesson({name: _final_order(lesson) for name, lesson in lessons.items()}), numbers_from=2)


def _final_order(lesson: Lesson) -> Iterable[dict[str, str]]:
    """One row, from the arms' means over seeds at each evaluation; none where nothing was scored during training."""
    primary = lesson.results.primary_metric
    values, validation = lesson.results.values(primary), f"val/{primary}"
    history = lesson.results.history(list(values.index), [PROGRESS, validation])
    if not {PROGRESS, validation} <= set(history):
        return
    rows = history[history["seed"].isin(values.columns)].dropna(subset=[validation])
    by_trial = rows.assign(at=rows[PROGRESS].round(2)).pivot_table(validation, "at", ["arm", "seed"])
    means = by_trial.dropna().T.groupby(level="arm").mean().T
    if means.empty:
        return
    ranks = means.rank(axis="columns", ascending=lesson.results.metric(primary).less_is_better)
    order, best = ranks.eq(ranks.iloc[-1]).all(axis="columns"), ranks.idxmin(axis="columns")
    yield {
        "metric": primary,
        "arms": str(means.shape[1]),
        "scored at": ", ".join(f"{at:.0%}" for at in means.index),
        "order is final from": _from(order),
        "best in the end": str(best.iloc[-1]),
        "best from": _from(best.eq(best.iloc[-1])),
    }


def _from(holds: pd.Series) -> str:
    """The first place from which it holds to the end."""
    last_otherwise = -1 if holds.all() else int((~holds).to_numpy().nonzero()[0][-1])
    return f"{holds.index[last_otherwise + 1]:.0%}"


def aa_comparisons(logs: Logs) -> Markdown:
    """The A/A comparisons, and how many of them are false positives."""
    grids = [results for name, results in newest_by_name(logs).items() if name.startswith(AA_GRIDS)]
    if len(grids) != 2 or any(results.values(grids[0].primary_metric).empty for results in grids):
        return _markdown(f"{AA_GRIDS}_0, {AA_GRIDS}_1: {NOT_RUN}: see analysis/README.md")
    pairs = list(aa_test(grids[0], grids[1], grids[0].primary_metric, AA_SEEDS))
    if not pairs:
        return _markdown(f"Fewer than {AA_SEEDS} seeds are finished in both grids.")
    claimed = sum(pair.is_false_positive for pair in pairs)
    fraction = stats.binomtest(claimed, len(pairs)).proportion_ci(method="exact")
    return _markdown(
        f"{claimed} of {len(pairs)} comparisons claim a difference that is not there: {claimed / len(pairs):.0%}, 95% "
        f"interval {fraction.low:.0%} to {fraction.high:.0%}; {1 - grids[0].declaration.confidence:.0%} are allowed.",
        "",
        markdown_table(aa_table(pairs), numbers_from=1),
    )


def _table(rows: pd.DataFrame, numbers_from: int = 1) -> Markdown:
    return NOTHING if rows.empty else _markdown(markdown_table(rows, numbers_from))


def _markdown(*lines: str) -> Markdown:
    return Markdown("\n".join(lines))


def _image(figure: Figure, alt: str) -> Image:
    drawn = io.BytesIO()
    with style():
        figure.savefig(drawn, format="png", dpi=FIGURE_DPI, metadata=METADATA["png"])
    width = round(figure.get_figwidth() * PAGE_DPI)
    return Image(drawn.getvalue(), format="png", width=width, alt=alt)
