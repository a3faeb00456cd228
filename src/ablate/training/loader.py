"""Steps as a Lightning data source."""

from typing import Any

from torch.utils.data import DataLoader, Dataset

from ablate.data.steps import Step, Steps

# The trial ends at its budget, not at the end of its data: rows never run out.
ENDLESS = 2**40


class StepDataset(Dataset[Step]):
    """Steps by number; a worker's copy is as good as any other, as a step depends on its number alone."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> Step:
        return self.steps[step]

    def __len__(self) -> int:
        return ENDLESS


def _as_it_is(step: Any) -> Any:
    return step


def step_loader(steps: Steps, *, first_step: int, workers: int) -> "DataLoader[Step]":
    """Steps from `first_step` on, in order."""
    return DataLoader(
        StepDataset(steps),
        batch_size=None,
        sampler=range(first_step, ENDLESS),
        num_workers=workers,
        collate_fn=_as_it_is,
    )
