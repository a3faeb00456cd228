"""`paper`: every table and figure of every named lesson, from the logs alone."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from ablate.console import make_console
from ablate.errors import UsageError
from ablate.records.archive import write_archive
from ablate.records.provenance import commit_of
from ablate.reports.paper import newest_by_name, write_paper
from ablate.verbs import sources
from ablate.verbs.arguments import Arguments

OPTIONS = (*sources.OPTIONS, "out", "archive", "published")
DATA, OUT, PUBLISHED = "analysis/data", "analysis/out", "analysis/codegen2.yaml"


def main(arguments: Sequence[str]) -> int:
    """Writes tables, figures, an index and a manifest; with `archive=DIR` also the compact logs that they need.

    Raises:
        UsageError: nothing that this verb knows, or no named lesson.
        LedgerError: nothing that can be read.
    """
    takes = (
        f"{sources.TAKES}, out=DIR ({OUT}), archive=DIR (keeps the compact logs there), published=FILE (what another "
        f"paper shows; {PUBLISHED})"
    )
    given = Arguments.of("paper", arguments, {}, takes, OPTIONS, runs_dir=DATA)
    if given.names:
        raise UsageError(f"paper {given.names[0]}: takes {takes}.")
    logs = sources.logs_of(given)
    lessons = newest_by_name(logs)
    if not lessons:
        raise UsageError(
            f"{logs.where}: no named lesson was run here. Run one: python -m ablate experiment=lesson2_infill, or any "
            "grid with lesson.name=…"
        )
    if folder := given.options.get("archive"):
        logs = write_archive(logs, [results.grid for results in lessons.values()], Path(folder).expanduser())
    path = Path(given.options.get("published", PUBLISHED)).expanduser()
    if "published" in given.options and not path.exists():
        raise UsageError(f"published={path}: no such file.")
    published = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else []
    out = Path(given.options.get("out", OUT)).expanduser()
    paper = write_paper(logs, published, out, commit_of(Path(__file__)))
    console = make_console()
    for name, found in paper.lessons.items():
        console.print(f"[bold]{name}[/]: " + "; ".join(f"{name} {word}" for name, word in found.words.items()))
    for name, why in paper.gaps.items():
        console.print(f"{name}: no lesson. {why}", markup=False, soft_wrap=True)
    for problem in getattr(logs, "problems", []):
        console.print(f"• {problem}", markup=False, soft_wrap=True)
    console.print(f"Written: {out}/paper.md, tables/, figures/, manifest.json", highlight=False, soft_wrap=True)
    return 1 if paper.gaps else 0
