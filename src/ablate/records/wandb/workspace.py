"""A W&B workspace for a project: a section per lesson, its curves grouped by what is swept, bands over seeds.

All panels of a workspace show one set of runs, the trials of its lessons: W&B has no filter by panel, and groups a
panel by one key. So each factor has its panels, which average over the other factors, and the runs of other lessons,
which do not have a lesson's options, fall into a group without a name.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ablate.errors import LedgerError
from ablate.records.grid import GridRecord

TOKENS, LOSS = "data/train_tokens", "train/loss"
OPTIONS = "ablate.options"


def workspace(entity: str, project: str, grids: Sequence[GridRecord]) -> Any:
    """The workspace of these grids' lessons. Raises LedgerError where the library is not installed."""
    workspaces, _ = _library()
    trials = sorted({trial for grid in grids for trial in grid.trial_ids})
    # A run's id is its trial's.
    runs = workspaces.And(workspaces.Metric("JobType") == "trial", workspaces.Metric("ID").isin(trials))
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="ablate: lessons",
        sections=[_section(grid, len(trials)) for grid in grids],
        settings=workspaces.WorkspaceSettings(x_axis=TOKENS, smoothing_type="none", max_runs=len(trials)),
        runset_settings=workspaces.RunsetSettings(filters=runs),
    )


def spec(made: Any) -> str:
    """The workspace as W&B stores it, as JSON; its random names are numbered, so that it is the same each time."""
    content = json.loads(made._to_model().model_dump_json(by_alias=True))
    return json.dumps(_numbered(content, {}), indent=2, ensure_ascii=False)


def save(made: Any) -> str:
    """Saves it and returns its address. Raises LedgerError where nobody is logged in."""
    try:
        made.save()
    except Exception as error:
        raise LedgerError(
            f"The dashboard could not be saved ({error}). Log in (wandb login), and give the project of your trials: "
            "project=ENTITY/PROJECT"
        ) from error
    return str(made.url)


def _library() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            # Of its own use of pydantic.
            warnings.simplefilter("ignore", DeprecationWarning)
            import wandb_workspaces.reports.v2 as reports
            import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise LedgerError(
            f"The dashboard needs wandb-workspaces ({error}). Install it from a checkout: pip install -e '.[dashboard]'"
        ) from error
    return workspaces, reports


def _section(grid: GridRecord, runs: int) -> Any:
    workspaces, _ = _library()
    return workspaces.Section(name=grid.declaration.name or grid.title, panels=list(_panels(grid, runs)), is_open=True)


def _panels(grid: GridRecord, runs: int) -> Iterator[Any]:
    """What is asked, then the panels of each factor; `runs` is how many a panel may show."""
    _, reports = _library()
    declaration = grid.declaration
    primary, factors = declaration.primary_metric, declaration.factors
    question = declaration.question or f"Does changing {grid.title} change {primary}?"
    verb = f"python -m ablate lessons {declaration.name or grid.grid_id}"
    contrasts = "\n".join(f"- {contrast.name} ({contrast.metric})" for contrast in declaration.contrasts)
    text = f"**{question}**\n\nGrid `{grid.grid_id}`; verdicts: `{verb}`\n\n{contrasts}"
    yield reports.MarkdownPanel(markdown=text)
    groups = {factor: reports.Config(f"{OPTIONS}.{factor}") for factor in factors}
    over = "seeds" if len(factors) < 2 else "seeds and the other factors"
    # Without factors there is one arm: a group of W&B's is what one grid was the first to ask for.
    for factor, group in (groups or {"grid": reports.Metric("Group")}).items():
        grouped = {
            "groupby": group,
            "groupby_aggfunc": "mean",
            "groupby_rangefunc": "minmax",
            "max_runs_to_show": runs,
        }
        told = f"by {factor}: mean and range over {over}"
        yield reports.LinePlot(title=f"training loss {told}", x=TOKENS, y=[LOSS], **grouped)
        yield reports.LinePlot(title=f"{primary}, validation split, {told}", x=TOKENS, y=[f"val/{primary}"], **grouped)
        yield reports.BarPlot(title=f"{primary}, test split, {told}", metrics=[f"test/{primary}"], **grouped)


RANDOM_KEYS = ("__id__", "id", "ref", "key")


def _numbered(content: Any, known: dict[str, str]) -> Any:
    """The same content, whose random names are numbered in the order in which they are met."""
    if isinstance(content, list):
        return [_numbered(item, known) for item in content]
    if not isinstance(content, dict):
        return content
    found = {}
    for key, value in content.items():
        if key in RANDOM_KEYS and isinstance(value, str) and len(value) >= 9 and value.isalnum():
            found[key] = known.setdefault(value, f"n{len(known):011}")
        else:
            found[key] = _numbered(value, known)
    return found
