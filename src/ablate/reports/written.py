"""A table of text as Markdown, LaTeX (booktabs) and CSV."""

from pathlib import Path

import pandas as pd

from ablate.files import write_text

FORMATS = ("md", "tex", "csv")


def markdown_table(table: pd.DataFrame, numbers_from: int) -> str:
    """Return a GitHub table. Columns from `numbers_from` on are right-aligned, except for a verdict."""
    names = list(map(str, table.columns))
    rules = ["---:" if place >= numbers_from and name != "verdict" else "---" for place, name in enumerate(names)]
    rows = [names, rules, *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def latex_table(table: pd.DataFrame) -> str:
    """Return a `tabular` with booktabs' rules."""
    styled = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    return (
        str(styled.to_latex(hrules=True, column_format="l" * table.shape[1]))
        .replace("−", "$-$")
        .replace("×", r"$\times$")
    )


def write_table(table: pd.DataFrame, folder: Path, name: str, numbers_from: int) -> list[Path]:
    """Write `<name>.md`, `.tex` and `.csv`, and return the paths."""
    texts = {
        "md": markdown_table(table, numbers_from) + "\n",
        "tex": latex_table(table),
        "csv": table.to_csv(index=False),
    }
    paths = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    for path, suffix in zip(paths, FORMATS, strict=True):
        write_text(path, texts[suffix])
    return paths
