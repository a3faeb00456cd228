"""Copies a trial's log to W&B. The only module that writes to W&B while trials run.

A thread takes the rows from a queue, because importing wandb and starting its service takes a second. If W&B hangs or
fails, the trial goes on: its log is in the ledger.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger(__name__)

INIT_SECONDS = 30.0
FINISH_SECONDS = 60.0
OFFLINE_TRIES = 5


# W&B takes tags of up to 64 characters.
MAX_TAG = 64


@dataclass(frozen=True)
class RunDescription:
    """What a trial's W&B run is called, and what it can be found and grouped by.

    Attributes:
        name: the arm's label and the seed.
        group: the lesson, or the grid or tuning that froze the trial.
        tags: the swept options, as `key=value`.
        config: nested mappings.
        notes: the lesson's question.
    """

    name: str
    group: str | None
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    notes: str | None = None

    def arguments(self, trial_id: str, project: str) -> dict[str, Any]:
        """Return the arguments of `wandb.init` for a run with the trial's id in PROJECT or ENTITY/PROJECT."""
        entity, _, name = project.rpartition("/")
        return {
            "entity": entity or None,
            "project": name,
            "id": trial_id,
            "name": self.name,
            "group": self.group,
            "job_type": "trial",
            "tags": [tag[:MAX_TAG] for tag in self.tags],
            "config": self.config,
            "notes": self.notes,
        }


class WandbWriter:
    """A W&B run with the trial's id.

    Args:
        mode: `offline` writes files below `folder` and sends nothing; `ablate sync` uploads the trial later.
        project: W&B's project, or ENTITY/PROJECT.
        folder: the trial's folder.
        trial_id: becomes the run's id.
        description: its name, group, tags and config.
    """

    def __init__(
        self,
        *,
        mode: Literal["offline", "online"],
        project: str,
        folder: Path,
        trial_id: str,
        description: RunDescription,
    ) -> None:
        # Rows with their step, or the summary without a step.
        self._rows: queue.Queue[tuple[int | None, dict[str, Any]] | None] = queue.Queue()
        self._folder = folder
        about = {
            "mode": mode,
            "dir": folder,
            "resume": "allow" if mode == "online" else None,
            **description.arguments(trial_id, project),
        }
        self._thread = threading.Thread(target=self._work, args=(about,), name="wandb", daemon=True)
        self._thread.start()

    def begin(self, rows: list[dict[str, Any]]) -> None:
        """Do nothing: the run's earlier attempts have these rows."""

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Queue one row."""
        self._rows.put((step, values))

    def conclude(self, values: dict[str, Any]) -> None:
        """Queue values of the run's summary."""
        self._rows.put((None, values))

    def close(self) -> None:
        """Wait until the run's files are complete, at most `FINISH_SECONDS`."""
        self._rows.put(None)
        self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            log.warning("W&B did not finish within %.0f s. Upload later: %s", FINISH_SECONDS, self._upload_command)

    @property
    def _upload_command(self) -> str:
        return f"python -m ablate sync {self._folder.name} runs_dir={self._folder.parent}"

    def _work(self, about: dict[str, Any]) -> None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        try:
            import wandb

            run = self._begin(wandb, about)
            while (row := self._rows.get()) is not None:
                step, values = row
                if step is None:
                    run.summary.update(values)
                else:
                    run.log(values, step=step)
            run.finish()
        except Exception as error:
            log.warning("W&B gets no more rows of this trial: %s", error)

    def _begin(self, wandb: Any, about: dict[str, Any]) -> Any:
        """Start the run; an offline run if W&B cannot be reached."""
        try:
            return wandb.init(**about, settings=settings(wandb))
        except Exception as error:
            if about["mode"] != "online":
                raise
            log.warning("W&B cannot be reached (%s). Upload later: %s", error, self._upload_command)
        return _begin_offline(wandb, about)


def _begin_offline(wandb: Any, about: dict[str, Any]) -> Any:
    """Start an offline run after an online one failed to start."""
    for tries_left in reversed(range(OFFLINE_TRIES)):
        # The service still holds the id of the run that failed to start, and may take a moment to end.
        wandb.teardown()
        try:
            return wandb.init(**{**about, "mode": "offline", "resume": None}, settings=settings(wandb))
        except Exception:
            if not tries_left:
                raise
            time.sleep(1)


def settings(wandb: Any) -> Any:
    """Return W&B's settings for a trial: it sends the log and nothing about the process."""
    return wandb.Settings(
        silent=True,
        console="off",
        x_disable_stats=True,
        disable_git=True,
        save_code=False,
        init_timeout=INIT_SECONDS,
    )
