"""Time the submission of many cells to a Slurm that is started here, and `status` of them.

    python bench/slurm.py [--seeds 500]

Two arms under so many seeds, `launcher=slurm --detach`, on a Slurm of one node (that of the tests; needs root and the
packages slurm-wlm and munge of Debian). Jobs are held, so none starts. The data is prepared before. CPU seconds are
those of the command and its children, sbatch and squeue among them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablate.records.provenance import machine
from tests.support.command_line import command
from tests.support.slurm_cluster import running_cluster, why_not
from tests.support.text import write_text


def timed(folder: Path, *words: str) -> tuple[float, float]:
    """Return the CPU seconds and the seconds of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command(folder, *words), cwd=folder, capture_output=True, text=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, seconds


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    seeds = parser.parse_args().seeds
    if reason := why_not():
        sys.exit(reason)
    grid = ["-m", "objective=causal,prefix", f"seed={','.join(map(str, range(seeds)))}"]
    slurm = ["launcher=slurm", 'launcher.flags=["--hold"]']
    print(f"{2 * seeds} cells, {machine()}")
    with running_cluster() as cluster, tempfile.TemporaryDirectory() as name:
        os.environ["SLURM_CONF"] = str(cluster.folder / "slurm.conf")
        folder = Path(name)
        write_text(folder / "text", 40, seed=0)
        timed(folder, "data", "prepare", "-m", "objective=causal,prefix")
        for verb, words in (("submit", [*grid, *slurm, "--detach"]), ("status", ["status", *grid])):
            cpu, seconds = timed(folder, *words)
            print(
                f"  {verb:8} {cpu:5.1f} s of CPU, {seconds:5.1f} s; {len(cluster.jobs())} jobs in the queue", flush=True
            )


if __name__ == "__main__":
    main()
