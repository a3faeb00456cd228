"""The mask algebra against brute force: forward, gradient, and through whole models."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards
from ablate.model.attention import AttentionMask, Blocks, Fused, attention_mask_BTT, mask_intervals
from ablate.model.block_attention import block_attention, block_jobs
from ablate.model.build import Model, build_model
from tests.support.rows import ROWS
from tests.support.trials import ARMS, MakeTrial

# torch.compile imports parts of torch that torch itself deprecates.
# And its call of the C++ compiler does not quote paths.
COMPILED = pytest.mark.skipif(" " in sys.prefix, reason="torch.compile needs an environment whose path has no space")
QUIETLY_COMPILED = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Draw a row of the batch contract: document segments, bidirectional spans in some of them, then padding."""
    document, span, spans = [], [], 0
    for segment in range(1, draw(st.integers(1, 4)) + 1):
        for _ in range(draw(st.integers(1, 3))):
            before, inside, after = (draw(st.integers(0, 3)) for _ in range(3))
            spans += 1
            document += [segment] * (before + inside + after)
            span += [0] * before + [spans] * inside + [0] * after
    padding = [0] * draw(st.integers(0, 3)) or [0]
    return document + padding, span + padding


def by_the_sentences(document_T: list[int], span_T: list[int]) -> list[list[bool]]:
    """The algebra as its definition reads, one pair at a time."""
    return [
        [document_T[i] == document_T[j] > 0 and (j <= i or span_T[i] == span_T[j] > 0) for j in range(len(document_T))]
        for i in range(len(document_T))
    ]


@pytest.mark.parametrize("name", ROWS)
def test_dense_matrix_is_the_definition(name: str) -> None:
    document, span = (torch.tensor([part]) for part in ROWS[name])
    assert attention_mask_BTT(document, span)[0].tolist() == by_the_sentences(*ROWS[name])


@given(rows())
def test_intervals_are_the_dense_matrix(row: tuple[list[int], list[int]]) -> None:
    document, span = (torch.tensor([part]) for part in row)
    first, end = mask_intervals(document, span)
    positions = torch.arange(document.shape[1])
    seen = (first[..., None] <= positions) & (positions < end[..., None])
    real = document[0] > 0
    assert torch.equal(seen[0, real], attention_mask_BTT(document, span)[0, real])


def dense_attention(query: Tensor, key: Tensor, value: Tensor, mask_BQS: Tensor) -> Tensor:
    """Attention as its formula reads; nothing from nothing."""
    scores = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~mask_BQS[:, None], float("-inf"))
    mixed: Tensor = scores.softmax(-1).nan_to_num(0) @ value
    return mixed


def assert_backend_is_dense(
    mask: AttentionMask, mask_BQS: Tensor, real_BQ: Tensor, *, tolerance: float, gradient: bool = True
) -> None:
    """Forward, and backward, of a backend against the formula, where a query is real."""
    rows, queries, keys = mask_BQS.shape
    torch.manual_seed(0)
    lengths = (queries, keys, keys)
    query, key, value = inputs = [
        torch.randn(rows, 2, length, 16, dtype=torch.float64, requires_grad=gradient) for length in lengths
    ]
    dtype = torch.float64 if gradient else torch.float32
    ours = mask.attend(query.to(dtype), key.to(dtype), value.to(dtype)).double()
    theirs = dense_attention(query, key, value, mask_BQS)
    keep = real_BQ[:, None, :, None].expand(ours.shape)
    assert torch.isfinite(ours).all()
    assert torch.allclose(ours[keep], theirs[keep], atol=tolerance)
    sees_nothing = real_BQ & ~mask_BQS.any(-1)
    assert (ours.transpose(1, 2)[sees_nothing] == 0).all()
    if not gradient:
        return
    probe = torch.randn(ours.shape, dtype=torch.float64) * keep
    found, wanted = (torch.autograd.grad((mixed * probe).sum(), inputs) for mixed in (ours, theirs))
    for one, other in zip(found, wanted, strict=True):
        assert torch.isfinite(one).all()
        assert torch.allclose(one, other, atol=tolerance)


def blocks(first: Tensor, end: Tensor, mask_BQS: Tensor) -> AttentionMask:
    """What bf16 takes on a CPU, in the precision that shows a defect."""
    blind = end <= first
    bias = torch.zeros(mask_BQS.shape, dtype=torch.float64).masked_fill(~(mask_BQS | blind[..., None]), float("-inf"))
    return AttentionMask(Blocks(bias, block_jobs(first, end)), blind[:, None, :, None])


