"""A table of text as Markdown, LaTeX (booktabs) and CSV."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ablate.files import write_text

LABEL = r">{\raggedright\arraybackslash}X"
LATEX = {
    **{character: f"\\{character}" for character in "&%$#{}"},
    "_": r"\_\allowbreak{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}


def markdown_table(table: pd.DataFrame, numbers_from: int) -> str:
    """Return a GitHub table. Columns from `numbers_from` on are right-aligned, except for a verdict."""
    names = list(map(str, table.columns))
    rules = ["---:" if is_number else "---" for is_number in _are_numbers(table, numbers_from)]
    rows = [names, rules, *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def latex_text(text: str) -> str:
    """The text with LaTeX's special characters escaped, and true minus signs before numbers."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.}-])-(?=\d)", "$-$", escaped)


def latex_table(table: pd.DataFrame, formats: Sequence[str], note: str) -> str:
    """Return a table as wide as the line, with booktabs' rules. A long header is broken at its spaces.

    Args:
        table: text.
        formats: of the columns; at least one is a label (`LABEL`), which takes what the others leave and is wrapped.
        note: a comment at the top of the file.
    """
    names = zip(map(str, table.columns), formats, strict=True)
    header = [_latex_header(name, each) for name, each in names]
    rows = [[latex_text(str(cell)) for cell in cells] for cells in table.to_numpy()]
    lines = [" & ".join(cells) + r" \\" for cells in (header, *rows)]
    return "\n".join(
        [
            f"% {note}",
            r"% Needs \usepackage{booktabs,tabularx,array}.",
            r"{\footnotesize\setlength{\tabcolsep}{4pt}\noindent%",
            rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}{''.join(formats)}@{{}}}}",
            *(r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"),
            "\\end{tabularx}}\n",
        ]
    )


def _latex_header(name: str, column: str) -> str:
    if " " not in name or column == LABEL:
        return latex_text(name)
    lines = latex_text(name).replace(" ", r" \\ ")
    return rf"\shortstack[{column[0] if column in ('l', 'r') else 'l'}]{{{lines}}}"


def _wide_table(table: pd.DataFrame, numbers_from: int) -> str:
    formats = ["r" if is_number else LABEL for is_number in _are_numbers(table, numbers_from)]
    return latex_table(table, formats, "Put it into table*, the width of the page.")


def _are_numbers(table: pd.DataFrame, numbers_from: int) -> list[bool]:
    return [place >= numbers_from and name != "verdict" for place, name in enumerate(map(str, table.columns))]


def write_table(
    table: pd.DataFrame, folder: Path, name: str, numbers_from: int, latex: Mapping[str, str] | None = None
) -> list[Path]:
    """Write `<name>.md`, `.csv` and `.tex`, and return the paths.

    Args:
        table: text.
        folder: of the files.
        name: of the files.
        numbers_from: the first column of numbers.
        latex: name → text of the LaTeX files, where they are not the same table.
    """
    texts = {
        f"{name}.md": markdown_table(table, numbers_from) + "\n",
        f"{name}.csv": table.to_csv(index=False),
        **{f"{each}.tex": text for each, text in (latex or {name: _wide_table(table, numbers_from)}).items()},
    }
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]
