"""What all figures share: colours, style, and files with the same bytes for the same results."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.files import replacing
from ablate.reports.wording import fold

# Okabe and Ito's palette, for readers with any colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LABEL_LINE, MAX_LABEL = 33, 90
INK, QUIET, LINE = "#1D2126", "#59626C", "#DCDFE2"
# No date and no random names.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def style() -> Iterator[None]:
    """Set the style of figures drawn and saved within: labels are text and never formulas, ids in SVG are stable."""
    with matplotlib.rc_context(
        {
            "font.size": 9.0,
            "text.color": INK,
            "text.parse_math": False,
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "svg.hashsalt": "ablate",
        }
    ):
        yield


def label_text(label: str, width: int = LABEL_LINE) -> str:
    """Fold a label, without the middle of a long one, to leave room for the axes."""
    if len(label) > MAX_LABEL:
        label = f"{label[: MAX_LABEL // 2]}…{label[-MAX_LABEL // 2 :]}"
    # Matplotlib's legends leave out labels that begin with an underscore.
    return "\n".join(fold(f" {label}" if label.startswith("_") else label, width))


def quiet_grid(axis: Axes) -> None:
    """Draw a light grid behind the data."""
    axis.grid(color=LINE, linewidth=0.6)
    axis.set_axisbelow(True)


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write `<name>.<format>` for each format, and return the paths."""
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        with style(), replacing(path) as scratch:
            figure.savefig(scratch, format=suffix, dpi=160, metadata=METADATA[suffix])
    return paths
