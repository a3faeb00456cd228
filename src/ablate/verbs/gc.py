"""`gc`: list files of a ledger that can be deleted; `--delete` deletes them."""

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ablate.console import make_console, say
from ablate.errors import LedgerError
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.scheduling.reconcile import was_finished
from ablate.verbs.arguments import Arguments
from ablate.verbs.table import PROGRAM

# A file that is being written lives for a moment; one of a process that died stays.
LEAST_SCRATCH_AGE_SECONDS = 600.0
KINDS = {
    "scratch": "half-written files of processes that died",
    "lease": "leases of processes that died",
    "checkpoint": "checkpoints of finished trials",
    "set aside": "earlier attempts of trials that finished since",
    "trial": "trials that no grid or tuning names",
}


@dataclass(frozen=True)
class Garbage:
    """A file or folder that nothing needs."""

    kind: str
    path: Path
    trial: TrialFolder | None

    @property
    def size_bytes(self) -> int:
        """The size of the file, or of all files in the folder."""
        files = [self.path] if self.path.is_file() else [path for path in self.path.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)


def main(arguments: Arguments) -> int:
    """List what can be deleted; with `--delete`, delete it."""
    console, ledger = make_console(), arguments.ledger
    problems: list[str] = []
    ledger.grids(problems)
    ledger.tunings(problems)
    damaged = [record for folder in ledger.trials() if isinstance(record := folder.record_or_problem(), str)]
    for problem in [*damaged, *problems]:
        say(console, f"• {problem}")
    if problems and "--trials" in arguments.flags:
        say(console, "Trials are kept, because a damaged record of a grid or tuning may name them.")
    items = list(garbage(ledger, with_trials="--trials" in arguments.flags))
    megabytes = 0.0
    for kind, text in KINDS.items():
        if of_kind := [item for item in items if item.kind == kind]:
            size = sum(item.size_bytes for item in of_kind) / 1e6
            megabytes += size
            say(console, f"{len(of_kind):,} × {text}: {size:,.1f} MB")
            for item in of_kind:
                say(console, f"  {item.path.relative_to(ledger.runs_dir)}")
    if not items:
        say(console, "Nothing can be deleted.")
    elif "--delete" not in arguments.flags:
        say(console, f"{megabytes:,.1f} MB can be deleted: {PROGRAM} gc --delete")
    else:
        say(console, f"{sum(_delete(item, ledger) for item in items):,} of {len(items):,} deleted.")
    return 0


def garbage(ledger: Ledger, *, with_trials: bool) -> Iterator[Garbage]:
    """Yield what nothing needs, but nothing of running trials and of trials with a damaged record."""
    oldest = time.time() - LEAST_SCRATCH_AGE_SECONDS
    scratch = [*ledger.runs_dir.glob(".gone-*"), *ledger.runs_dir.glob("grids/.*")]
    yield from (Garbage("scratch", path, None) for path in _older(scratch, oldest))
    problems: list[str] = []
    named = _named(ledger, problems)
    tunings = {tuning.tuning_id for tuning in ledger.tunings(problems)}
    # A damaged record may name any trial.
    with_trials = with_trials and not problems
    for folder in ledger.trials():
        record = folder.record_or_problem()
        if folder.is_locked or isinstance(record, str):
            continue
        if with_trials and folder.trial_id not in named and record.first_grid not in tunings:
            yield Garbage("trial", folder.path, folder)
            continue
        yield from (Garbage("lease", path, folder) for path in sorted(folder.path.glob("lease.*")))
        scratch = [*folder.path.glob(".*"), *folder.path.glob("evaluations/.*"), *folder.checkpoints.leftovers()]
        yield from (Garbage("scratch", path, folder) for path in _older(scratch, oldest))
        if was_finished(record):
            if not keeps_final(folder):
                yield from (Garbage("checkpoint", path, folder) for path in folder.checkpoints.paths())
            yield from (Garbage("set aside", path, folder) for path in sorted(folder.path.glob("attempts/*")))


def keeps_final(folder: TrialFolder) -> bool:
    """Return whether a trial keeps its last state for trials that continue it."""
    try:
        return bool(folder.frozen().get("checkpoint", {}).get("keep_final", False))
    except LedgerError:
        return False


def _older(paths: Iterable[Path], oldest: float) -> list[Path]:
    return sorted(path for path in paths if path.stat().st_mtime < oldest)


def _named(ledger: Ledger, problems: list[str] | None = None) -> set[str]:
    """Return the trials of all grids; `problems` is as in `Ledger.grids`."""
    return {trial for grid in ledger.grids(problems) for trial in grid.trial_ids}


def _delete(item: Garbage, ledger: Ledger) -> bool:
    """Delete it, under the lease of its trial. Returns False if a process holds the lease."""
    if item.trial is None:
        _remove(item.path)
        return True
    try:
        with item.trial.lease:
            # A new grid may have named it.
            if item.kind == "trial" and item.trial.trial_id not in _named(ledger):
                _remove(item.path.rename(item.path.with_name(f".gone-{item.trial.trial_id}")))
            elif item.kind not in ("trial", "lease"):
                _remove(item.path)
    except LockedError:
        return False
    # Taking and releasing the lease removes those of dead processes.
    return not item.path.exists()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
