"""All lessons on one page that needs nothing else: no network, no script, no other file."""

import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from ablate.files import write_text
from ablate.lessons.contrast import Contrast
from ablate.lessons.estimate import Comparison
from ablate.lessons.lesson import Lesson
from ablate.lessons.metric import metric
from ablate.reports.curves import draw_curves
from ablate.reports.figure import COLOURS, METADATA, style
from ablate.reports.forest import COLOUR_OF, MOST_ROWS, draw_forest
from ablate.reports.prose import question
from ablate.reports.table import accounting_table, lesson_table, notes

if TYPE_CHECKING:
    import optuna

TEMPLATE = Path(__file__).with_suffix(".html")
# What may stand before a word, and what stands in a word's place.
QUALIFIERS = ("stale", "interim", "post hoc", "exploratory")
GAPS = ("unstable", "missing")
# A card's drawing reaches at most so many smallest effects; an interval beyond it is an arrow.
MOST_REACH = 10
# Of arms, so many that a card names what its contrast is made of.
MOST_TERMS = 4
# Of a front, so many rows.
MOST_BEST = 20

# Figures are drawn in colours that stand for those of the page, which has two of each, for light and for dark.
INK, GRID = "#010203", "#010204"
NEUTRAL = {INK: "currentColor", GRID: "var(--grid)", "#555555": "currentColor"}
OF_WORDS = NEUTRAL | {colour: f"var(--{word})" for word, colour in COLOUR_OF.items()}
OF_ARMS = NEUTRAL | {colour: f"var(--arm-{number})" for number, colour in enumerate(COLOURS)}


@dataclass(frozen=True)
class Sweep:
    """A sweep as its record has it, and its studies by arm, those that can be read."""

    record: Mapping[str, Any]
    studies: "Mapping[str, optuna.Study]"


