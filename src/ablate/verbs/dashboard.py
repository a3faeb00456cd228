"""`dashboard`: a W&B workspace for the lessons of a project."""

from ablate.console import counted
from ablate.errors import UsageError
from ablate.records.wandb.workspace import save, spec, workspace
from ablate.verbs.arguments import Arguments, grid_named
from ablate.verbs.table import PROGRAM


def main(arguments: Arguments) -> int:
    """Print or save a workspace. Raises UsageError; LedgerError: unreadable logs, a missing library, no login."""
    logs = arguments.logs
    grids = logs.grids()
    lessons = {grid.declaration.name: grid for grid in reversed(grids) if grid.declaration.name}
    chosen = [grid_named(grids, name, logs.where) for name in arguments.names] or [*lessons.values()] or grids[:1]
    if not chosen:
        raise UsageError(f"{logs.where}: no grid was run here. Run one, or say where: runs_dir=PATH")
    entity, _, project = arguments.settings.get("project", "entity/ablate").rpartition("/")
    if "--save" in arguments.flags and not entity:
        raise UsageError(f"project={project}: takes ENTITY/PROJECT, the project that your trials are in.")
    board = workspace(entity, project, chosen)
    if "--save" in arguments.flags:
        print(save(board))
    elif "--json" in arguments.flags:
        print(spec(board))
    else:
        print(f"A W&B workspace with {counted(len(board.sections), 'section')}:")
        for grid, section in zip(chosen, board.sections, strict=True):
            print(f"  {section.name}: {counted(len(section.panels), 'panel')}, {counted(len(grid.trial_ids), 'trial')}")
        print(f"Save it: {PROGRAM} dashboard --save project=ENTITY/PROJECT. Print it: {PROGRAM} dashboard --json")
    return 0
