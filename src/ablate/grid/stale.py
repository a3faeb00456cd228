"""Stale trials: their results come from an older version of the code."""

from ablate.identity import code_versions
from ablate.lessons.grid_results import GridResults
from ablate.objectives.infill import CONTEXT_VERSION, FORMATS
from ablate.objectives.noise import NOISES
from ablate.objectives.tasks import TASKS
from ablate.versions import CODE_VERSIONS


def stale_trials(results: GridResults) -> dict[str, list[str]]:
    """Trial id → components whose code version has changed since the trial was frozen."""
    current = {
        **CODE_VERSIONS,
        "scope=context": CONTEXT_VERSION,
        **{name: part.code_version for parts in (TASKS, NOISES, FORMATS) for name, part in parts.items()},
    }
    stale = {}
    for trial, record in results.records.items():
        changes = [
            f"{name} {version} → {current[name]}"
            for name, version in code_versions(record.semantic).items()
            if current.get(name, version) != version
        ]
        if changes:
            stale[trial] = changes
    return stale
