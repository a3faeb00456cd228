"""Copies a trial's log to W&B. The only module that writes to W&B while trials run.

A thread takes the rows from a queue, because importing wandb and starting its service takes a second. If W&B hangs or
fails, the trial goes on: its log is in the ledger.
"""

import logging
import os
import queue
import threading
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger(__name__)

INIT_SECONDS = 30.0
FINISH_SECONDS = 60.0


class WandbWriter:
    """A W&B run with the trial's id.

    Args:
        mode: `offline` writes files below `folder`, which `wandb sync` uploads later; `disabled` does nothing.
        project: W&B's project.
        folder: the trial's folder.
        trial_id: becomes the run's id.
        config: the semantic config.
        group: the grid or tuning that froze the trial.
        tags: choices and options, as `key=value`.
    """

    def __init__(
        self,
        *,
        mode: Literal["offline", "online", "disabled"],
        project: str,
        folder: Path,
        trial_id: str,
        config: dict[str, Any],
        group: str | None,
        tags: list[str],
    ) -> None:
        # Rows with their step, or the summary without a step.
        self._rows: queue.Queue[tuple[int | None, dict[str, Any]] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._folder = folder
        if mode == "disabled":
            return
        about = {
            "mode": mode,
            "project": project,
            "dir": folder,
            "id": trial_id,
            "name": trial_id,
            "resume": "allow" if mode == "online" else None,
            "group": group,
            "job_type": "trial",
            # W&B takes tags of up to 64 characters.
            "tags": [tag[:64] for tag in tags],
            "config": config,
        }
        self._thread = threading.Thread(target=self._work, args=(about,), name="wandb", daemon=True)
        self._thread.start()

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Queue one row."""
        if self._thread is not None:
            self._rows.put((step, values))

    def conclude(self, values: dict[str, Any]) -> None:
        """Queue values of the run's summary."""
        if self._thread is not None:
            self._rows.put((None, values))

    def close(self) -> None:
        """Wait until the run's files are complete, at most `FINISH_SECONDS`."""
        if self._thread is not None:
            self._rows.put(None)
            self._thread.join(FINISH_SECONDS)
            if self._thread.is_alive():
                # Its offline files do not need the network.
                log.warning(
                    "W&B did not finish within %.0f s. Upload later: wandb sync %s",
                    FINISH_SECONDS,
                    self._folder / "wandb",
                )
            self._thread = None

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

    @staticmethod
    def _begin(wandb: Any, about: dict[str, Any]) -> Any:
        """Start the run; an offline run if W&B cannot be reached."""

        def begin(**changes: Any) -> Any:
            settings = wandb.Settings(
                silent=True,
                console="off",
                x_disable_stats=True,
                disable_git=True,
                save_code=False,
                init_timeout=INIT_SECONDS,
            )
            return wandb.init(**{**about, **changes}, settings=settings)

        try:
            return begin()
        except Exception as error:
            if about["mode"] != "online":
                raise
            # The service still holds the id of the run that failed to start.
            wandb.teardown()
            run = begin(mode="offline", resume=None)
            log.warning("W&B cannot be reached (%s). Upload later: wandb sync %s", error, Path(run.dir).parent)
            return run
