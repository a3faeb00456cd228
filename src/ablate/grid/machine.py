"""What the trials of a command need of this machine, checked before a corpus is read. Only for jobs that run here."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.scheduling.launcher import Launcher

if TYPE_CHECKING:
    from torch import Tensor

# Of the square matrices whose products are timed, and how long.
_WIDTH, _LEAST_REPEATS, _SECONDS = 512, 2, 0.1


def check_machine(trials: Sequence[TrialConfig], say: Callable[[str], None]) -> None:
    """Check that this machine can run trials, and say if bf16 makes them slower.

    Raises:
        UsageError: a GPU that is not there, or `compile` where torch's linker fails.
    """
    wants_gpu = any(trial.hardware.accelerator == "gpu" for trial in trials)
    if wants_gpu and not _has_gpu():
        import torch

        raise UsageError(
            f"hardware.accelerator=gpu: torch {torch.__version__} finds no GPU on this machine. Type "
            "hardware.accelerator=cpu hardware.attention=sdpa, or run it where there is one."
        )
    on_cpu = [trial for trial in trials if trial.hardware.accelerator != "gpu"]
    compiled = any(trial.compile for trial in on_cpu)
    place = _torch_folder()
    if compiled and any(map(str.isspace, place)):
        raise UsageError(
            f"compile=true: torch is installed in {place}, and on a CPU its compiler cannot link libraries in a path "
            "with a space. Install ablate in a folder without one, or leave compile=false."
        )
    slow = [trial for trial in on_cpu if trial.precision == "bf16"]
    if slow and not (slow[0].hardware.accelerator == "auto" and _has_gpu()):
        fp32, bf16 = measured_gflops(slow[0].hardware.threads_per_trial)
        if bf16 < fp32:
            say(
                f"precision=bf16: this processor multiplies matrices more slowly in bf16 than in fp32 ({bf16:,.0f} "
                f"against {fp32:,.0f} GFLOP/s, measured now). precision=fp32 trains faster here."
            )


def check_detach(launcher: Launcher) -> None:
    """Raise UsageError where jobs end with the command."""
    if not launcher.outlives_command:
        raise UsageError(
            f"--detach: the trials of launcher={launcher.name} run as long as this command. Leave --detach out, or "
            "type launcher=slurm."
        )


def _has_gpu() -> bool:
    import torch

    return torch.accelerator.is_available()


def _torch_folder() -> str:
    """Return where torch is installed, without importing it."""
    spec = importlib.util.find_spec("torch")
    return (spec.origin or "") if spec else ""


def measured_gflops(threads: int) -> tuple[float, float]:
    """Return the rates of matrix products in fp32 and bf16, in GFLOP/s: the best of a few, which takes a moment."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fp32, bf16 = (_gflops(torch.ones(_WIDTH, _WIDTH, dtype=kind)) for kind in (torch.float32, torch.bfloat16))
    finally:
        torch.set_num_threads(before)
    return fp32, bf16


def _gflops(matrix: "Tensor") -> float:
    seconds: list[float] = []
    # The first product includes the library's preparation.
    while len(seconds) < _LEAST_REPEATS or sum(seconds) < _SECONDS:
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * _WIDTH**3 / min(seconds) / 1e9
