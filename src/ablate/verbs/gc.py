"""`gc`: what of a ledger can go; nothing goes before `--delete`."""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.console import make_console
from ablate.errors import UsageError
from ablate.records.lease import HeldElsewhereError
from ablate.records.ledger import Ledger, Status, TrialFolder
from ablate.verbs.arguments import Arguments

FLAGS = {
    "--delete": "removes what is listed",
    "--trials": "also whole trials that no grid or sweep names",
}
# A file that is being written lives for a moment; one of a process that died stays.
LEAST_SCRATCH_AGE_SECONDS = 600.0
KINDS = {
    "scratch": "half-written files of processes that died",
    "lease": "leases of processes that died",
    "checkpoint": "checkpoints of finished trials",
    "set aside": "earlier attempts of trials that finished since",
    "trial": "trials that no grid or sweep names",
}


@dataclass(frozen=True)
class Garbage:
    """One file or folder that nothing needs."""

    kind: str
    path: Path
    trial: TrialFolder | None

    @property
    def size_bytes(self) -> int:
        """With all that lies in it."""
        files = [self.path] if self.path.is_file() else [path for path in self.path.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)

    def remove(self) -> None:
        """Removes it."""
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Lists what can go, and with `--delete` removes it. Raises UsageError."""
    given = Arguments.of("gc", arguments, FLAGS, "runs_dir=PATH and the flags " + " ".join(FLAGS))
    if given.names:
        raise UsageError(f"gc {given.names[0]}: takes no names, only {' '.join(FLAGS)} and runs_dir=PATH.")
    console = make_console()
    found = list(garbage(given.ledger, with_trials="--trials" in given.flags))
    total = 0
    for kind, text in KINDS.items():
        of_kind = [one for one in found if one.kind == kind]
        size = sum(one.size_bytes for one in of_kind)
        total += size
        if of_kind:
            console.print(f"{len(of_kind):,} × {text}: {size / 1e6:,.1f} MB", highlight=False)
            for one in of_kind:
                path = one.path.relative_to(given.ledger.runs_dir)
                console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    if not found:
        console.print("Nothing can go.")
    elif "--delete" not in given.flags:
        console.print(f"{total / 1e6:,.1f} MB can go: python -m ablate gc --delete", highlight=False, soft_wrap=True)
    else:
        removed = sum(_removed(one, given.ledger) for one in found)
        console.print(f"{removed:,} of {len(found):,} removed.", highlight=False)
    return 0


def garbage(ledger: Ledger, *, with_trials: bool) -> Iterator[Garbage]:
    """Everything that nothing needs; trials that a process works on are passed over."""
    oldest = time.time() - LEAST_SCRATCH_AGE_SECONDS
    yield from (Garbage("scratch", path, None) for path in _older(ledger.runs_dir.glob(".gone-*"), oldest))
    yield from (Garbage("scratch", path, None) for path in _older((ledger.runs_dir / "grids").glob(".*"), oldest))
    named, sweeps = _named(ledger), {sweep["sweep_id"] for sweep in ledger.sweeps()}
    for folder in ledger.trials():
        if folder.is_held:
            continue
        if with_trials and folder.trial_id not in named and folder.record().get("first_grid") not in sweeps:
            yield Garbage("trial", folder.path, folder)
            continue
        yield from (Garbage("lease", path, folder) for path in sorted(folder.path.glob("lease.*")))
        scratch = [*folder.path.glob(".*"), *folder.path.glob("evaluations/.*"), *folder.checkpoints.leftovers()]
        yield from (Garbage("scratch", path, folder) for path in _older(scratch, oldest))
        if folder.status == Status.FINISHED:
            yield from (Garbage("checkpoint", path, folder) for path in folder.checkpoints.paths())
            yield from (Garbage("set aside", path, folder) for path in sorted(folder.path.glob("attempts/*")))


def _older(paths: Iterable[Path], oldest: float) -> list[Path]:
    return sorted(path for path in paths if path.stat().st_mtime < oldest)


def _named(ledger: Ledger) -> set[str]:
    """Every trial that a grid names."""
    return {folder.trial_id for path in ledger.grids() for folder in ledger.trials_of(ledger.grid(path.stem))}


def _removed(one: Garbage, ledger: Ledger) -> bool:
    """Removes it, under its trial's lease; whether that was possible."""
    if one.trial is None:
        one.remove()
        return True
    try:
        with one.trial.lease:
            if one.kind == "trial":
                if one.trial.trial_id in _named(ledger):
                    # Planned since it was listed.
                    return False
                gone = one.path.rename(one.path.with_name(f".gone-{one.trial.trial_id}"))
                shutil.rmtree(gone)
            elif one.kind != "lease":
                one.remove()
    except HeldElsewhereError:
        return False
    # Taking the lease and giving it back clears away those of the dead.
    return not one.path.exists()
