"""The encoder-decoder: it sees what a prefix decoder sees wherever it is asked, and costs what is counted."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ablate.config.trial import ArchitectureConfig
from ablate.data.batches.batch import Batch
from ablate.data.batches.compute_counts import ComputeCounts, compute_counts
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards
from ablate.errors import UsageError
from ablate.model.attention import attention_mask_BTT
from ablate.model.build import Model, build_model
from ablate.model.flops import training_flops
from tests.support.rows import ROWS
from tests.support.trials import MakeTrial

ENCODER_DECODER = "architecture=encoder_decoder"
ENCODES = ArchitectureConfig("encoder_decoder", 2)


def batch_of(document: list[list[int]], span: list[list[int]]) -> Batch:
    """Rows of these segments and bidirectional spans, asked for all that the contract lets them be asked."""
    document_BT, span_BT = np.array(document, np.int32), np.array(span, np.int32)
    asked = np.zeros(document_BT.shape, bool)
    asked[:, :-1] = (document_BT[:, 1:] == document_BT[:, :-1]) & (document_BT[:, 1:] > 0)
    asked[:, :-1] &= (span_BT[:, 1:] != span_BT[:, :-1]) | (span_BT[:, 1:] == 0)
    ids = np.random.default_rng(0).integers(1, 300, document_BT.shape, dtype=np.int32)
    positions = np.tile(np.arange(document_BT.shape[1], dtype=np.int32), (len(document), 1))
    rows = np.zeros(len(document), np.int32)
    weights = asked.astype(np.float32)
    return Batch(ids, np.roll(ids, -1, 1), weights, document_BT, positions, span_BT, rows, rows)


def hidden(model: Model, batch: Batch) -> torch.Tensor:
    parts = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
    states: torch.Tensor = model(*map(torch.from_numpy, parts))
    return states


ALL_ROWS = batch_of([row[0] for row in ROWS.values()], [row[1] for row in ROWS.values()])


@pytest.mark.parametrize("block", ["gptj", "llama"])
@pytest.mark.parametrize("objective", ["causal", "prefix", "mixed", None])
def test_asked_positions_see_what_a_prefix_decoder_sees(
    make_trial: MakeTrial, shards: Shards, block: str, objective: str | None
) -> None:
    """Through all layers, by exact zero gradients; None is each row of the algebra's tests."""
    trial = make_trial(f"objective={objective or 'prefix'}", ENCODER_DECODER, f"block={block}")
    model = build_model(trial, trial.tokenizer.vocab_size).double()
    batch = TrainBatches(trial, shards)[0].batch if objective else ALL_ROWS
    seen = attention_mask_BTT(torch.from_numpy(batch.document_BT), torch.from_numpy(batch.span_BT))
    rows, asked = np.nonzero(batch.loss_weight_BT)
    assert len(rows) > 20
    for row, asking in list(zip(rows.tolist(), asked.tolist(), strict=True))[:60]:
        reached = dependence(model, batch, row, asking)
        assert reached.tolist() == seen[row, asking].tolist()


def dependence(model: Model, batch: Batch, row: int, asking: int) -> torch.Tensor:
    """Whether a position's hidden state depends on the token at each position: (T,)."""
    parts = (batch.document_BT, batch.position_BT, batch.span_BT)
    document, position, span = (torch.from_numpy(part[row : row + 1]) for part in parts)
    # A token of its own for each position: the gradient of its embedding is that of the position.
    ids = torch.arange(document.shape[1])[None]
    states = model(ids, document, position, span)
    probe = torch.arange(states.shape[-1], dtype=states.dtype)
    gradient = torch.autograd.grad((states[0, asking] * probe).sum(), model.embedding.weight)[0]
    return gradient[: document.shape[1]].abs().sum(-1) > 0


def test_without_spans_it_is_a_decoder_alone(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial("objective=causal", ENCODER_DECODER)
    model = build_model(trial, trial.tokenizer.vocab_size)
    batch = TrainBatches(trial, shards)[0].batch
    expected = build_model(make_trial("objective=causal"), trial.tokenizer.vocab_size)
    # Parameters are drawn by name: what both have is the same, and cross attention to nothing adds nothing.
    keep = torch.from_numpy(batch.document_BT) > 0
    assert torch.allclose(hidden(model, batch)[keep], hidden(expected, batch)[keep], atol=1e-5)


def test_rows_do_not_depend_on_their_neighbours_and_gradients_are_finite(make_trial: MakeTrial) -> None:
    model = build_model(make_trial(ENCODER_DECODER), 340)
    together = hidden(model, ALL_ROWS)
    for row in range(len(ROWS)):
        assert torch.allclose(together[row], hidden(model, ALL_ROWS.rows(row, row + 1))[0], atol=1e-5)
    torch.autograd.backward(together.square().sum())
    layers = [weight for name, weight in model.named_parameters() if not name.startswith("head")]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in layers)
    span_end = np.roll(ALL_ROWS.span_BT, -1, 1) != ALL_ROWS.span_BT
    decoded = (ALL_ROWS.document_BT > 0) & ((ALL_ROWS.span_BT == 0) | span_end)
    decoded[:, -1] = ALL_ROWS.document_BT[:, -1] > 0
    assert torch.equal(together.abs().sum(-1) > 0, torch.from_numpy(decoded))


