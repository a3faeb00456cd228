"""W&B runs with known contents."""

from pathlib import Path
from typing import Literal

from ablate.records.wandb.writer import WandbWriter


def mirror(folder: Path, mode: Literal["offline", "online"] = "offline") -> WandbWriter:
    return WandbWriter(
        mode=mode,
        project="ablate",
        folder=folder,
        trial_id="0123456789ab",
        config={"objective": [["causal", 1, 1.0, {}]]},
        group="grid",
        tags=["objective=causal", "x" * 100],
    )
