"""`dashboard`: a W&B workspace for the lessons of a project."""

from collections.abc import Sequence

from ablate.errors import UsageError
from ablate.records.logs import open_logs
from ablate.records.wandb.workspace import save, spec, workspace
from ablate.verbs.arguments import Arguments

FLAGS = {"--save": "saves it in W&B, where you are logged in, in place of printing it"}


def main(arguments: Sequence[str]) -> int:
    """Prints the workspace of these lessons or grids (all named ones, or the newest grid), or saves it.

    Raises:
        UsageError: nothing that this verb knows, or no such grid.
        LedgerError: nothing that can be read, the library is missing, or nobody is logged in.
    """
    takes = "grid ids or names of lessons, runs_dir=PATH and project=ENTITY/PROJECT"
    given = Arguments.of("dashboard", arguments, FLAGS, takes, ("project",))
    logs = open_logs(given.ledger.runs_dir)
    grids = logs.grids()
    known = {
        name: grid for grid in reversed(grids) for name in (grid["grid_id"], grid["declaration"].get("name")) if name
    }
    for name in given.names:
        if name not in known:
            raise UsageError(f"{name}: no such grid below {logs.where}. There are: {', '.join(known) or 'none'}.")
    named = [grid for name, grid in known.items() if name == grid["declaration"].get("name")]
    chosen = [known[name] for name in given.names] or named or grids[:1]
    if not chosen:
        raise UsageError(f"{logs.where}: no grid was run here. Run one, or say where: runs_dir=PATH")
    entity, _, project = given.options.get("project", "entity/ablate").rpartition("/")
    if "--save" in given.flags and not entity:
        raise UsageError(f"project={project}: takes ENTITY/PROJECT, the project that your trials are in.")
    made = workspace(entity, project, chosen)
    print(save(made) if "--save" in given.flags else spec(made))
    return 0
