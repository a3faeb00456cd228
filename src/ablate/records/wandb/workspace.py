"""A W&B workspace for a project: a section per lesson with its curves grouped by factor and bands over seeds.

All panels of a workspace show one set of runs, the trials of its lessons, because W&B has no filter per panel. A panel
is grouped by one key. So each factor has its own panels, which average over the other factors, and runs of other
lessons, which lack the lesson's options, form a group without a name.
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
    """Return the workspace of these grids' lessons. Raises LedgerError if the library is not installed."""
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


def spec(workspace: Any) -> str:
    """Return the workspace as the JSON that W&B stores, with its random names replaced by numbers."""
    content = json.loads(workspace._to_model().model_dump_json(by_alias=True))
    return json.dumps(_numbered(content, {}), indent=2, ensure_ascii=False)


def save(workspace: Any) -> str:
    """Save the workspace and return its address. Raises LedgerError without a login."""
    try:
        workspace.save()
    except Exception as error:
        raise LedgerError(
            f"The dashboard could not be saved ({error}). Log in (wandb login), and give the project of your trials: "
            "project=ENTITY/PROJECT"
        ) from error
    return str(workspace.url)


def _library() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            # Caused by its own use of pydantic.
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
    """Yield the question, then the panels of each factor; a panel may show `runs` runs."""
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
    # Without factors there is one arm, whose trials share W&B's group.
    for factor, group in (groups or {"grid": reports.Metric("Group")}).items():
        grouped = {
            "groupby": group,
            "groupby_aggfunc": "mean",
            "groupby_rangefunc": "minmax",
            "max_runs_to_show": runs,
        }
        title = f"by {factor}: mean and range over {over}"
        yield reports.LinePlot(title=f"training loss {title}", x=TOKENS, y=[LOSS], **grouped)
        yield reports.LinePlot(title=f"{primary}, validation split, {title}", x=TOKENS, y=[f"val/{primary}"], **grouped)
        yield reports.BarPlot(title=f"{primary}, test split, {title}", metrics=[f"test/{primary}"], **grouped)


RANDOM_KEYS = ("__id__", "id", "ref", "key")


def _numbered(content: Any, known: dict[str, str]) -> Any:
    """Replace random names by numbers, in order of appearance."""
    if isinstance(content, list):
        return [_numbered(item, known) for item in content]
    if not isinstance(content, dict):
        return content
    numbered = {}
    for key, value in content.items():
        if key in RANDOM_KEYS and isinstance(value, str) and len(value) >= 9 and value.isalnum():
            numbered[key] = known.setdefault(value, f"n{len(known):011}")
        else:
            numbered[key] = _numbered(value, known)
    return numbered