@pytest.fixture(params=["one block", "many blocks"])
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many blocks":
        monkeypatch.setattr("ablate.model.block_attention.BLOCK_QUERIES", 2)


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("names", [[name] for name in ROWS] + [list(ROWS)])
@pytest.mark.parametrize("honours_bidirectional_spans", [True, False])
@pytest.mark.parametrize("backend", ["dense", "sdpa", "blocks"])
def test_backend_equals_dense_attention_forward_and_gradient(
    names: list[str], honours_bidirectional_spans: bool, backend: str
) -> None:
    document, span = (torch.tensor([ROWS[name][part] for name in names]) for part in (0, 1))
    spans = span if honours_bidirectional_spans else torch.zeros_like(span)
    seen = attention_mask_BTT(document, spans)
    if backend == "blocks":
        first, end = mask_intervals(document, spans)
        positions = torch.arange(6)
        mask = blocks(first, end, (first[..., None] <= positions) & (positions < end[..., None]))
    else:
        mask = AttentionMask.from_segments(document, span, torch.float64, honours_bidirectional_spans, backend)  # type: ignore[arg-type]
    assert_backend_is_dense(mask, seen, document > 0, tolerance=1e-12)


@QUIETLY_COMPILED
@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("backend", ["dense", "sdpa", "blocks", pytest.param("flex", marks=COMPILED)])
def test_queries_of_other_keys_see_their_interval_and_nothing_is_exactly_nothing(backend: str) -> None:
    """Cross attention: three queries of five keys; the second row sees none at all."""
    first, end = torch.tensor([[0, 2, 0], [0, 0, 0]]), torch.tensor([[2, 5, 0], [0, 0, 0]])
    keys = torch.arange(5)
    seen = (first[..., None] <= keys) & (keys < end[..., None])
    if backend == "blocks":
        mask = blocks(first, end, seen)
    else:
        dtype = torch.float32 if backend == "flex" else torch.float64
        mask = AttentionMask.from_intervals(first, end, 5, dtype, backend)  # type: ignore[arg-type]
    flex = backend == "flex"
    every = torch.ones_like(first, dtype=torch.bool)
    assert_backend_is_dense(mask, seen, every, tolerance=1e-6 if flex else 1e-12, gradient=not flex)


