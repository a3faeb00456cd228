"""All lessons on one page that needs nothing else: no network, no script, no other file."""

import io
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from ablate.lessons.contrast import Contrast
from ablate.lessons.curves import draw_curves
from ablate.lessons.estimate import Comparison
from ablate.lessons.figure import COLOURS, METADATA, style
from ablate.lessons.forest import COLOUR_OF, draw_forest
from ablate.lessons.lesson import Lesson
from ablate.lessons.metric import metric
from ablate.lessons.prose import question
from ablate.lessons.table import accounting_table, lesson_table, notes
from ablate.lessons.verdict import Verdict
from ablate.records.files import write_text

TEMPLATE = Path(__file__).with_suffix(".html")
# What may stand before a word, and what stands in a word's place.
QUALIFIERS = ("stale", "interim", "post hoc", "exploratory")
GAPS = ("unstable", "missing")
# A card's drawing reaches at most so many smallest effects; an interval beyond it is an arrow.
MOST_REACH = 10
# Of arms, so many that a card names what its contrast is made of.
MOST_TERMS = 4

# Drawn in this colour, a line or word takes the colour of the page's text, light or dark.
INK = "#010203"
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
# Text stays text, in the page's own font, and a label is never a formula.
DRAWN: dict[str, Any] = {**dict.fromkeys(INKED, INK), "svg.fonttype": "none", "text.parse_math": False}
# The template has two values for each of these, one for a light page and one for a dark one.
OF_WORDS = {colour: f"var(--{word})" for word, colour in COLOUR_OF.items()} | {"#555555": "currentColor"}
OF_ARMS = {colour: f"var(--arm-{number})" for number, colour in enumerate(COLOURS)}


def page(lessons: Sequence[Lesson], links: Mapping[str, str] | None = None) -> str:
    """The page as HTML, the same bytes for the same lessons.

    Args:
        lessons: in the order in which they are shown.
        links: by trial, where its run can be looked at.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [_shown(found, f"lesson-{number}", links or {}) for number, found in enumerate(lessons, start=1)]
    return environment.get_template(TEMPLATE.name).render(lessons=shown)


def write_page(lessons: Sequence[Lesson], path: Path, links: Mapping[str, str] | None = None) -> None:
    """Writes the page to a file, atomically."""
    write_text(path, page(lessons, links))


def _shown(found: Lesson, anchor: str, links: Mapping[str, str]) -> dict[str, Any]:
    """What the template asks of one lesson."""
    results, declaration = found.results, found.results.declaration
    table = lesson_table(found)
    of_sources = table["metric"].str.contains("/") & ~table["metric"].isin(list(found.declared))
    return {
        "anchor": anchor,
        "name": declaration.get("name") or results.grid["title"],
        "question": question(found),
        "grid_id": results.grid_id,
        "command": results.grid["command"],
        "matched_on": declaration["matched_on"].replace("_", " "),
        "primary": results.primary_metric,
        "asks": _asks(results.primary_metric),
        "effect": f"{declaration['smallest_effect']:g}",
        "seeds": results.seeds,
        "declared_looks": " and ".join(map(str, declaration["looks"])),
        "cards": _cards(found),
        "figures": _figures(found, anchor),
        "headers": list(table.columns)[1:],
        "scores": _by_metric(table[~of_sources]),
        "scores_of_sources": _by_metric(table[of_sources]),
        "notes": [_with_code(note) for note in notes(found)],
        "looks": [_look(look) for look in results.grid.get("looks", [])],
        "differing": _differing(found),
        "accounting": _with_header(accounting_table(found)),
        "provenance": _provenance(found),
        "trials": [
            (arm.label, seed, trial, str(results.records[trial]["status"]), links.get(trial))
            for arm in results.arms
            for seed, trial in arm.trials.items()
        ],
    }


def _asks(name: str) -> str:
    return f"{metric(name).unit}, {'less' if metric(name).less_is_better else 'more'} is better"


def _told(word: str) -> dict[str, Any]:
    """A lesson's word in parts: `stale: interim: worse`, `unstable: ARM 1/5`, `missing, 0/5 done`."""
    tags = []
    while (qualifier := word.partition(": ")[0]) in QUALIFIERS:
        tags.append(qualifier)
        word = word.removeprefix(f"{qualifier}: ")
    for gap in GAPS:
        if word.startswith(gap):
            return {"word": gap, "kind": gap, "tags": [*tags, word.removeprefix(gap).lstrip(":, ")]}
    return {"word": word, "kind": word, "tags": tags}


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{_signed(low)}, {_signed(high)}]"


