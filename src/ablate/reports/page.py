"""All lessons on one HTML page that needs nothing else: no network, no script, no other file."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ablate.console import listed
from ablate.files import write_text
from ablate.lessons.lesson import Lesson
from ablate.records.grid import LookRecord
from ablate.reports.arm_fields import differing_fields
from ablate.reports.cards import cards, interval, signed
from ablate.reports.curves import curve_labels, curve_panels
from ablate.reports.flipped import flipped
from ablate.reports.forest import MAX_ROWS, NARROW, draw_forest
from ablate.reports.inline_svg import OF_ARMS, OF_VERDICTS, inline_svg
from ablate.reports.ladder_figure import draw_ladder
from ablate.reports.ladder_table import ladder_table, ladder_title
from ablate.reports.notes import CAVEATS, METRICS, metric_meanings, note_groups
from ablate.reports.table import accounting_table, headers, text_rows
from ablate.reports.wording import question, typographic, unit_and_direction

if TYPE_CHECKING:
    from ablate.reports.tuning_section import TuningStudies

# Counters that are raised when a component's numbers change.
CODE = "code versions of components"
TEMPLATE = Path(__file__).with_suffix(".html")


def page(
    lessons: Sequence[Lesson], links: Mapping[str, str] | None = None, tunings: "Sequence[TuningStudies]" = ()
) -> str:
    """The page as HTML; the same lessons give the same bytes.

    Args:
        lessons: in the order in which they are shown.
        links: trial id → address of its run.
        tunings: shown below the lessons.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    sections = [_section(lesson, f"lesson-{number}", links or {}) for number, lesson in enumerate(lessons, start=1)]
    for section, apart in zip(sections, _told_apart(lessons), strict=True):
        section["apart"] = apart
    return environment.get_template(TEMPLATE.name).render(lessons=sections, tunings=_tuning_sections(tunings))


def _breakable(key: str) -> Markup:
    """A dotted key that a narrow page may break after its dots and underscores."""
    return Markup(re.sub(r"(?<=[._])(?=\w)", "<wbr>", str(escape(key))))


def write_page(
    lessons: Sequence[Lesson],
    path: Path,
    links: Mapping[str, str] | None = None,
    tunings: "Sequence[TuningStudies]" = (),
) -> None:
    """Writes the page to a file, atomically."""
    write_text(path, page(lessons, links, tunings))


def _tuning_sections(tunings: "Sequence[TuningStudies]") -> list[dict[str, Any]]:
    if not tunings:
        return []
    # Imports Optuna.
    from ablate.reports.tuning_section import tuning_section

    return [tuning_section(tuning, f"tuning-{number}") for number, tuning in enumerate(tunings, start=1)]


def _section(lesson: Lesson, anchor: str, links: Mapping[str, str]) -> dict[str, Any]:
    """The template's values of one lesson."""
    results, declaration = lesson.results, lesson.results.declaration
    scores, detail_scores = _scores(lesson)
    accounting, groups = accounting_table(lesson), note_groups(lesson)
    arms = [arm.label for arm in results.arms]
    return {
        "anchor": anchor,
        "name": declaration.name or results.grid.title,
        "question": question(lesson),
        "date": datetime.fromtimestamp(results.grid.created_at, UTC).strftime("%Y-%m-%d"),
        "arms": f"{len(arms)} arms: {listed(arms)}" if len(arms) > 1 else f"one arm: {arms[0]}",
        "grid_id": results.grid_id,
        "command": results.grid.command,
        "matched_on": declaration.matched_on.replace("_", " "),
        "primary": results.primary_metric,
        "direction": unit_and_direction(lesson, results.primary_metric),
        "effect": f"{declaration.smallest_effect:g}",
        "seeds": results.seeds,
        "declared_looks": declaration.looks,
        "cards": cards(lesson),
        "figures": _figures(lesson, anchor),
        "ladder": _ladder(lesson),
        "legend": curve_labels(lesson),
        "headers": headers(lesson)[1:],
        "scores": scores,
        "detail_scores": detail_scores,
        "flipped": flipped(lesson),
        "caveats": [_code_parts(note) for note in groups.get(CAVEATS, [])],
        "notes": {
            heading: [_code_parts(note) for note in of_group]
            for heading, of_group in groups.items()
            if heading not in (CAVEATS, METRICS)
        },
        "metrics": metric_meanings(lesson),
        "looks": [_look(look) for look in results.grid.looks],
        "differing": differing_fields(lesson),
        "accounting": [] if accounting.empty else [list(map(str, accounting.columns)), *accounting.to_numpy().tolist()],
        "provenance": _provenance(lesson),
        "trials": [
            (arm.label, seed, trial, str(results.records[trial].status), links.get(trial))
            for arm in results.arms
            for seed, trial in arm.trials.items()
        ],
    }


