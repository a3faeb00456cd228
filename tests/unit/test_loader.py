"""Whoever loads it, a step is the same."""

import pytest

from ablate.data.batches.batch import Batch
from ablate.data.batches.train_batches import TrainBatch, TrainBatches
from ablate.data.tokens.shards import Shards
from ablate.training.loader import batch_loader
from tests.support.trials import MakeTrial

STAGES = "mixture.stages=[{from_fraction:0.5,weights:{code:1,english:3}}]"


def rows(batch: Batch) -> list[list[list[int]]]:
    """What each row holds: ids, documents, bidirectional spans and which tokens are asked for, padding aside."""
    fields = (batch.input_ids_BT, batch.document_BT, batch.span_BT, batch.loss_weight_BT)
    return [[field[row][document > 0].tolist() for field in fields] for row, document in enumerate(batch.document_BT)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("packing", ["windows", "best_fit"])
@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (1, 3), (2, 1), (4, 0)])
def test_ranks_and_workers_decide_nothing(
    make_trial: MakeTrial, shards: Shards, packing: str, ranks: int, workers: int
) -> None:
    trial = make_trial("objective=mixed", "budget.rows_per_step=8", f"mixture.packing={packing}", STAGES)
    alone = TrainBatches(trial, shards)
    loaders = [
        iter(batch_loader(TrainBatches(trial, shards, rank=rank, ranks=ranks), first_step=5, workers=workers))
        for rank in range(ranks)
    ]
    for number in range(5, 11):
        parts: list[TrainBatch] = [next(loader) for loader in loaders]
        step = alone[number]
        assert [row for part in parts for row in rows(part.batch)] == rows(step.batch)
        assert {part.windows for part in parts} == {step.windows}
        assert sum(part.train_tokens for part in parts) == step.train_tokens
        assert sum(part.loss_tokens for part in parts) == step.loss_tokens