def _cards(found: Lesson) -> list[dict[str, Any]]:
    """A card per declared contrast; the drawings of one metric have one scale."""
    made = {comparison.contrast.name: comparison for comparison in found.comparisons}
    return [
        {
            "name": contrast.name,
            "terms": _terms(found, contrast),
            "metric": contrast.metric,
            "less_is_better": metric(contrast.metric).less_is_better,
            **_told(found.words[contrast.name]),
            **(_drawn(found, made[contrast.name]) if contrast.name in made else {"difference": None}),
        }
        for contrast in found.results.contrasts
    ]


def _terms(found: Lesson, contrast: Contrast) -> str:
    """What is compared, where the name does not say it."""
    if contrast.weights == {contrast.name: 1.0, found.results.baseline: -1.0}:
        return f"− {found.results.baseline}"
    if len(contrast.weights) > MOST_TERMS:
        return f"of {len(contrast.weights)} arms"
    terms = sorted(contrast.weights.items(), key=lambda term: term[1] < 0)
    sizes = ["" if abs(weight) == 1 else f"{abs(weight):.3g} × " for _, weight in terms]
    told = [f"{'−' if weight < 0 else '+'} {size}{arm}" for size, (arm, weight) in zip(sizes, terms, strict=True)]
    return " ".join(told).removeprefix("+ ")


def _drawn(found: Lesson, comparison: Comparison) -> dict[str, Any]:
    """A comparison's numbers, and its interval in percent of the drawing's width."""
    effect = found.results.declaration["smallest_effect"]
    beside = [one for one in found.comparisons if one.contrast.metric == comparison.contrast.metric]
    ends = [abs(end) for one in beside for end in (one.low, one.high, one.difference) if end is not None]
    reach = min(MOST_REACH * effect, 1.1 * max(1.5 * effect, *ends))

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / reach)), 2)

    low, high = comparison.low, comparison.high
    return {
        "difference": _signed(comparison.difference),
        "interval": _interval(low, high),
        "at": place(comparison.difference),
        "line": None if low is None or high is None else (place(low), round(place(high) - place(low), 2)),
        "band": (place(-effect), round(place(effect) - place(-effect), 2)),
        "beyond": 0 if abs(comparison.difference) <= reach else 1 if comparison.difference > 0 else -1,
    }


def _rows(table: pd.DataFrame) -> list[list[str]]:
    return [list(map(str, row)) for row in table.itertuples(index=False)]


def _with_header(table: pd.DataFrame) -> list[list[str]]:
    return [] if table.empty else [list(map(str, table.columns)), *_rows(table)]