def page(lessons: Sequence[Lesson], links: Mapping[str, str] | None = None, sweeps: Sequence[Sweep] = ()) -> str:
    """The page as HTML, the same bytes for the same lessons.

    Args:
        lessons: in the order in which they are shown.
        links: by trial, where its run can be looked at.
        sweeps: behind the lessons.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [_shown(found, f"lesson-{number}", links or {}) for number, found in enumerate(lessons, start=1)]
    tuned = [_shown_sweep(sweep, f"sweep-{number}") for number, sweep in enumerate(sweeps, start=1)]
    return environment.get_template(TEMPLATE.name).render(lessons=shown, sweeps=tuned)


def write_page(
    lessons: Sequence[Lesson],
    path: Path,
    links: Mapping[str, str] | None = None,
    sweeps: Sequence[Sweep] = (),
) -> None:
    """Writes the page to a file, atomically."""
    write_text(path, page(lessons, links, sweeps))


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
        "declared_looks": declaration["looks"],
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
            share = word.removeprefix(gap).lstrip(":, ")
            return {"word": gap, "kind": gap, "tags": [*tags, f"{share} diverged" if gap == "unstable" else share]}
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
        return round(50 + 50 * max(-1.0, min(1.0, value / float(reach))), 2)

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
    """The rows of each metric that say something: (arm or comparison, numbers, the word's kind, the word)."""
    groups: dict[str, list[Any]] = {}
    for name, arm, *numbers, word in _rows(table):
        if word or any(numbers):
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

    An arm none of whose trials has begun says only what was swept, and makes no other field differ.
    """
    fields: dict[str, dict[str, str]] = {}
    begun = set()
    swept = {key for arm in found.results.arms for key in arm.options}
    for arm in found.results.arms:
        records = [found.results.records[trial] for trial in arm.trials.values()]
        semantic: dict[str, Any] = next((record["semantic"] for record in records if record.get("semantic")), {})
        if semantic:
            begun.add(arm.label)
        tasks = ", ".join(f"{share:.0%} {task}" for task, share in arm.tasks.items())
        canonical = {f"{key}, in full" if key in swept else key: value for key, value in _flat(semantic).items()}
        fields[arm.label] = {**arm.options, "tasks": tasks, **canonical}
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


def _provenance(found: Lesson) -> list[tuple[str, str]]:
    """Commits, versions and machines of the trials; of what is not the same for all of them, each value once."""
    known: dict[str, dict[str, dict[str, None]]] = {}
    for record in found.results.records.values():
        about = record.get("provenance") or {}
        commit = about.get("git_commit")
        if commit and about.get("git_diff"):
            commit = f"{commit} with uncommitted changes ({about['git_diff']})"
        versions = {**{name: about.get(name) for name in ("ablate", "python")}, **about.get("versions", {})}
        code = (record.get("semantic") or {}).get("code_versions", {})
        told = {"commit": {"": commit}, "versions": versions, "code": code, "machine": {"": about.get("machine")}}
        for kind, values in told.items():
            for name, value in values.items():
                if value:
                    known.setdefault(kind, {}).setdefault(name, {})[str(value)] = None
    return [
        (kind, ", ".join(f"{name} {' and '.join(values)}".strip() for name, values in of_kind.items()))
        for kind, of_kind in known.items()
    ]


def _figures(found: Lesson, anchor: str) -> list[dict[str, Any]]:
    """The comparisons and the curves, as far as there is something to draw."""
    shown = []
    with warnings.catch_warnings(), _page_style():
        # Before a trial's first log there is no curve and so no legend.
        warnings.filterwarnings("ignore", "No artists with labels")
        if made := len(found.comparisons):
            about = f"the first {MOST_ROWS} of {made}" if made > MOST_ROWS else ""
            drawn = _inline(draw_forest(found), f"{anchor}-comparisons", OF_WORDS)
            shown.append({"title": "Comparisons", "about": about, **drawn})
        curves = draw_curves(found)
        if any(axis.lines for axis in curves.axes):
            shown.append({"title": "Curves", "about": "", **_inline(curves, f"{anchor}-curves", OF_ARMS)})
    return shown


def _shown_sweep(sweep: Sweep, anchor: str) -> dict[str, Any]:
    """What the template asks of one sweep."""
    # Imports Optuna, which a page without sweeps needs not.
    from ablate.reports.study_figures import study_figures

    record, shown = sweep.record, []
    for place, (arm, study) in enumerate(sweep.studies.items()):
        with _page_style():
            figures = list(study_figures(study, record["metrics"]))
        for number, (title, figure) in enumerate(figures):
            names = f"{anchor}-{place}-{number}"
            about = arm if len(sweep.studies) > 1 else ""
            shown.append({"title": title, "about": about, **_inline(figure, names, NEUTRAL, bbox_inches="tight")})
    keys = list(dict.fromkeys(key for study in sweep.studies.values() for key in _tried_keys(study)))
    rows = [row for arm, study in sweep.studies.items() for row in _best_rows(arm, study, keys)]
    return {
        "anchor": anchor,
        "sweep_id": record["sweep_id"],
        "command": record["command"],
        "tuned": ", ".join(record["space"]),
        "metrics": ", ".join(record["metrics"]),
        "n_trials": record["n_trials"],
        "sampler": record["sampler"],
        "pruner": record["pruner"],
        "storage": record["storage"],
        "best": [["arm", *keys, *record["metrics"], "trial", "trained", "pruned", "failed"], *rows] if rows else [],
        "figures": shown,
    }


def _tried_keys(study: "optuna.Study") -> Iterator[str]:
    for trial in study.get_trials(deepcopy=False):
        yield from trial.user_attrs.get("values", {})


def _best_rows(arm: str, study: "optuna.Study", keys: Sequence[str]) -> Iterator[list[str]]:
    """A row per trial that is best, of which there are several where there are several metrics."""
    names = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    ended = [str(names.count(state)) for state in ("COMPLETE", "PRUNED", "FAIL")]
    best = sorted(study.best_trials, key=lambda one: one.values) if "COMPLETE" in names else []
    for place, trial in enumerate(best[:MOST_BEST]):
        values = trial.user_attrs.get("values", {})
        told = (values.get(key, "") for key in keys)
        yield [
            arm if place == 0 else "",
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in told),
            *(f"{value:.5g}" for value in trial.values),
            str(trial.user_attrs.get("trial_id", "")),
            *(ended if place == 0 else [""] * len(ended)),
        ]


def _page_style() -> AbstractContextManager[None]:
    """In the page's colours; text stays text, and a label is never a formula."""
    return matplotlib.rc_context(
        {
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": GRID,
            "svg.fonttype": "none",
            "text.parse_math": False,
        }
    )


def _inline(figure: Figure, names: str, paints: Mapping[str, str], **saving: Any) -> dict[str, Any]:
    """What is inside of a figure's SVG, for a page that has others, and its size in points."""
    file = io.StringIO()
    with style():
        figure.savefig(file, format="svg", transparent=True, metadata=METADATA["svg"], **saving)
    text = re.sub(r"<metadata>.*?</metadata>|<style\b.*?</style>", "", file.getvalue(), flags=re.DOTALL)
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    # Tags alone: a label may have any text.
    content = re.sub(r"<[^>]*>", lambda tag: _of_page(tag[0], names, paints), inside)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size
    width, height = (round(float(points), 2) for points in size.groups())
    return {"width": width, "height": height, "content": re.sub(r"\n\s*", "\n", content)}


def _of_page(tag: str, names: str, paints: Mapping[str, str]) -> str:
    """A tag of a figure with names that no other figure has, in the page's font and colours."""
    # Nothing refers to a group.
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\bid="', f'id="{names}-', tag)
    tag = re.sub(r'(?:xlink:)?(href="|url\()#', rf"\1#{names}-", tag)
    tag = re.sub(r" font-family: [^;]*;", "", tag)
    for colour, paint in paints.items():
        tag = tag.replace(colour.lower(), paint)
    return tag
