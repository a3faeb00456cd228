"""Figures as SVG elements of an HTML page, in the page's font and colours."""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ablate.reports.figure import COLOURS, INK, LINE, METADATA, QUIET, style
from ablate.reports.forest import COLOUR_OF

# A page has a light and a dark palette, so colours become its variables.
NEUTRAL = {INK: "currentColor", QUIET: "var(--quiet)", LINE: "var(--line)"}
OF_VERDICTS = NEUTRAL | {colour: f"var(--{verdict})" for verdict, colour in COLOUR_OF.items()}
# Optuna's colours: tab10, shades of blue and grey, and the inks of matplotlib and ggplot.
OF_STUDIES = NEUTRAL | {
    "#1f77b4": "var(--arm-0)",
    "#d62728": "var(--arm-1)",
    "#cccccc": "var(--line)",
    "#555555": "currentColor",
    "#000000": "currentColor",
    "#3182bd": "var(--arm-0)",
    "#808080": "var(--quiet)",
}
OF_ARMS = NEUTRAL | {colour: f"var(--arm-{number})" for number, colour in enumerate(COLOURS)}


def inline_svg(figure: Figure, prefix: str, paints: Mapping[str, str], **saving: Any) -> dict[str, Any]:
    """The figure's SVG content, with `width` and `height` in points.

    Args:
        figure: drawn within `style`; its text stays text.
        prefix: of its ids, which no other figure of the page has.
        paints: colour → CSS paint.
        saving: passed to `Figure.savefig`.
    """
    file = io.StringIO()
    with style(), matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata=METADATA["svg"], **saving)
    text = re.sub(r"<metadata>.*?</metadata>|<style\b.*?</style>", "", file.getvalue(), flags=re.DOTALL)
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    # Only tags change: a label may have any text.
    content = re.sub(r"<[^>]*>", lambda tag: _page_tag(tag[0], prefix, paints), inside)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size
    width, height = (round(float(points), 2) for points in size.groups())
    return {"width": width, "height": height, "content": re.sub(r"\n\s*", "\n", content)}


def _page_tag(tag: str, prefix: str, paints: Mapping[str, str]) -> str:
    # Nothing refers to a group.
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\bid="', f'id="{prefix}-', tag)
    tag = re.sub(r'(?:xlink:)?(href="|url\()#', rf"\1#{prefix}-", tag)
    tag = re.sub(r" font-family: [^;]*;", "", tag)
    for colour, paint in paints.items():
        tag = tag.replace(colour.lower(), paint)
    return tag
