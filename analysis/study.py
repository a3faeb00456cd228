"""The study: train what is missing of it, in the order of value. `make study` runs this; it can be stopped at any time.

The logs are kept in `analysis/data`, from which a new clone goes on; `docs/lessons.md` tells what came of it. Trials in
progress continue from their checkpoints as long as `analysis/runs` is there.
"""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARCHIVE, LEDGER = "analysis/data", "analysis/runs"
# Lessons share trials. The order decides which verdicts come first, and not what is trained.
EXPERIMENTS = (
    ("lesson1_prefix_lm",),
    ("lesson3_mixed_objective",),
    ("learning_rates",),
    ("lesson5_multi_epoch",),
    ("useful_epochs",),
    ("augmentation_control",),
    ("lesson2_infill",),
    ("lesson4_data_mixture",),
    ("lesson1_prefix_lm", "budget.matched_on=loss_tokens", "lesson.name=lesson1_equal_loss_tokens"),
)


def main() -> int:
    """Run the experiments and return the exit code of the first that fails or is stopped; keep the logs either way."""
    ablate("restore", ARCHIVE, f"runs_dir={LEDGER}")
    try:
        for name, *overrides in EXPERIMENTS:
            if code := ablate(f"experiment={name}", *overrides, f"runs_dir={LEDGER}"):
                return code
    finally:
        ablate("paper", f"runs_dir={LEDGER}", f"archive={ARCHIVE}")
    return 0


def ablate(*words: str) -> int:
    """Run a command of ablate and return its exit code."""
    print("$ python -m ablate", *words, flush=True)
    return subprocess.call([sys.executable, "-m", "ablate", *words], cwd=ROOT)


if __name__ == "__main__":
    # Ctrl-C reaches the command too, which saves its trials; this process waits for it and keeps the logs.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(main())
