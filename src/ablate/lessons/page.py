"""All lessons on one page that needs nothing else: no network, no script, no other file."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from ablate.lessons.curves import draw_curves
from ablate.lessons.figure import METADATA, style
from ablate.lessons.forest import draw_forest
from ablate.lessons.lesson import Lesson
from ablate.lessons.metric import metric
from ablate.lessons.prose import question
from ablate.lessons.table import accounting_table, lesson_table, notes
from ablate.records.files import write_text

TEMPLATE = Path(__file__).with_suffix(".html")
# Drawn in this colour, a line or word takes the colour of the page's text, light or dark.
INK = "#010203"
INKED = (
    "text.color",
    "axes.labelcolor",
    "axes.edgecolor",
    "xtick.color",
    "ytick.color",
    "grid.color",
    "legend.labelcolor",
)


def page(lessons: Sequence[Lesson], links: Mapping[str, str] | None = None) -> str:
    """The page as HTML, the same bytes for the same lessons.

    Args:
        lessons: in the order in which they are shown.
        links: by trial, where its run can be looked at.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = [_shown(found, f"lesson-{number}", links or {}) for number, found in enumerate(lessons, start=1)]
    return environment.get_template(TEMPLATE.name).render(lessons=shown)


def write_page(lessons: Sequence[Lesson], path: Path, links: Mapping[str, str] | None = None) -> None:
    """Writes the page to a file, atomically."""
    write_text(path, page(lessons, links))


def _shown(found: Lesson, anchor: str, links: Mapping[str, str]) -> dict[str, Any]:
    """What the template asks of one lesson."""
    results, declaration = found.results, found.results.declaration
    primary = metric(results.primary_metric)
    with matplotlib.rc_context(dict.fromkeys(INKED, INK)):  # type: ignore[arg-type]
        figures = [draw_forest(found)] if found.comparisons else []
        figures.append(draw_curves(found))
    table = lesson_table(found)
    declared = table["metric"].isin(list(found.declared))
    return {
        "anchor": anchor,
        "name": declaration.get("name") or results.grid["title"],
        "question": question(found),
        "grid_id": results.grid_id,
        "command": results.grid["command"],
        "matched_on": declaration["matched_on"].replace("_", " "),
        "primary": results.primary_metric,
        "unit": primary.unit,
        "better": "less" if primary.less_is_better else "more",
        "effect": declaration["smallest_effect"],
        "confidence": f"{declaration['confidence']:.0%}",
        "cards": _cards(found),
        "scores": _rows(table[declared] if declared.any() else table),
        "other_scores": _rows(table[~declared]) if declared.any() else [],
        "headers": list(table.columns),
        "figures": [_svg(figure) for figure in figures],
        "differing": _differing(found),
        "accounting": _with_header(accounting_table(found)),
        "looks": results.grid.get("looks", []),
        "notes": notes(found),
        "trials": [(arm.label, [(seed, t, links.get(t)) for seed, t in arm.trials.items()]) for arm in results.arms],
        "provenance": _provenance(found),
    }


def _rows(table: Any) -> list[list[str]]:
    return [list(map(str, row)) for row in table.itertuples(index=False)]


def _with_header(table: Any) -> list[list[str]]:
    return [list(map(str, table.columns)), *_rows(table)]


def _cards(found: Lesson) -> list[dict[str, Any]]:
    """A card per declared contrast, with its interval as shares of a scale that all of them have."""
    made = {comparison.contrast.name: comparison for comparison in found.comparisons}
    effect = found.results.declaration["smallest_effect"]
    reach = 1.15 * max(
        [effect, *(abs(end) for one in made.values() for end in (one.low, one.high, one.difference) if end is not None)]
    )

    def place(value: float | None) -> float | None:
        return None if value is None else round(50 + 50 * value / reach, 2)

    cards = []
    for contrast in found.results.contrasts:
        *tags, word = found.words[contrast.name].split(": ")
        one = made.get(contrast.name)
        cards.append(
            {
                "name": contrast.name,
                "is_arm": any(arm.label == contrast.name for arm in found.results.arms),
                "metric": contrast.metric,
                "word": word,
                "kind": word.split(" ")[0].strip(",:"),
                "tags": tags,
                "difference": None if one is None else f"{one.difference:+.4f}",
                "interval": None if one is None or one.low is None else f"[{one.low:+.4f}, {one.high:+.4f}]",
                "at": place(one.difference if one else None),
                "low": place(one.low if one else None),
                "high": place(one.high if one else None),
                "band": (place(-effect), place(effect)),
            }
        )
    return cards


def _differing(found: Lesson) -> list[list[str]]:
    """The fields of the trials' configurations in which arms differ, a row per field; the first row names the arms."""
    records = found.results.records
    fields = {}
    for arm in found.results.arms:
        first = next(iter(arm.trials.values()))
        fields[arm.label] = {**arm.options, **_flat(records[first].get("semantic", {}))}
    keys = sorted({key for given in fields.values() for key in given} - {"init_seed", "data_seed"})
    differing = [key for key in keys if len({str(given.get(key)) for given in fields.values()}) > 1]
    if not differing:
        return []
    rows = [[key, *(_short(given.get(key, "")) for given in fields.values())] for key in differing]
    return [["field", *fields], *rows]


def _flat(container: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in container.items():
        leaves |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return leaves


def _short(value: Any, most: int = 80) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _provenance(found: Lesson) -> list[tuple[str, str]]:
    """Commits, versions and machines of the trials, each once."""
    known: dict[str, dict[str, None]] = {}
    for record in found.results.records.values():
        about = record.get("provenance", {})
        given = {"commit": about.get("git_commit"), "python": about.get("python"), "machine": about.get("machine")}
        for name, value in {**given, **about.get("versions", {})}.items():
            if value:
                known.setdefault(name, {})[str(value)] = None
    return [(name, ", ".join(values)) for name, values in known.items()]


def _svg(figure: Figure) -> str:
    """The figure as SVG for a page: transparent, in the page's ink, as wide as there is room."""
    file = io.StringIO()
    with style():
        figure.savefig(file, format="svg", transparent=True, metadata=METADATA["svg"])
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Names like axes_1 would be there once for each figure of the page; nothing refers to them.
    text = re.sub(r' id="[a-z0-9]+_\d+"', "", text)
    width, height = (int(float(found)) for found in re.findall(r'(?:width|height)="([\d.]+)pt"', text)[:2])
    return re.sub(
        r' width="[\d.]+pt" height="[\d.]+pt"|(?<=<svg) (?:width|height)="[\d.]+pt"', "", text, count=1
    ).replace("<svg", f'<svg role="img" data-size="{width}x{height}"', 1)
