"""`dashboard`: a W&B workspace for the lessons of a project."""

from ablate.errors import UsageError
from ablate.records.wandb.workspace import save, spec, workspace
from ablate.verbs.arguments import Arguments


def main(arguments: Arguments) -> int:
    """Print or save a workspace. Raises UsageError; LedgerError: unreadable logs, a missing library, no login."""
    logs = arguments.logs
    grids = logs.grids()
    known = {name: grid for grid in reversed(grids) for name in (grid.grid_id, grid.declaration.name) if name}
    for name in arguments.names:
        if name not in known:
            raise UsageError(f"{name}: no such grid below {logs.where}. There are: {', '.join(known) or 'none'}.")
    named = [grid for name, grid in known.items() if name == grid.declaration.name]
    chosen = [known[name] for name in arguments.names] or named or grids[:1]
    if not chosen:
        raise UsageError(f"{logs.where}: no grid was run here. Run one, or say where: runs_dir=PATH")
    entity, _, project = arguments.settings.get("project", "entity/ablate").rpartition("/")
    if "--save" in arguments.flags and not entity:
        raise UsageError(f"project={project}: takes ENTITY/PROJECT, the project that your trials are in.")
    board = workspace(entity, project, chosen)
    print(save(board) if "--save" in arguments.flags else spec(board))
    return 0
