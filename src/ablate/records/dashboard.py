"""A W&B workspace for a project: a section per lesson, its curves grouped by what is swept, bands over seeds.

All panels of a workspace show the runs of the project: W&B has no filter by panel. Runs of other lessons, which do not
have a lesson's options, fall into a group without a name.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ablate.records.files import LedgerError

TOKENS, LOSS = "data/source_tokens", "train/loss"
OPTIONS = "ablate.options"
MOST_RUNS = 100


def workspace(entity: str, project: str, grids: Sequence[Mapping[str, Any]]) -> Any:
    """The workspace of these grids' lessons. Raises LedgerError where the library is not installed."""
    workspaces, _ = _library()
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="ablate: lessons",
        sections=[_section(grid) for grid in grids],
        settings=workspaces.WorkspaceSettings(x_axis=TOKENS, smoothing_type="none", max_runs=MOST_RUNS),
        runset_settings=workspaces.RunsetSettings(filters=workspaces.And(workspaces.Metric("JobType") == "trial")),
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
            f"The dashboard needs wandb-workspaces ({error}). Install it: pip install 'ablate[dashboard]'"
        ) from error
    return workspaces, reports


def _section(grid: Mapping[str, Any]) -> Any:
    workspaces, _ = _library()
    declaration = grid["declaration"]
    title = declaration.get("name") or grid["title"]
    return workspaces.Section(name=str(title), panels=list(_panels(grid)), is_open=True)


def _panels(grid: Mapping[str, Any]) -> Iterator[Any]:
    _, reports = _library()
    declaration = grid["declaration"]
    primary, name = declaration["primary_metric"], declaration.get("name") or grid["grid_id"]
    asked = declaration["question"] or f"Does changing {grid['title']} change {primary}?"
    contrasts = "\n".join(
        f"- {contrast['name']} ({contrast['metric']})" for contrast in declaration.get("contrasts", [])
    )
    text = f"**{asked}**\n\nGrid `{grid['grid_id']}`; verdicts: `python -m ablate lessons {name}`\n\n{contrasts}"
    yield reports.MarkdownPanel(markdown=text)
    for factor in declaration["factors"]:
        group = reports.Config(f"{OPTIONS}.{factor}")
        for metric, shown in ((LOSS, "training loss"), (f"tune/{primary}", f"{primary}, tune split")):
            yield reports.LinePlot(
                title=f"{shown} by {factor}: mean and range over seeds",
                x=TOKENS,
                y=[metric],
                groupby=group,
                groupby_aggfunc="mean",
                groupby_rangefunc="minmax",
                max_runs_to_show=MOST_RUNS,
            )
        yield reports.BarPlot(
            title=f"{primary}, test split, by {factor}",
            metrics=[f"test/{primary}"],
            groupby=group,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=MOST_RUNS,
        )


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
