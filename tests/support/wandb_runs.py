"""W&B runs with known contents."""

from pathlib import Path
from typing import Literal

from ablate.records.wandb.writer import RunDescription, WandbWriter


def mirror(folder: Path, mode: Literal["offline", "online"] = "offline") -> WandbWriter:
    return WandbWriter(
        mode=mode,
        project="ablate",
        folder=folder,
        trial_id="0123456789ab",
        description=RunDescription("causal, seed 0", "grid", ("objective=causal", "x" * 100), {"arm": "causal"}),
    )
