"""Launchers: where jobs run. Each is one module here, and one entry of `LAUNCHERS`.

`hydra/launcher=NAME` reads `conf/hydra/launcher/NAME.yaml`. Below `launcher: NAME` and
`_target_: hydra_plugins.ablate.launcher.AblateLauncher` it sets the keyword-only parameters of the launcher's class, or
of its `options_class`, which it then takes.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.config.parse import checked_parameters
from ablate.errors import UsageError, nearest
from ablate.scheduling.launcher import JobState, Launcher, Phase

if TYPE_CHECKING:
    from ablate.records.trial import Submission

# Name, recorded with each submitted job → module and class, imported when used.
LAUNCHERS = {
    "local": "ablate.scheduling.launchers.local:LocalLauncher",
    "slurm": "ablate.scheduling.launchers.slurm.launcher:SlurmLauncher",
    "ray": "ablate.scheduling.launchers.ray:RayLauncher",
    "hydra": "ablate.scheduling.launchers.hydra:HydraLauncher",
}


def make_launcher(name: str, parameters: Mapping[str, Any]) -> Launcher:
    """Return a launcher by name. Raises UsageError for an unknown name and for parameters that it does not take."""
    if name not in LAUNCHERS:
        raise UsageError(f"hydra.launcher.launcher={name}: no such launcher. {nearest(name, LAUNCHERS)}")
    launcher: Any = launcher_class(name)
    options_class = getattr(launcher, "options_class", None)
    typed = checked_parameters(options_class or launcher, parameters, "hydra.launcher")
    instance: Launcher = launcher(options_class(**typed)) if options_class else launcher(**typed)
    return instance


def launcher_class(name: str) -> type[Launcher]:
    """Return the class of a launcher. Raises KeyError for an unknown name."""
    module, _, cls = LAUNCHERS[name].partition(":")
    launcher: type[Launcher] = getattr(import_module(module), cls)
    return launcher


def submission_state(submission: "Submission", runs_dir: Path) -> JobState:
    """Return the state of a job of a ledger that any command submitted, as far as its launcher can tell from here."""
    if submission.launcher not in LAUNCHERS:
        return JobState(Phase.UNKNOWN, detail=f"submitted by the unknown launcher {submission.launcher}")
    return launcher_class(submission.launcher).state_elsewhere(submission.job_id, runs_dir)


def restarts_jobs(submission: "Submission") -> bool:
    """Whether the launcher of a job starts it again when it was preempted."""
    return submission.launcher in LAUNCHERS and launcher_class(submission.launcher).outlives_command
