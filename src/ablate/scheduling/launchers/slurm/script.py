"""The script of a job array: written into the ledger, and run by Slurm for each job."""

import shlex
import sys
from collections.abc import Iterable, Sequence

from ablate.scheduling.batch import STOPPED_EXIT_CODE, Batch
from ablate.scheduling.job import Resources
from ablate.scheduling.launchers.slurm.options import SlurmOptions


def job_name(batch: str) -> str:
    """Return the name by which the queue is asked for a batch."""
    return f"ablate-{batch}"


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as Slurm writes them.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def array_script(options: SlurmOptions, resources: Resources, batch: Batch, numbers: Sequence[int]) -> str:
    """Return the script of a batch.

    Args:
        numbers: of the batch's jobs.
    """
    throttle = f"%{options.max_running}" if options.max_running else ""
    gres = options.gres or (f"gpu:{resources.devices}" if resources.has_gpus else None)
    cpus = options.cpus_per_rank or resources.cpus
    values = {
        "job-name": job_name(batch.name),
        "array": ranges(numbers) + throttle,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "time": options.time,
        "nodes": resources.nodes,
        "ntasks-per-node": resources.devices,
        "cpus-per-task": cpus,
        "gres": gres,
        "constraint": options.constraint,
        "mem": options.mem,
        # After a preemption or the loss of a node Slurm starts the job again.
        "signal": f"USR1@{options.signal_seconds}" if options.signal_seconds else None,
        "open-mode": "append",
        "output": f'"{str(batch.folder).replace("%", "%%")}/%a.log"',
    }
    flags = [f"--{name}={value}" for name, value in values.items() if value is not None]
    srun = [
        "srun",
        f"--nodes={resources.nodes}",
        f"--ntasks-per-node={resources.devices}",
        # Not inherited from sbatch since Slurm 22.05.
        f"--cpus-per-task={cpus}",
        *options.srun_flags,
        shlex.quote(options.python or sys.executable),
        '-m ablate.rank --batch "$folder" --number "$SLURM_ARRAY_TASK_ID"',
    ]
    # Modules are functions of login shells.
    return "\n".join(
        [
            "#!/bin/bash -l" if options.modules else "#!/bin/bash",
            *(f"#SBATCH {flag}" for flag in [*flags, "--requeue", *options.flags]),
            "# jobs.json, beside this file, names the trial of each number.",
            f"folder={shlex.quote(str(batch.folder))}",
            'job="$folder/$SLURM_ARRAY_TASK_ID"',
            *(f"module load {shlex.quote(module)} || exit 1" for module in options.modules),
            *options.setup,
            'rm -f "$job.exit"',
            " ".join(srun),
            "code=$?",
            'echo "$code" > "$job.exit"',
            f"# {STOPPED_EXIT_CODE}: the trial was asked to stop and has saved. It goes on in this job.",
            f'if [ "$code" -eq {STOPPED_EXIT_CODE} ] && [ ! -e "$job.cancelled" ]; then',
            '    scontrol requeue "$SLURM_JOB_ID" && exit 0',
            "fi",
            'exit "$code"',
            "",
        ]
    )
