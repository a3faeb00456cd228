"""What the notebooks of `analysis/` need: the logs that they read, a lesson by its name, its parts for a cell."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from ablate.errors import LedgerError
from ablate.lessons.aa_test import aa_table, aa_test
from ablate.lessons.grid_results import IncomparableError
from ablate.lessons.lesson import Lesson, lesson
from ablate.lessons.metric import metric
from ablate.lessons.power import cost_table, costs
from ablate.lessons.variance import variance_fractions
from ablate.records.archive import Archive
from ablate.records.logs import Logs, open_logs
from ablate.reports.curves import draw_curves
from ablate.reports.figure import METADATA, style
from ablate.reports.forest import draw_forest
from ablate.reports.paper import IDENTICAL, IDENTICAL_SEEDS, NOT_RUN, newest_by_name
from ablate.reports.prose import nothing_to_compare, question
from ablate.reports.table import accounting_table, lesson_table
from ablate.reports.table import notes as notes_of
from ablate.reports.written import markdown_table

if TYPE_CHECKING:
    from IPython.display import Image, Markdown

LESSONS = (
    "lesson1_prefix_lm",
    "lesson2_infill",
    "lesson3_mixed_objective",
    "lesson4_data_mixture",
    "lesson5_multi_epoch",
)
# What the environment may say: a ledger's or an archive's folder, and whence the numbers are.
FOLDER, WANDB = "ABLATE_LOGS", "ABLATE_WANDB"
EXPLAINED = (
    f"{FOLDER}=FOLDER names another ledger or archive, {WANDB}=offline|ENTITY/PROJECT|ledger the numbers' source"
)
# Of a trial's log: which share of its budget is spent.
PROGRESS = "progress"
# Dots of a figure an inch, and those that a page shows.
FIGURE_DPI, PAGE_DPI = 160, 96


def logs() -> Logs:
    """What the notebook reads; one line says so.

    A ledger's numbers are read from W&B's offline files below it, unless `ABLATE_WANDB` names a project, or `ledger`
    for its own files. The folder is `ABLATE_LOGS`, else `runs` if a named lesson was run there, else `analysis/data`.

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

    found = OfflineWandbLogs(folder, declared) if source == "offline" else ProjectLogs(source, declared)
    print(f"Read: {found.where}")
    return found


def _folder() -> Path:
    """Which folder is read. A notebook runs at the repository's root or in a folder of it."""
    here = Path.cwd()
    root = next((folder for folder in (here, here.parent) if (folder / "analysis").is_dir()), here)
    if given := os.environ.get(FOLDER):
        return root / Path(given).expanduser()
    runs = root / "runs"
    if (runs / "grids").is_dir() and newest_by_name(open_logs(runs)):
        return runs
    return root / "analysis" / "data"


def find(logs: Logs, name: str) -> Lesson | None:
    """The newest lesson of a name; None, and a line that says why, where there is none."""
    results = newest_by_name(logs).get(name)
    if results is None:
        print(f"{name}: {NOT_RUN}: python -m ablate experiment={name}")
        return None
    try:
        found = lesson(results)
    except IncomparableError as error:
        print(f"{name}: no lesson. {error}")
        return None
    except LedgerError as error:
        print(f"{name}: {error} ({EXPLAINED}.)")
        return None
    if not found.metrics:
        print(f"{name}: no lesson yet. {nothing_to_compare(found)}")
        return None
    return found


def every(logs: Logs) -> dict[str, Lesson]:
    """The five lessons and all others that have a name, by name; a line for each that is not there."""
    others = [name for name in newest_by_name(logs) if name not in LESSONS and not name.startswith(IDENTICAL)]
    return {name: found for name in (*LESSONS, *others) if (found := find(logs, name)) is not None}


def declaration(found: Lesson | None) -> "Markdown":
    """The question, and what was declared with it."""
    if found is None:
        return _nothing()
    results, declared = found.results, found.results.declaration
    primary = results.primary_metric
    compared = [
        contrast.name if contrast.metric == primary else f"{contrast.name} (on `{contrast.metric}`)"
        for contrast in results.contrasts
    ]
    way = "less" if metric(primary).less_is_better else "more"
    return _markdown(
        f"**{question(found)}**",
        "",
        f"Grid `{results.grid_id}`: `{results.grid['command']}`",
        "",
        f"- primary metric: `{primary}` ({metric(primary).unit}, {way} is better); smallest effect that matters: "
        f"{declared['smallest_effect']:g}",
        f"- arms: {', '.join(arm.label for arm in results.arms)}; the baseline is {results.baseline}",
        f"- compared: {'; '.join(compared) or 'nothing'}",
        f"- matched on {declared['matched_on']}; looked at with {', '.join(map(str, declared['looks']))} seeds; "
        f"{declared['confidence']:.0%} intervals",
    )


def table(found: Lesson | None) -> "Markdown":
    """The metrics on which something was declared."""
    return _table(lesson_table(found, declared_only=True), numbers_from=2) if found else _nothing()


def comparisons(found: Lesson | None) -> "Image | Markdown":
    """The figure of the declared comparisons."""
    return _image(draw_forest(found), "Comparisons") if found and found.comparisons else _nothing()


def curves(found: Lesson | None) -> "Image | Markdown":
    """The figure of the loss curves."""
    return _image(draw_curves(found), "Loss curves") if found else _nothing()


def notes(found: Lesson | None) -> "Markdown":
    """How sure the table is, and what its metrics ask."""
    if found is None:
        return _nothing()
    problems = getattr(found.results.logs, "problems", [])
    return _markdown(*(f"- {note}" for note in (*notes_of(found), *problems)))


