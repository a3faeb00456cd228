"""Every table and figure of every named lesson, from the logs alone; the same logs give the same bytes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.files import write_json, write_text
from ablate.lessons.aa_test import aa_test
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.logs import Logs
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.forest import draw_forest
from ablate.reports.latex import appendix_tables, primary_table
from ablate.reports.noise_tables import aa_table, required_seeds_table
from ablate.reports.notes import notes
from ablate.reports.table import accounting_table, lesson_table
from ablate.reports.wording import lesson_or_gap, question
from ablate.reports.written import markdown_table, write_table

FIGURE_FORMATS = ("pdf", "svg", "png")
# The names of an A/A test's two grids begin with this: one configuration under two initialisations.
AA_GRIDS = "seed_noise"
AA_SEEDS = 3
NOT_RUN = "not yet run"


@dataclass(frozen=True)
class Paper:
    """What was written.

    Attributes:
        lessons: name → lesson.
        gaps: name → why there is no lesson.
    """

    lessons: Mapping[str, Lesson]
    gaps: Mapping[str, str]


def write_paper(logs: Logs, published: Sequence[Mapping[str, Any]], folder: Path, commit: str | None) -> Paper:
    """Write `tables/`, `figures/`, `paper.md` and `manifest.json`.

    Args:
        logs: of the named lessons.
        published: what another paper shows, one mapping per table or figure: `lesson`, `shows`, `kind`, `claim` and
            `published` figures.
        folder: files of the same names in it are replaced.
        commit: of the code that writes.
    """
    results = newest_by_name(logs)
    drawn = {name: lesson_or_gap(of_grid) for name, of_grid in results.items() if not name.startswith(AA_GRIDS)}
    paper = Paper(
        {name: lesson for name, lesson in drawn.items() if isinstance(lesson, Lesson)},
        {name: gap for name, gap in drawn.items() if isinstance(gap, str)},
    )
    files = [path for name, lesson in paper.lessons.items() for path in _write_lesson(name, lesson, folder)]
    files += _write_noise(paper.lessons, results, folder)
    write_text(folder / "paper.md", _index(paper, published))
    files.append(folder / "paper.md")
    write_json(folder / "manifest.json", _manifest(results, files, folder, commit))
    return paper


def newest_by_name(logs: Logs) -> dict[str, GridResults]:
    """Name of a lesson → its newest grid."""
    grids = {
        name: grid for grid in sorted(logs.grids(), key=lambda grid: grid.created_at) if (name := grid.declaration.name)
    }
    return {name: GridResults(logs, grids[name]) for name in sorted(grids)}


def _write_lesson(name: str, lesson: Lesson, folder: Path) -> Iterator[Path]:
    latex = {name: primary_table(lesson), f"{name}_appendix": appendix_tables(lesson)}
    yield from write_table(lesson_table(lesson), folder / "tables", name, numbers_from=2, latex=latex)
    yield from write_table(accounting_table(lesson), folder / "tables", f"{name}_budgets", numbers_from=1)
    yield from save(draw_curves(lesson), folder / "figures", f"{name}_curves", FIGURE_FORMATS)
    if lesson.comparisons:
        yield from save(draw_forest(lesson), folder / "figures", f"{name}_comparisons", FIGURE_FORMATS)


def _write_noise(lessons: Mapping[str, Lesson], results: Mapping[str, GridResults], folder: Path) -> Iterator[Path]:
    """Write the seeds that each verdict requires, and the A/A test."""
    table = required_seeds_table(lessons)
    if not table.empty:
        yield from write_table(table, folder / "tables", "required_seeds", 3)
    grids = [of_grid for name, of_grid in results.items() if name.startswith(AA_GRIDS) and of_grid.metrics()]
    if len(grids) == 2:
        comparisons = aa_test(grids[0], grids[1], grids[0].primary_metric, AA_SEEDS)
        yield from write_table(aa_table(comparisons), folder / "tables", "aa_test", 1)


def _index(paper: Paper, published: Sequence[Mapping[str, Any]]) -> str:
    """The page with what the other paper shows, ours beside it, and what is not yet run."""
    lines = ["# Lessons", "", "What CodeGen2 shows, and ours beside it.", ""]
    rows = [
        {
            "lesson": row["lesson"],
            "the paper": f"{row['kind']}: {row['shows']}",
            "its claim": row["claim"],
            "its figures": "; ".join(
                f"{each['what']} {each['value']:.2f} ({each['from']})" for each in row["published"]
            ),
            "ours": _ours(paper, str(row["lesson"])),
        }
        for row in published
    ]
    lines += [markdown_table(pd.DataFrame(rows), numbers_from=5), ""] if rows else []
    for name, lesson in paper.lessons.items():
        table = markdown_table(lesson_table(lesson, declared_only=True), 2)
        lines += [f"## {name}", "", question(lesson), "", table, "", *(f"- {note}" for note in notes(lesson)), ""]
        lines += [f"![Curves](figures/{name}_curves.svg)", ""]
        if lesson.comparisons:
            lines += [f"![Comparisons](figures/{name}_comparisons.svg)", ""]
    lines += [f"{name}: no lesson. {gap}" for name, gap in paper.gaps.items()]
    return "\n".join(lines).rstrip() + "\n"


def _ours(paper: Paper, name: str) -> str:
    if name not in paper.lessons:
        return f"{NOT_RUN}: `python -m ablate experiment={name}`"
    verdicts = "; ".join(f"{contrast}: {verdict}" for contrast, verdict in paper.lessons[name].verdicts.items())
    return f"{verdicts} ([table](tables/{name}.md), [figure](figures/{name}_curves.svg))"


def _manifest(
    results: Mapping[str, GridResults], files: Sequence[Path], folder: Path, commit: str | None
) -> dict[str, Any]:
    return {
        "written_by_commit": commit,
        "lessons": {
            name: {
                "grid_id": of_grid.grid_id,
                "suites": dict(of_grid.grid.suites),
                "trials": {arm.label: arm.trials for arm in of_grid.arms},
                "trained_by_commits": _commits(of_grid),
            }
            for name, of_grid in results.items()
        },
        "files": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        },
    }


def _commits(results: GridResults) -> list[str]:
    commits = {record.provenance.git_commit for record in results.records.values() if record.provenance}
    return sorted(commit for commit in commits if commit)