@COMPILED
@QUIETLY_COMPILED
@pytest.mark.parametrize("honours_bidirectional_spans", [True, False])
def test_flex_forward_equals_dense_attention(honours_bidirectional_spans: bool) -> None:
    document, span = (torch.tensor([row[part] for row in ROWS.values()]) for part in (0, 1))
    seen = attention_mask_BTT(document, span if honours_bidirectional_spans else torch.zeros_like(span))
    mask = AttentionMask.from_segments(document, span, torch.float32, honours_bidirectional_spans, "flex")
    assert_backend_is_dense(mask, seen, document > 0, tolerance=1e-6, gradient=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention has a backward pass on a GPU only")
def test_flex_gradient_equals_dense_gradient_on_a_gpu() -> None:
    document, span = (torch.tensor([row[part] for row in ROWS.values()], device="cuda") for part in (0, 1))
    seen = attention_mask_BTT(document, span)
    keep = (document > 0)[:, None, :, None]
    query, key, value = inputs = [torch.randn(len(ROWS), 2, 6, 16, device="cuda", requires_grad=True) for _ in range(3)]
    mixed = AttentionMask.from_segments(document, span, torch.float32, True, "flex").attend(query, key, value)
    found = torch.autograd.grad((mixed * keep).sum(), inputs)
    wanted = torch.autograd.grad((dense_attention(query, key, value, seen) * keep).sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_bf16_on_a_cpu_goes_in_blocks_and_stays_close_to_dense() -> None:
    document, span = torch.ones(2, 300, dtype=torch.long), torch.zeros(2, 300, dtype=torch.long)
    span[1, :250] = 1
    mask = AttentionMask.from_segments(document, span, torch.bfloat16, True, "sdpa")
    assert isinstance(mask.backend, Blocks)
    torch.manual_seed(0)
    query, key, value = inputs = [
        torch.randn(2, 2, 300, 16, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)
    ]
    ours = mask.attend(query, key, value)
    theirs = dense_attention(query.double(), key.double(), value.double(), attention_mask_BTT(document, span))
    assert torch.allclose(ours.double(), theirs, atol=0.02)
    probe = torch.randn(ours.shape)
    found, wanted = (torch.autograd.grad((mixed * probe).sum(), inputs) for mixed in (ours, theirs))
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.01


def test_block_attention_is_a_proper_operator() -> None:
    """Shapes, aliasing and gradient registration, as torch.compile relies on them."""
    document = torch.tensor([[1, 1, 1, 2, 2, 0]])
    first, end = mask_intervals(document, torch.zeros_like(document))
    inputs = [torch.randn(1, 2, 6, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    bias = torch.zeros(1, 6, 6, dtype=torch.float64)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    results = torch.library.opcheck(
        block_attention, (*inputs, bias, block_jobs(first, end)), test_utils=checks, raise_exception=False
    )
    assert results == dict.fromkeys(checks, "SUCCESS")


def test_single_segments_take_the_fast_path_and_others_do_not() -> None:
    one = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    none = torch.zeros_like(one)
    span = torch.tensor([[1, 1, 0, 0]])

    def is_plain(document: Tensor, span: Tensor, honours_bidirectional_spans: bool) -> bool:
        mix = AttentionMask.from_segments(document, span, torch.float32, honours_bidirectional_spans, "sdpa").backend
        assert isinstance(mix, Fused)
        return mix.bias_B1QS is None

    assert is_plain(one, none, True)
    assert not is_plain(torch.tensor([[1, 1, 2, 2]]), none[:1], True)
    assert not is_plain(torch.tensor([[1, 1, 1, 2]]), none[:1], True)
    assert not is_plain(one[1:], span, True)
    assert is_plain(one[1:], span, False)


def gradients_of_positions(model: Model, batch: Batch, row: int) -> Tensor:
    """How each position's hidden state depends on each position's embedding: (T, T, C).

    The row is repeated T times, and copy t gives the gradient of position t: one forward and one backward pass.
    """
    copies = batch.input_ids_BT.shape[1]
    ids, document, position, span = (
        torch.from_numpy(part[row : row + 1]).expand(copies, -1)
        for part in (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
    )
    embedded: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.embedding.register_forward_hook(keep)
    hidden = model(ids, document, position, span)
    handle.remove()
    # Not the plain sum: a LayerNorm's outputs sum to a constant.
    probe = torch.arange(hidden.shape[-1], dtype=hidden.dtype)
    diagonal = torch.arange(copies)
    return torch.autograd.grad((hidden[diagonal, diagonal] * probe).sum(), embedded[0])[0]


@pytest.mark.parametrize("architecture", ["prefix_decoder", "causal_decoder"])
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_model_sees_what_is_visible_and_nothing_else(
    make_trial: MakeTrial, shards: Shards, architecture: str, arm: str, block: str
) -> None:
    """Through all layers: a position's gradient is exactly 0 where it may not look, and not 0 where it may.

    With the contract's "no target with loss is visible" (tests/unit/test_batch.py) this is: no arm can cheat.
    """
    trial: TrialConfig = make_trial(*ARMS[arm].split(), f"architecture={architecture}", f"block={block}")
    model = build_model(trial, trial.tokenizer.vocab_size).double()
    batch = TrainBatches(trial, shards)[0].batch
    honours = architecture == "prefix_decoder"
    span = torch.from_numpy(batch.span_BT) * int(honours)
    seen = attention_mask_BTT(torch.from_numpy(batch.document_BT), span)
    for row in range(2):
        real = np.flatnonzero(batch.document_BT[row])
        reached = gradients_of_positions(model, batch, row).abs().sum(-1) > 0
        assert reached[real].tolist() == seen[row, real].tolist()


def test_spans_change_the_model_only_where_they_are_honoured(make_trial: MakeTrial, shards: Shards) -> None:
    outputs = {}
    for architecture in ("prefix_decoder", "causal_decoder"):
        trial = make_trial("objective=prefix", f"architecture={architecture}")
        model = build_model(trial, trial.tokenizer.vocab_size)
        batch = TrainBatches(trial, shards)[0].batch
        parts = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
        outputs[architecture] = model(*(torch.from_numpy(part) for part in parts)).detach().numpy()
    assert batch.span_BT.max() > 0
    assert not np.allclose(outputs["prefix_decoder"], outputs["causal_decoder"])