def _told_apart(lessons: Sequence[Lesson]) -> list[str]:
    """For each lesson whose question others share, the words of its command that not all of them have."""
    by_question: dict[str, list[set[str]]] = {}
    for lesson in lessons:
        by_question.setdefault(question(lesson), []).append(set(lesson.results.grid.command.split()))
    return [
        " ".join(
            word
            for word in lesson.results.grid.command.split()
            if word not in set.intersection(*by_question[question(lesson)])
        )
        for lesson in lessons
    ]


def _scores(lesson: Lesson) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table's rows by metric: of the headline metrics, and of all others."""
    groups: dict[str, list[Any]] = {}
    for row, (name, label, *numbers, _) in text_rows(lesson):
        groups.setdefault(name, []).append((label, [typographic(number) for number in numbers], row.verdict))
    scores: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for name, rows in groups.items():
        scores[not lesson.is_headline(name)].append(
            {"metric": name, "direction": unit_and_direction(lesson, name), "rows": rows}
        )
    return scores


def _code_parts(note: str) -> list[tuple[bool, str]]:
    """The parts of a sentence, and whether each stood between `backticks`."""
    parts = note.split("`")
    if len(parts) % 2 == 0:
        return [(False, note)]
    return [(place % 2 == 1, part) for place, part in enumerate(parts) if part]


def _look(look: LookRecord) -> dict[str, Any]:
    return {
        "seeds": look.seeds,
        "rows": [
            (each.name, signed(each.difference), interval(each.low, each.high), each.verdict)
            for each in look.comparisons
        ],
    }


def _ladder(lesson: Lesson) -> dict[str, Any] | None:
    """The title and the table of a declared ladder; None without one."""
    table = ladder_table(lesson)
    if table.empty:
        return None
    rows = [[typographic(str(cell)) for cell in row] for row in table.to_numpy()]
    return {"title": ladder_title(lesson), "rows": [list(map(str, table.columns)), *rows]}


def _provenance(lesson: Lesson) -> list[tuple[str, str]]:
    """Commits, versions and machines of the trials; where they differ, each value once."""
    values: dict[str, dict[str, dict[str, None]]] = {}
    for record in lesson.results.records.values():
        code = record.semantic.get("code_versions", {})
        of_trial: dict[str, Mapping[str, Any]] = {"commit": {}, "versions": {}, CODE: code, "machine": {}}
        if about := record.provenance:
            diff = f" with uncommitted changes ({about.git_diff})" if about.git_diff else ""
            of_trial["commit"] = {"": about.git_commit and about.git_commit + diff}
            of_trial["versions"] = {"ablate": about.ablate, "python": about.python, **about.versions}
            of_trial["machine"] = {"": about.machine}
        for kind, named in of_trial.items():
            for name, value in named.items():
                if value:
                    values.setdefault(kind, {}).setdefault(name, {})[str(value)] = None
    return [
        (kind, ", ".join(f"{name} {' and '.join(each)}".strip() for name, each in of_kind.items()))
        for kind, of_kind in values.items()
    ]


def _figures(lesson: Lesson, anchor: str) -> dict[str, list[dict[str, Any]]]:
    """The comparisons and the panels of curves, where there is something to draw."""
    figures: dict[str, list[dict[str, Any]]] = {"comparisons": [], "curves": [], "ladder": []}
    if (ladder := draw_ladder(lesson)) is not None:
        figures["ladder"].append(inline_svg(ladder, f"{anchor}-ladder", OF_ARMS))
    if count := len(lesson.comparisons):
        about = f"the first {MAX_ROWS} of {count}" if count > MAX_ROWS else ""
        svg = inline_svg(draw_forest(lesson, NARROW), f"{anchor}-comparisons", OF_VERDICTS)
        figures["comparisons"].append({"title": "Comparisons", "about": about, **svg})
    for number, (about, panel) in enumerate(curve_panels(lesson)):
        svg = inline_svg(panel, f"{anchor}-curves-{number}", OF_ARMS)
        figures["curves"].append({"title": about, "about": "", **svg})
    return figures
