"""What all figures share: colours, style, and files with the same bytes for the same results."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.files import replacing

# Okabe and Ito's palette, for readers with any colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LABEL_LINE, MAX_LABEL = 34, 90
# No date and no random names.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def style() -> Iterator[None]:
    """Set the style of figures drawn and saved within, with stable ids in SVG."""
    with matplotlib.rc_context(
        {
            "font.size": 9.0,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "ablate",
            # An arm may be called $a_b$.
            "text.parse_math": False,
        }
    ):
        yield


def label_text(label: str) -> str:
    """Wrap a label, without the middle of a long one, to leave room for the axes."""
    if len(label) > MAX_LABEL:
        label = f"{label[: MAX_LABEL // 2]}…{label[-MAX_LABEL // 2 :]}"
    # Matplotlib's legends leave out labels that begin with an underscore.
    shown = f" {label}" if label.startswith("_") else label
    return "\n".join(textwrap.wrap(shown, LABEL_LINE, drop_whitespace=not shown.startswith(" ")) or [shown])


def quiet_grid(axis: Axes) -> None:
    """Draw a light grid behind the data."""
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write `<name>.<format>` for each format, and return the paths."""
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        with style(), replacing(path) as scratch:
            figure.savefig(scratch, format=suffix, dpi=160, metadata=METADATA[suffix])
    return paths