def _by_metric(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of each metric: (arm or comparison, numbers, the word's kind, the word)."""
    groups: dict[str, list[Any]] = {}
    for name, arm, *numbers, word in _rows(table):
        signed = [number.replace("-", "−") for number in numbers]
        groups.setdefault(name, []).append((arm, signed, _told(word)["kind"], word))
    return [{"metric": name, "asks": _asks(name), "rows": rows} for name, rows in groups.items()]


def _with_code(note: str) -> list[tuple[bool, str]]:
    """The parts of a sentence, and whether each stood between `backticks`."""
    parts = note.split("`")
    if len(parts) % 2 == 0:
        return [(False, note)]
    return [(place % 2 == 1, part) for place, part in enumerate(parts) if part]


def _look(look: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seeds": look["seeds"],
        "rows": [
            (one["name"], _signed(one["difference"]), _interval(one["low"], one["high"]), one["verdict"])
            for one in look["comparisons"]
        ],
    }


def _differing(found: Lesson) -> list[list[str]]:
    """The fields in which arms differ, as a table; what is more, arms or fields, goes down.

    An arm none of whose trials has begun says only what was swept, and makes no field differ.
    """
    fields: dict[str, dict[str, str]] = {}
    begun = set()
    for arm in found.results.arms:
        records = [found.results.records[trial] for trial in arm.trials.values()]
        semantic = next((record["semantic"] for record in records if record.get("semantic")), {})
        if semantic:
            begun.add(arm.label)
        tasks = ", ".join(f"{share:.0%} {task}" for task, share in arm.tasks.items())
        fields[arm.label] = {**arm.options, "tasks": tasks, **_flat(semantic)}
    of_all = dict.fromkeys(key for given in fields.values() for key in given)
    for key in ("init_seed", "data_seed"):
        of_all.pop(key, None)
    rows = []
    for key in of_all:
        knows = {arm: given.get(key, "") for arm, given in fields.items() if key in given or arm in begun}
        if len(set(knows.values())) > 1:
            rows.append([key, *(knows.get(arm, "") for arm in fields)])
    if not rows:
        return []
    if len(rows) >= len(fields):
        return [["field", *fields], *rows]
    return [list(column) for column in zip(["arm", *fields], *rows, strict=True)]


def _flat(container: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """The leaves as text, by dotted key."""
    leaves: dict[str, str] = {}
    for key, value in container.items():
        if isinstance(value, Mapping) and value:
            leaves |= _flat(value, f"{above}{key}.")
        else:
            leaves[f"{above}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return leaves


def _provenance(found: Lesson) -> list[tuple[str, list[str]]]:
    """Commits, versions and machines of the trials, each once, in the order of the trials."""
    known: dict[str, dict[str, None]] = {}
    for record in found.results.records.values():
        about = record.get("provenance") or {}
        commit = about.get("git_commit")
        if commit and about.get("git_diff"):
            commit = f"{commit} with uncommitted changes ({about['git_diff']})"
        told = {name: about.get(name) for name in ("ablate", "python", "machine")}
        code = _flat((record.get("semantic") or {}).get("code_versions", {}), "code of ")
        for name, value in {"commit": commit, **told, **about.get("versions", {}), **code}.items():
            if value:
                known.setdefault(name, {})[str(value)] = None
    return [(name, list(values)) for name, values in known.items()]


def _figures(found: Lesson, anchor: str) -> list[dict[str, Any]]:
    """The comparisons and the curves, as far as there is something to draw."""
    shown = []
    with matplotlib.rc_context(DRAWN), warnings.catch_warnings():
        # Before a trial's first log there is no curve and so no legend.
        warnings.filterwarnings("ignore", "No artists with labels")
        if found.comparisons:
            shown.append(_inline(draw_forest(found), "Comparisons", f"{anchor}-comparisons-", OF_WORDS))
        curves = draw_curves(found)
        if any(axis.lines for axis in curves.axes):
            shown.append(_inline(curves, "Curves", f"{anchor}-curves-", OF_ARMS))
    return shown


def _inline(figure: Figure, title: str, names: str, paints: Mapping[str, str]) -> dict[str, Any]:
    """What is inside of a figure's SVG, for a page that has others, and its size in points."""
    file = io.StringIO()
    with style():
        figure.savefig(file, format="svg", transparent=True, metadata=METADATA["svg"])
    text = re.sub(r"<metadata>.*?</metadata>|<style\b.*?</style>", "", file.getvalue(), flags=re.DOTALL)
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    # Tags alone: a label may have any text.
    content = re.sub(r"<[^>]*>", lambda tag: _of_page(tag[0], names, {INK: "currentColor", **paints}.items()), inside)
    width, height = (round(72 * inches, 2) for inches in figure.get_size_inches())
    return {"title": title, "width": width, "height": height, "content": re.sub(r"\n\s*", "\n", content)}


def _of_page(tag: str, names: str, paints: Iterable[tuple[str, str]]) -> str:
    """A tag of a figure with names that no other figure has, in the page's font and colours."""
    # Nothing refers to a group.
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\bid="', f'id="{names}', tag)
    tag = re.sub(r'(xlink:href="|url\()#', lambda to: f"{to[1].removeprefix('xlink:')}#{names}", tag)
    tag = re.sub(r" font-family: [^;]*;", "", tag)
    for colour, paint in paints:
        tag = re.sub(colour, paint, tag, flags=re.IGNORECASE)
    return tag
