"""Write the demo's page, figures and README table from a ledger: python docs/demo_page.py [RUNS_DIR [REMARK]].

REMARK is a sentence about the run that no record has, such as what else the machine did.
"""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import GridRecord
from ablate.records.logs import Logs
from ablate.records.open_logs import open_logs
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.forest import draw_forest
from ablate.reports.notes import METRICS, note_groups
from ablate.reports.table import accounting_table, headline_table, lesson_table
from ablate.reports.written import markdown_table

DOCS = Path(__file__).parent
COMMAND = "python -m ablate -m objective=causal,prefix,mixed replicates=3"
MARKED = re.compile(r"(<!-- demo -->\n).*?(\n<!-- /demo -->)", re.DOTALL)


def page(lesson: Lesson, remark: str) -> str:
    """The lesson's headline metrics, what it cost, and where it ran."""
    headlines = [metric for metric in lesson.metrics if lesson.is_headline(metric)]
    details = len(lesson.metrics) - len(headlines)
    sentences = [
        *(sentence for heading, group in note_groups(lesson).items() if heading != METRICS for sentence in group),
        *(f"`{metric}`: {lesson.results.metric(metric).meaning}" for metric in headlines),
    ]
    table = headline_table(lesson)
    table = table.assign(verdict=[f"**{verdict}**" if verdict else "" for verdict in table["verdict"]])
    return f"""# The demo's lesson

<!-- Written by `python docs/demo_page.py`. Do not edit. -->

`make demo` trains three objectives × three seeds of a 1.4M-parameter decoder: nine trials. This is its lesson,
written from its ledger by `python docs/demo_page.py runs`. The `lesson.csv` of the grid has {details} more metrics, of
single sources and parts of the text. The last decimals differ between machines, because other processors and thread
counts add floating-point numbers in another order.

{markdown_table(table, numbers_from=2)}

{chr(10).join(f"- {sentence}" for sentence in sentences)}

![Each arm's difference to the baseline with its interval, beside the smallest effect that matters](demo-forest.png)

## What each arm read and computed

Means per trial. {_machine(lesson)} {remark}

{markdown_table(accounting_table(lesson), numbers_from=1)}

Training loss, and bits per byte on the validation split; mean and range of three seeds:

![Training loss of each arm and bits per byte on the validation split](demo-curves.png)
"""


def readme_table(lesson: Lesson) -> str:
    """The declared comparisons: a row per arm."""
    table = lesson_table(lesson, declared_only=True).drop(columns="metric")
    table = table.rename(columns={"mean": lesson.results.primary_metric})
    table = table.assign(verdict=[f"**{verdict}**" for verdict in table["verdict"]])
    return markdown_table(table, numbers_from=1)


def demo_grid(logs: Logs) -> GridRecord:
    """The newest grid of the demo's command."""
    return next(grid for grid in logs.grids() if grid.command == COMMAND)


def _machine(lesson: Lesson) -> str:
    provenance = lesson.results.grid.provenance
    assert provenance is not None
    day = datetime.fromtimestamp(lesson.results.grid.created_at, tz=UTC).date()
    commit = f"commit {provenance.git_commit[:7]}" if provenance.git_commit else f"ablate {provenance.ablate}"
    versions = f"torch {provenance.versions['torch']}, Python {provenance.python}"
    return f"Run on {day}, {commit}: {provenance.machine}, {versions}."


def main(runs_dir: Path, remark: str) -> None:
    """Write all files."""
    logs = open_logs(runs_dir)
    lesson = Lesson.of(GridResults(logs, demo_grid(logs)))
    (DOCS / "demo.md").write_text(page(lesson, remark), encoding="utf-8")
    save(draw_forest(lesson), DOCS, "demo-forest", ["png"])
    save(draw_curves(lesson), DOCS, "demo-curves", ["png"])
    readme = DOCS.parent / "README.md"
    text, count = MARKED.subn(
        lambda marked: marked[1] + readme_table(lesson) + marked[2], readme.read_text(encoding="utf-8")
    )
    assert count == 1, "README.md has no <!-- demo --> … <!-- /demo -->"
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    main(Path(arguments.get(1, "runs")), arguments.get(2, ""))