def accounting(found: Lesson | None) -> "Markdown":
    """What was read, asked and computed, as means per trial."""
    return _table(accounting_table(found)) if found else _nothing()


def cost(lessons: Mapping[str, Lesson]) -> "Markdown":
    """How many seeds each declared comparison takes, paired and not."""
    return _by_lesson({name: cost_table(costs(found.results), name) for name, found in lessons.items()}, numbers_from=3)


def noise(lessons: Mapping[str, Lesson]) -> "Markdown":
    """Of each declared comparison, what its variance comes from."""
    shares = {name: _shares(found) for name, found in lessons.items()}
    if lessons and all(table.empty for table in shares.values()):
        return _markdown(f"*No scores of single documents are kept here; W&B has none, {WANDB}=ledger reads ours.*")
    return _by_lesson(shares, numbers_from=3)


def _shares(found: Lesson) -> pd.DataFrame:
    rows = []
    for comparison in found.comparisons:
        shares = variance_fractions(found.results, comparison.contrast)
        if shares is None or shares.total == 0:
            continue
        rows.append(
            {
                "comparison": comparison.contrast.name,
                "metric": comparison.contrast.metric,
                "seed": f"{shares.seed / shares.total:.0%}",
                "document": f"{shares.document / shares.total:.0%}",
                "seed × document": f"{shares.seed_by_document / shares.total:.0%}",
                "standard error, other seeds": f"{shares.of_seeds**0.5:.4f}",
                "other seeds and documents": f"{shares.total**0.5:.4f}",
            }
        )
    return pd.DataFrame(rows)


def settled(lessons: Mapping[str, Lesson]) -> "Markdown":
    """At which share of the budget the order of the arms on the primary metric is the final one."""
    return _by_lesson({name: _order(found) for name, found in lessons.items()}, numbers_from=2)


def _order(found: Lesson) -> pd.DataFrame:
    """One row from the arms' means over seeds at each place; none where nothing was scored while it trained."""
    primary, values = found.results.primary_metric, found.results.values(found.results.primary_metric)
    tuned = f"val/{primary}"
    history = found.results.history(list(values.index), [PROGRESS, tuned])
    if not {PROGRESS, tuned} <= set(history):
        return pd.DataFrame()
    rows = history[history["seed"].isin(values.columns)].dropna(subset=[tuned])
    by_trial = rows.assign(place=rows[PROGRESS].round(2)).pivot_table(tuned, "place", ["arm", "seed"])
    means = by_trial.dropna().T.groupby(level="arm").mean().T
    if means.empty:
        return pd.DataFrame()
    ranks = means.rank(axis="columns", ascending=metric(primary).less_is_better)
    order, best = ranks.eq(ranks.iloc[-1]).all(axis="columns"), ranks.idxmin(axis="columns")
    return pd.DataFrame(
        [
            {
                "metric": primary,
                "arms": str(means.shape[1]),
                "scored at": ", ".join(f"{place:.0%}" for place in means.index),
                "order is final from": _from(order),
                "best in the end": best.iloc[-1],
                "best from": _from(best.eq(best.iloc[-1])),
            }
        ]
    )


def _from(holds: pd.Series) -> str:
    """The place from which it holds to the end, where it does."""
    last_otherwise = -1 if holds.all() else int((~holds).to_numpy().nonzero()[0][-1])
    return f"{holds.index[last_otherwise + 1]:.0%}"


def identical(logs: Logs) -> "Markdown":
    """The comparisons of a thing with itself, and how many of them claim a difference."""
    same = [results for name, results in newest_by_name(logs).items() if name.startswith(IDENTICAL)]
    if len(same) != 2 or any(results.values(same[0].primary_metric).empty for results in same):
        return _markdown(f"{IDENTICAL}_0, {IDENTICAL}_1: {NOT_RUN}: see analysis/README.md")
    found = aa_test(same[0], same[1], same[0].primary_metric, IDENTICAL_SEEDS)
    if not found:
        return _markdown(f"Fewer than {IDENTICAL_SEEDS} seeds are finished in both grids.")
    claimed = sum(pair.is_false for pair in found)
    share = stats.binomtest(claimed, len(found)).proportion_ci(method="exact")
    return _markdown(
        f"{claimed} of {len(found)} comparisons claim a difference that is not there: {claimed / len(found):.0%}, 95% "
        f"interval {share.low:.0%} to {share.high:.0%}; {1 - same[0].declaration['confidence']:.0%} are allowed to.",
        "",
        markdown_table(aa_table(found), numbers_from=1),
    )


def _by_lesson(tables: Mapping[str, pd.DataFrame], numbers_from: int) -> "Markdown":
    """One table of all lessons, whose names come first."""
    kept = [table.assign(lesson=name) for name, table in tables.items() if not table.empty]
    if not kept:
        return _nothing()
    whole = pd.concat(kept, ignore_index=True)
    return _table(whole[["lesson", *(name for name in whole.columns if name != "lesson")]], numbers_from)


def _table(rows: pd.DataFrame, numbers_from: int = 1) -> "Markdown":
    return _nothing() if rows.empty else _markdown(markdown_table(rows, numbers_from))


def _nothing() -> "Markdown":
    return _markdown("*Nothing to show.*")


def _markdown(*lines: str) -> "Markdown":
    from IPython.display import Markdown

    return Markdown("\n".join(lines))


def _image(figure: Figure, alt: str) -> "Image":
    from IPython.display import Image

    drawn = io.BytesIO()
    with style():
        figure.savefig(drawn, format="png", dpi=FIGURE_DPI, metadata=METADATA["png"])
    width = round(figure.get_figwidth() * PAGE_DPI)
    return Image(drawn.getvalue(), format="png", width=width, alt=alt)
