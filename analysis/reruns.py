"""Compare the trials that two ledgers or archives share: python analysis/reruns.py OLD NEW [METRIC].

A trial's id holds all that changes its result but the processor, the number of threads and the versions of libraries.
With these the same, both scores are equal to the last bit; what differs otherwise is the machine's part of the noise.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ablate.records.grid import GridRecord
from ablate.records.logs import Logs
from ablate.records.open_logs import open_logs


def main(old: str, new: str, metric: str = "bpb_full") -> None:
    """Print a row for each shared trial, and the standard deviation of their differences."""
    tables = [pd.DataFrame(scores(open_logs(Path(folder)), metric)) for folder in (old, new)]
    both = tables[0].merge(tables[1], on="trial", suffixes=("_old", "_new"))
    if both.empty:
        sys.exit(f"{old} and {new} share no trial that is scored on {metric}.")
    both["difference"] = both["score_new"] - both["score_old"]
    shown = both.rename(columns={"arm_old": "arm"})[["trial", "arm", "score_old", "score_new", "difference"]]
    print(shown.to_string(index=False, float_format="%.5f"))
    equal = int((both["difference"] == 0).sum())
    print(f"{len(both)} trials, {equal} equal to the bit; mean difference {both['difference'].mean():+.5f},", end=" ")
    print(f"standard deviation {both['difference'].std():.5f}. Machines: {machines(both)}")


def scores(logs: Logs, metric: str) -> Iterator[dict[str, object]]:
    """Yield each scored trial of the grids, once, with its arm, score and machine."""
    grids: dict[str, tuple[GridRecord, str]] = {}
    for grid in logs.grids():
        for arm in grid.arms:
            grids |= dict.fromkeys(arm.trials.values(), (grid, arm.label))
    for trial, (grid, label) in grids.items():
        record = logs.record(trial)
        of_trial = record.scores(grid.suite_ids)
        if metric in of_trial:
            machine = record.provenance.machine if record.provenance else "unknown"
            yield {"trial": trial, "arm": label, "score": of_trial[metric], "machine": machine}


def machines(both: pd.DataFrame) -> str:
    """The machines of the old and of the new trials."""
    return " against ".join(", ".join(sorted(set(both[f"machine_{side}"]))) for side in ("old", "new"))


if __name__ == "__main__":
    main(*sys.argv[1:])
