"""Every table and figure of every named lesson, from the logs alone, the same bytes each time."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.files import write_json, write_text
from ablate.lessons.aa_test import aa_test
from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.lessons.lesson import Lesson, lesson
from ablate.records.grid import GridRecord
from ablate.records.logs import Logs
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.forest import draw_forest
from ablate.reports.noise_tables import aa_table, required_seeds_table
from ablate.reports.prose import nothing_to_compare, question
from ablate.reports.table import accounting_table, lesson_table, notes
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
        lessons: by name, those that came to something.
        gaps: by name, why there is no lesson.
    """

    lessons: Mapping[str, Lesson]
    gaps: Mapping[str, str]


def write_paper(logs: Logs, published: Sequence[Mapping[str, Any]], folder: Path, commit: str | None) -> Paper:
    """Writes `tables/`, `figures/`, `paper.md` and `manifest.json`.

    Args:
        logs: where trials are read from.
        published: what another paper shows, one mapping per table or figure: `lesson`, `shows`, `kind`, `word` and
            `published` figures.
        folder: where to; what was written there before by the same names is replaced.
        commit: of the code that writes.
    """
    results = newest_by_name(logs)
    found, gaps = {}, {}
    for name, of_lesson in results.items():
        if name.startswith(AA_GRIDS):
            continue
        try:
            one = lesson(of_lesson)
        except IncomparableError as error:
            gaps[name] = str(error)
            continue
        if one.metrics:
            found[name] = one
        else:
            gaps[name] = nothing_to_compare(one)
    paper = Paper(found, gaps)
    files = [path for name, one in found.items() for path in _write_lesson(name, one, folder)]
    files += _write_noise(found, results, folder)
    write_text(folder / "paper.md", _index(paper, published))
    files.append(folder / "paper.md")
    write_json(folder / "manifest.json", _manifest(results, files, folder, commit))
    return paper


def newest_by_name(logs: Logs) -> dict[str, GridResults]:
    """The newest grid of each named lesson, by name."""
    found: dict[str, GridRecord] = {}
    for grid in sorted(logs.grids(), key=lambda grid: grid.created_at):
        if name := grid.declaration.name:
            found[name] = grid
    return {name: GridResults(logs, found[name]) for name in sorted(found)}


def _write_lesson(name: str, found: Lesson, folder: Path) -> Iterator[Path]:
    yield from write_table(lesson_table(found), folder / "tables", name, numbers_from=2)
    yield from write_table(accounting_table(found), folder / "tables", f"{name}_budgets", numbers_from=1)
    yield from save(draw_curves(found), folder / "figures", f"{name}_curves", FIGURE_FORMATS)
    if found.comparisons:
        yield from save(draw_forest(found), folder / "figures", f"{name}_comparisons", FIGURE_FORMATS)


def _write_noise(found: Mapping[str, Lesson], results: Mapping[str, GridResults], folder: Path) -> Iterator[Path]:
    """Writes the seeds that each verdict requires, and the A/A test."""
    table = required_seeds_table(found)
    if not table.empty:
        yield from write_table(table, folder / "tables", "required_seeds", 3)
    same = [one for name, one in results.items() if name.startswith(AA_GRIDS) and one.metrics()]
    if len(same) == 2:
        comparisons = aa_test(same[0], same[1], same[0].primary_metric, AA_SEEDS)
        yield from write_table(aa_table(comparisons), folder / "tables", "aa_test", 1)


def _index(paper: Paper, published: Sequence[Mapping[str, Any]]) -> str:
    """One page: what the other paper shows, ours beside it, and what is not yet run."""
    lines = ["# Lessons", "", "What CodeGen2 shows, and ours beside it.", ""]
    rows = [
        {
            "lesson": row["lesson"],
            "the paper": f"{row['kind']}: {row['shows']}",
            "its claim": row["claim"],
            "its figures": "; ".join(f"{one['what']} {one['value']:.2f} ({one['from']})" for one in row["published"]),
            "ours": _ours(paper, str(row["lesson"])),
        }
        for row in published
    ]
    lines += [markdown_table(pd.DataFrame(rows), numbers_from=5), ""] if rows else []
    for name, found in paper.lessons.items():
        lines += [f"## {name}", "", question(found), "", markdown_table(lesson_table(found, declared_only=True), 2), ""]
        lines += [f"- {note}" for note in notes(found)]
        lines += ["", f"![Curves](figures/{name}_curves.svg)", ""]
        if found.comparisons:
            lines += [f"![Comparisons](figures/{name}_comparisons.svg)", ""]
    lines += [f"{name}: no lesson. {why}" for name, why in paper.gaps.items()]
    return "\n".join(lines).rstrip() + "\n"


def _ours(paper: Paper, name: str) -> str:
    if name in paper.lessons:
        found = paper.lessons[name]
        words = "; ".join(f"{contrast}: {word}" for contrast, word in found.words.items())
        return f"{words} ([table](tables/{name}.md), [figure](figures/{name}_curves.svg))"
    return f"{NOT_RUN}: `python -m ablate experiment={name}`"


def _manifest(
    results: Mapping[str, GridResults], files: Sequence[Path], folder: Path, commit: str | None
) -> dict[str, Any]:
    return {
        "written_by_commit": commit,
        "lessons": {
            name: {
                "grid_id": one.grid_id,
                "evaluation_id": one.grid.evaluation_id,
                "trials": {arm.label: arm.trials for arm in one.arms},
                "trained_by_commits": _commits(one),
            }
            for name, one in results.items()
        },
        "files": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        },
    }


def _commits(results: GridResults) -> list[str]:
    found = [record.provenance.git_commit for record in results.records.values() if record.provenance]
    return sorted({commit for commit in found if commit})
