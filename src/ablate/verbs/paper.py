"""`paper`: every table and figure of every named lesson, from the logs alone."""

from pathlib import Path

import yaml

from ablate.console import make_console
from ablate.errors import UsageError
from ablate.records.archive import write_archive
from ablate.records.provenance import commit_of
from ablate.reports.paper import newest_by_name, write_paper
from ablate.verbs import sources
from ablate.verbs.arguments import Arguments

OUT, PUBLISHED = "analysis/out", "analysis/codegen2.yaml"


def main(arguments: Arguments) -> int:
    """Write tables, figures, an index and a manifest; with `archive=DIR` also the compact logs that they need.

    Raises:
        UsageError: no named lesson, or no file of published results.
        LedgerError: logs that cannot be read.
    """
    logs = sources.logs_of(arguments)
    lessons = newest_by_name(logs)
    if not lessons:
        raise UsageError(
            f"{logs.where}: no named lesson was run here. Run one: ablate experiment=lesson2_infill, or any grid "
            "with lesson.name=…"
        )
    if folder := arguments.settings.get("archive"):
        logs = write_archive(logs, [results.grid for results in lessons.values()], Path(folder).expanduser())
    path = Path(arguments.settings.get("published", PUBLISHED)).expanduser()
    if "published" in arguments.settings and not path.exists():
        raise UsageError(f"published={path}: no such file.")
    published = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else []
    out = Path(arguments.settings.get("out", OUT)).expanduser()
    paper = write_paper(logs, published, out, commit_of(Path(__file__)))
    console = make_console()
    for name, found in paper.lessons.items():
        console.print(f"[bold]{name}[/]: " + "; ".join(f"{name} {verdict}" for name, verdict in found.verdicts.items()))
    for name, why in paper.gaps.items():
        console.print(f"{name}: no lesson. {why}", markup=False, soft_wrap=True)
    for problem in getattr(logs, "problems", []):
        console.print(f"• {problem}", markup=False, soft_wrap=True)
    console.print(f"Written: {out}/paper.md, tables/, figures/, manifest.json", highlight=False, soft_wrap=True)
    return 1 if paper.gaps else 0
