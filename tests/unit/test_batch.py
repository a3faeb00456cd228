"""The batch contract: loss only where the target is in the segment and out of sight."""

import numpy as np
import pytest
import torch

from ablate.config.parse import composed_from_container
from ablate.config.trial import ArchitectureConfig
from ablate.data.batches.batch import pack
from ablate.data.batches.compute_counts import compute_counts
from ablate.data.batches.train_batches import TrainBatch, TrainBatches, chained_digest
from ablate.data.tokens.shards import Shards
from ablate.data.tokens.tokenizer import special_tokens
from ablate.model.attention import attention_mask_BTT
from ablate.objectives.example import Example
from ablate.objectives.objective import Objective, RowTransform
from tests.support.trials import ARMS, MakeTrial, container_of


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("document_mask", [True, False])
def test_no_target_with_loss_is_visible(make_trial: MakeTrial, shards: Shards, arm: str, document_mask: bool) -> None:
    trial = make_trial(*ARMS[arm].split(), f"mixture.document_mask={document_mask}", "budget.rows_per_step=32")
    batch = TrainBatches(trial, shards)[0].batch
    visible = attention_mask_BTT(torch.from_numpy(batch.document_BT), torch.from_numpy(batch.span_BT)).numpy()
    rows, asking = np.nonzero(batch.loss_weight_BT)
    assert len(rows) > 100
    assert not visible[rows, asking, asking + 1].any()
    assert (batch.document_BT[rows, asking] == batch.document_BT[rows, asking + 1]).all()
    assert (batch.targets_BT[rows, asking] == batch.input_ids_BT[rows, asking + 1]).all()


def test_attended_pairs_are_those_of_the_dense_matrix(make_trial: MakeTrial, shards: Shards) -> None:
    batch = TrainBatches(make_trial("objective=prefix"), shards)[0].batch
    documents, spans = torch.from_numpy(batch.document_BT), torch.from_numpy(batch.span_BT)
    assert compute_counts(batch, ArchitectureConfig("prefix_decoder", 0)).decoder_pairs == int(
        attention_mask_BTT(documents, spans).sum()
    )
    assert compute_counts(batch, ArchitectureConfig("causal_decoder", 0)).decoder_pairs == int(
        attention_mask_BTT(documents, torch.zeros_like(spans)).sum()
    )


def test_a_token_inside_a_span_never_has_loss_whatever_a_task_wants() -> None:
    batch, _ = pack(
        [Example.from_segment(np.arange(6, dtype=np.int32), bidirectional_tokens=3)],
        tasks=[0],
        sources=[0],
        context_tokens=6,
    )
    assert batch.loss_weight_BT.tolist() == [[0, 0, 1, 1, 1, 0]]


def test_a_long_row_is_cut_and_the_cut_counted() -> None:
    example = Example.from_segment(np.arange(10, dtype=np.int32))
    batch, cut = pack([example], tasks=[0], sources=[0], context_tokens=7)
    assert cut == 3
    assert batch.input_ids_BT.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert batch.loss_weight_BT.tolist() == [[1, 1, 1, 1, 1, 1, 0]]


def test_a_batch_is_as_long_as_its_longest_row_needs(make_trial: MakeTrial, shards: Shards) -> None:
    causal = TrainBatches(make_trial(), shards)[0].batch
    assert causal.input_ids_BT.shape == (4, 40), "a window of 40 in a context of 48"
    short, _ = pack([Example.from_segment(np.arange(3, dtype=np.int32))], tasks=[0], sources=[0], context_tokens=48)
    assert short.input_ids_BT.shape == (1, 8)


@pytest.mark.parametrize("scale", ["demo", "4m", "1b"])
@pytest.mark.parametrize("arm", ["objective=mixed", "objective=mixed_prefix", "infill=joint infill.rate=1.0"])
def test_the_room_of_a_scale_holds_what_rows_write(scale: str, arm: str) -> None:
    """Of one-document windows at most 2% are cut: a cut takes the end of a span that the context lost."""
    level = ["infill.level=token"] if "infill" in arm else []
    trial = composed_from_container(container_of(*arm.split(), *level, f"scale={scale}")).trial
    special = special_tokens(trial.tokenizer)
    rows = RowTransform(Objective.of(trial), special, 0)
    window = np.arange(trial.scale.window_tokens, dtype=np.int32)
    lengths = [len(rows.example(row, window, (len(window),))[0]) for row in range(1500)]
    assert np.mean(np.array(lengths) > trial.scale.context_tokens) < 0.02


def test_merged_segments_see_each_other_and_positions_may_go_on() -> None:
    piece = Example.from_segment(np.arange(3, dtype=np.int32))
    row = Example.concatenate([piece, piece])
    merged, _ = pack([row], tasks=[0], sources=[0], context_tokens=6, document_mask=False, restart_positions=False)
    assert merged.document_BT.tolist() == [[1] * 6]
    assert merged.position_BT.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert merged.loss_weight_BT.tolist() == [[1, 1, 1, 1, 1, 0]]


def test_ranks_share_the_rows_of_one_rank(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial("objective=mixed", "budget.rows_per_step=8")
    alone = TrainBatches(trial, shards)[3]
    parts = [TrainBatches(trial, shards, rank=rank, ranks=4)[3] for rank in range(4)]

    def rows(step: TrainBatch) -> list[list[int]]:
        return [
            ids[document > 0].tolist()
            for ids, document in zip(step.batch.input_ids_BT, step.batch.document_BT, strict=True)
        ]

    assert [row for part in parts for row in rows(part)] == rows(alone)
    assert sum(part.loss_tokens for part in parts) == alone.loss_tokens
    assert {part.windows for part in parts} == {alone.windows}


def test_arms_read_the_same_windows_and_the_digest_says_so(make_trial: MakeTrial, shards: Shards) -> None:
    chains = []
    for objective in ("causal", "prefix", "mixed"):
        steps = TrainBatches(make_trial(f"objective={objective}"), shards)
        chain = steps.stream.fingerprint
        for step in range(4):
            chain = chained_digest(chain, steps[step].windows)
        chains.append(chain)
    assert len(set(chains)) == 1
    other = TrainBatches(make_trial("data_seed=1"), shards)
    assert chained_digest(other.stream.fingerprint, other[0].windows) != chained_digest(
        steps.stream.fingerprint, steps[0].windows
    )