def test_work_is_what_the_sentences_say() -> None:
    """Pair by pair, over every row of the algebra's tests."""
    found = compute_counts(ALL_ROWS, ENCODES)
    counts = dict.fromkeys(vars(found), 0)
    for document, span, weights in zip(ALL_ROWS.document_BT, ALL_ROWS.span_BT, ALL_ROWS.loss_weight_BT, strict=True):
        length = len(document)
        encoded = [i for i in range(length) if span[i] > 0]
        decoded = [
            i for i in range(length) if document[i] > 0 and (span[i] == 0 or i + 1 == length or span[i + 1] != span[i])
        ]
        counts["encoder_tokens"] += len(encoded)
        counts["decoder_tokens"] += len(decoded)
        counts["loss_tokens"] += int(weights.sum())
        counts["encoder_pairs"] += sum(span[i] == span[j] for i in encoded for j in encoded)
        counts["decoder_pairs"] += sum(document[i] == document[j] and j <= i for i in decoded for j in decoded)
        counts["cross_pairs"] += sum(document[i] == document[j] and j <= i for i in decoded for j in encoded)
    assert found == ComputeCounts(**counts)
    for architecture, honours in (
        (ArchitectureConfig("prefix_decoder", 0), 1),
        (ArchitectureConfig("causal_decoder", 0), 0),
    ):
        seen = attention_mask_BTT(torch.from_numpy(ALL_ROWS.document_BT), torch.from_numpy(ALL_ROWS.span_BT * honours))
        tokens = int((ALL_ROWS.document_BT > 0).sum())
        decoder = ComputeCounts(decoder_tokens=tokens, loss_tokens=found.loss_tokens, decoder_pairs=int(seen.sum()))
        assert compute_counts(ALL_ROWS, architecture) == decoder
    halves = [compute_counts(ALL_ROWS.rows(*part), ENCODES) for part in ((0, 4), (4, len(ROWS)))]
    assert halves[0] + halves[1] == found


@pytest.mark.parametrize("block", ["gptj", "llama"])
@pytest.mark.parametrize("architecture", ["encoder_decoder", "prefix_decoder"])
def test_counted_operations_are_those_of_the_forward_pass(make_trial: MakeTrial, block: str, architecture: str) -> None:
    """Dense attention, one row: 24 tokens of a bidirectional span, 24 others (25 with the span's last; 32 slots)."""
    trial = make_trial(f"architecture={architecture}", f"block={block}", "hardware.attention=dense")
    model = build_model(trial, 340)
    batch = batch_of([[1] * 48], [[1] * 24 + [0] * 24])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hidden(model, batch)
    counted = counter.get_total_flops()
    # What is computed: all slots, empty ones too, and all pairs of them.
    slots = {"encoder_tokens": 24, "decoder_tokens": 32, "encoder_pairs": 24 * 24, "cross_pairs": 32 * 24}
    if architecture == "encoder_decoder":
        computed = training_flops(model, loss_tokens=0, decoder_pairs=32 * 32, **slots)
    else:
        computed = training_flops(model, loss_tokens=0, decoder_tokens=48, decoder_pairs=48 * 48)
    assert 3 * counted == computed


def test_an_encoder_without_layers_and_a_decoder_with_some_are_refused(make_trial: MakeTrial) -> None:
    with pytest.raises(UsageError, match=r"architecture.encoder_layers=0.*needs at least 1"):
        make_trial(ENCODER_DECODER, "architecture.encoder_layers=0")
    with pytest.raises(UsageError, match=r"architecture.encoder_layers=2.*has no encoder"):
        make_trial("architecture.encoder_layers=2")


def test_flex_is_refused_for_training_on_a_cpu(make_trial: MakeTrial) -> None:
    with pytest.raises(UsageError, match=r"hardware.attention=flex: .*Type hardware.attention=sdpa or hardware=gpu"):
        make_trial("hardware.attention=flex")
