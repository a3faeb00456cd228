"""Trials of a lesson that today's code would not compute as they were computed."""

from collections.abc import Mapping
from typing import Any

from ablate.lessons.grid_results import GridResults
from ablate.objectives.infill import FORMATS
from ablate.objectives.noise import NOISES
from ablate.objectives.tasks import TASKS
from ablate.versions import CODE_VERSIONS


def stale_trials(results: GridResults) -> dict[str, list[str]]:
    """By trial, each component whose code has another version now than when the trial was planned."""
    now = {
        **CODE_VERSIONS,
        **{name: part.code_version for parts in (TASKS, NOISES, FORMATS) for name, part in parts.items()},
    }
    found = {}
    for trial, record in results.records.items():
        then = _versions(record.semantic)
        changes = [f"{name} {then[name]} → {now[name]}" for name in then if now.get(name, then[name]) != then[name]]
        if changes:
            found[trial] = changes
    return found


def _versions(semantic: Mapping[str, Any]) -> dict[str, int]:
    """Component → code version, as the trial's canonical form has them: at its end and in each task and format."""
    parts = [*semantic.get("objective", []), semantic.get("infill")]
    versions = dict(semantic.get("code_versions", {}))
    for part in parts:
        if part:
            versions |= part[-1]
    return versions
