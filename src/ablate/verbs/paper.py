"""`paper`: every table and figure of every named lesson, from the logs alone."""

from pathlib import Path

import yaml

from ablate.console import make_console, say
from ablate.errors import UsageError
from ablate.records.archive import write_archive
from ablate.records.provenance import commit_of
from ablate.reports.paper import newest_by_name, write_paper
from ablate.verbs.arguments import Arguments
from ablate.verbs.table import PROGRAM

OUT, PUBLISHED = "analysis/out", "analysis/codegen2.yaml"


def main(arguments: Arguments) -> int:
    """Write tables, figures, an index, a manifest, and the logs for `archive=DIR`. Raises UsageError, LedgerError."""
    logs = arguments.logs
    lessons = newest_by_name(logs)
    if not lessons:
        raise UsageError(
            f"{logs.where}: no named lesson was run here. Run one: {PROGRAM} experiment=lesson2_infill, or any "
            "grid with lesson.name=…"
        )
    problems = logs.problems
    if folder := arguments.settings.get("archive"):
        logs = write_archive(logs, [results.grid for results in lessons.values()], Path(folder).expanduser())
    path = Path(arguments.settings.get("published", PUBLISHED)).expanduser()
    if "published" in arguments.settings and not path.exists():
        raise UsageError(f"published={path}: no such file.")
    published = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else []
    out = Path(arguments.settings.get("out", OUT)).expanduser()
    paper = write_paper(logs, published, out, commit_of(Path(__file__)))
    console = make_console()
    for name, lesson in paper.lessons.items():
        say(console, f"{name}: " + "; ".join(f"{metric} {verdict}" for metric, verdict in lesson.verdicts.items()))
    for name, reason in paper.gaps.items():
        say(console, f"{name}: no lesson. {reason}")
    for problem in problems:
        say(console, f"• {problem}")
    say(console, f"Written: {out}/paper.md, tables/, figures/, manifest.json")
    return 1 if paper.gaps else 0
